//! How much of the operator one host may hold up.
//!
//! A host that hangs keeps who called it for as long as the call's limit. Without a bound its objects would take every worker of a
//! controller, and everybody else's would wait for it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, select};
use seedbed_hypervisor::{Around, CALLS_WAIT, Call, Fault};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::context::Clock;

/// How many calls to a host are under way at once. Few: on a host that answers each takes milliseconds.
const CALLS: usize = 4;
/// How many more are under way that wait for its guests, their agents or what lets go of a disk; each may be silent by itself.
const AGENT_CALLS: usize = 8;
/// How long a call waits for its turn. Where all that are under way have been so for as long, or the last one that ended was not answered,
/// none waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets so many calls to a host be under way at once, and turns others away with [`Fault::Busy`] rather than have them wait for a host
/// that does not answer. Transfers of files are not counted: no pass waits for one.
pub struct Bounded {
    clock: Arc<dyn Clock>,
    calls: Gate,
    agent_calls: Gate,
}

impl Bounded {
    /// Bounds by that clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            calls: Gate::new(CALLS),
            agent_calls: Gate::new(AGENT_CALLS),
        }
    }

    async fn turn(&self, call: &Call<'_>) -> Result<Option<Turn>, Fault> {
        let gate = match call.verb {
            "upload_volume" => return Ok(None),
            "agent" | "detach_disk" => &self.agent_calls,
            _ => &self.calls,
        };
        gate.turn(&*self.clock)
            .await
            .map(Some)
            .map_err(|message| Fault::Busy {
                operation: format!("{} {}", call.verb, call.object).trim_end().to_owned(),
                message,
            })
    }
}

impl Around for Bounded {
    async fn around<T: Send + 'static>(
        &self,
        call: Call<'_>,
        run: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let turn = self.turn(&call).await?;
        let result = run.await;
        if let Some(turn) = turn {
            turn.ended(result.as_ref().err().and_then(Fault::of_host));
        }
        result
    }
}

/// What so many calls pass at once.
struct Gate {
    size: usize,
    turns: Arc<Semaphore>,
    calls: Arc<Mutex<Calls>>,
}

/// The calls that a gate let through.
#[derive(Default)]
struct Calls {
    /// When each began that is under way, by the order in which they began.
    begun: BTreeMap<u64, Duration>,
    /// What was said of the host where the last one that ended was given up.
    silence: Option<String>,
}

/// A call that is under way, for as long as it lives.
struct Turn {
    number: u64,
    calls: Arc<Mutex<Calls>>,
    /// What is said of the host where it is given up.
    silence: Option<String>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// It was answered, whatever the answer is, or given up, for that reason.
    fn ended(mut self, silence: Option<String>) {
        self.silence = silence;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut calls = lock(&self.calls);
        calls.begun.remove(&self.number);
        calls.silence = self.silence.take();
    }
}

impl Gate {
    fn new(size: usize) -> Self {
        Self {
            size,
            turns: Arc::new(Semaphore::new(size)),
            calls: Arc::default(),
        }
    }

    /// A turn; what is in the way where it did not come in time.
    async fn turn(&self, clock: &dyn Clock) -> Result<Turn, String> {
        if let Ok(permit) = self.turns.clone().try_acquire_owned() {
            return Ok(self.begin(permit, clock));
        }
        if let Some(silence) = self.silence(clock.elapsed()) {
            return Err(silence);
        }
        let turn = pin!(self.turns.clone().acquire_owned());
        let Either::Left((Ok(permit), _)) = select(turn, clock.sleep(PATIENCE)).await else {
            return Err(CALLS_WAIT.to_owned());
        };
        Ok(self.begin(permit, clock))
    }

    fn begin(&self, permit: OwnedSemaphorePermit, clock: &dyn Clock) -> Turn {
        let mut calls = lock(&self.calls);
        let number = calls.begun.last_key_value().map_or(0, |(last, _)| last + 1);
        calls.begun.insert(number, clock.elapsed());
        Turn {
            number,
            calls: self.calls.clone(),
            silence: Some(CALLS_WAIT.to_owned()),
            _permit: permit,
        }
    }

    /// What is said of a host that gives no answer. The words of the call that was given up last: what is told of the objects on the host
    /// stays the same, whichever of them had a turn.
    fn silence(&self, now: Duration) -> Option<String> {
        let calls = lock(&self.calls);
        let is_overdue = |since: &Duration| now.saturating_sub(*since) >= PATIENCE;
        let all_wait = calls.begun.len() == self.size && calls.begun.values().all(is_overdue);
        calls.silence.clone().or(all_wait.then(|| CALLS_WAIT.to_owned()))
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use futures::FutureExt;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;
    use crate::testing::virtual_clock;

    fn call(verb: &'static str) -> Call<'static> {
        Call {
            verb,
            object: "default.demo-cp-0",
            owner: None,
            detail: Cow::Borrowed(""),
            changes: false,
        }
    }

    /// Calls that hang until the sender says otherwise.
    fn hanging(bounded: &Arc<Bounded>, verb: &'static str, count: usize) -> watch::Sender<bool> {
        let (answers, hangs) = watch::channel(false);
        for _ in 0..count {
            let (bounded, mut hangs) = (bounded.clone(), hangs.clone());
            tokio::spawn(async move {
                let answer = async move {
                    hangs
                        .wait_for(|answers| *answers)
                        .await
                        .map(drop)
                        .map_err(|_| silent())
                };
                bounded.around(call(verb), answer).await
            });
        }
        answers
    }

    fn silent() -> Fault {
        Fault::AgentSilent {
            operation: String::new(),
            domain: String::new(),
            message: String::new(),
        }
    }

    async fn answered(bounded: &Bounded, verb: &'static str) -> Result<u8, Fault> {
        bounded.around(call(verb), async { Ok(1) }).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_hangs_holds_up_a_few_calls_and_turns_the_others_away() {
        let bounded = Arc::new(Bounded::new(virtual_clock()));
        let answers = hanging(&bounded, "domain", CALLS);
        tokio::task::yield_now().await;
        let begun = Instant::now();
        let busy = Err(Fault::Busy {
            operation: "domain default.demo-cp-0".to_owned(),
            message: CALLS_WAIT.to_owned(),
        });
        assert_eq!(answered(&bounded, "domain").await, busy);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        assert_eq!(answered(&bounded, "domain").now_or_never(), Some(busy));
        // What its guests are asked, and files, go their own way.
        assert_eq!(answered(&bounded, "agent").now_or_never(), Some(Ok(1)));
        assert_eq!(answered(&bounded, "detach_disk").now_or_never(), Some(Ok(1)));
        assert_eq!(answered(&bounded, "upload_volume").now_or_never(), Some(Ok(1)));
        answers.send_replace(true);
        tokio::task::yield_now().await;
        assert_eq!(answered(&bounded, "domain").now_or_never(), Some(Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_has_its_turn_once_another_one_ends() {
        let bounded = Arc::new(Bounded::new(virtual_clock()));
        let answers = hanging(&bounded, "domain", CALLS);
        tokio::task::yield_now().await;
        let (begun, waits) = (Instant::now(), answered(&bounded, "domain"));
        let ends = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            answers.send_replace(true);
        };
        assert_eq!(futures::join!(waits, ends).0, Ok(1));
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_at_a_host_whose_last_call_was_given_up_until_it_answers_one() {
        let bounded = Arc::new(Bounded::new(virtual_clock()));
        let silent = async {
            Err::<u8, _>(Fault::TimedOut {
                operation: String::new(),
                limit: Duration::from_secs(10),
            })
        };
        assert!(bounded.around(call("domain"), silent).await.is_err());
        let answers = hanging(&bounded, "domain", CALLS);
        tokio::task::yield_now().await;
        // None of those has been under way for long.
        let turned_away = answered(&bounded, "domain").now_or_never();
        let told = turned_away.unwrap().unwrap_err().to_string();
        assert_eq!(told, "domain default.demo-cp-0: no answer within 10 s");
        answers.send_replace(true);
        tokio::task::yield_now().await;
        let _answers = hanging(&bounded, "domain", CALLS);
        tokio::task::yield_now().await;
        assert_eq!(answered(&bounded, "domain").now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_gives_its_turn_back() {
        let bounded = Arc::new(Bounded::new(virtual_clock()));
        for _ in 0..=CALLS {
            let hangs = bounded.around::<()>(call("domain"), futures::future::pending());
            assert!(tokio::time::timeout(PATIENCE * 2, hangs).await.is_err());
        }
    }
}
