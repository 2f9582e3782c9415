//! Where calls pass on their way from an operator to what it calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::pending;
use tokio::time::{Instant, sleep};

use crate::process::Process;
use crate::step::{Director, End, Fate, Refusal, Step};

/// Where calls pass on their way from an operator to what it calls, and where it is written down what became of them.
pub(crate) struct Stage {
    pub(crate) started: Instant,
    pub(crate) director: Arc<dyn Director>,
    log: Mutex<String>,
}

/// How an answer is made and told, for one kind of call.
pub(crate) struct Manner<T> {
    /// The answer of a call that is not answered as it should be.
    pub(crate) refuse: fn(&Step, &Refusal) -> T,
    /// The answer in a word or a message.
    pub(crate) tell: fn(&T) -> String,
    /// When the caller's library gives up waiting, and what it says then; none where the caller itself has a limit.
    pub(crate) limit: Option<Limit<T>>,
}

/// How long is waited for an answer, and what is said when none came.
pub(crate) type Limit<T> = (Duration, fn(&Step, Duration) -> T);

impl Stage {
    pub(crate) fn new(director: Arc<dyn Director>) -> Self {
        Self {
            started: Instant::now(),
            director,
            log: Mutex::default(),
        }
    }

    /// Writes down that something happened now.
    pub(crate) fn note(&self, what: &str) {
        use std::fmt::Write as _;
        let at = self.started.elapsed();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a string does not fail.
        let _ = writeln!(log, "{:>9}.{:03} {what}", at.as_secs(), at.subsec_millis());
    }

    /// All that was written down, a line each.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a call happen as the director decides.
    pub(crate) async fn pass<T: Send + 'static>(
        self: &Arc<Self>,
        process: &Arc<Process>,
        step: Step,
        manner: Manner<T>,
        run: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let Fate { before, end, after } = self.director.fate(&step);
        wait(before).await;
        match end {
            End::Done => {
                let answer = self.carry_out(&step, &manner, run).await;
                wait(after).await;
                answer
            }
            End::Refused(refusal) => {
                self.note(&format!("{step} -> not done: {refusal:?}"));
                wait(after).await;
                (manner.refuse)(&step, &refusal)
            }
            End::Lost(refusal) => {
                self.note(&format!("{step} -> the answer is lost: {refusal:?}"));
                self.carry_out(&step, &manner, run).await;
                wait(after).await;
                (manner.refuse)(&step, &refusal)
            }
            End::Hangs => {
                self.note(&format!("{step} -> hangs"));
                hang(&step, &manner).await
            }
            End::DoneAndHangs => {
                self.carry_out(&step, &manner, run).await;
                self.note(&format!("{step} -> hangs"));
                hang(&step, &manner).await
            }
            End::Late(by) => {
                self.note(&format!("{step} -> hangs, and is done {} s later", by.as_secs()));
                let (stage, late) = (self.clone(), step.clone());
                let tell = manner.tell;
                tokio::spawn(async move {
                    sleep(by).await;
                    stage.do_it(&late, tell, run).await;
                });
                hang(&step, &manner).await
            }
            End::KilledBefore => {
                self.kill(process, &format!("{step} -> killed before"));
                pending().await
            }
            End::KilledAfter => {
                self.carry_out(&step, &manner, run).await;
                self.kill(process, &format!("{step} -> killed after"));
                pending().await
            }
        }
    }

    async fn carry_out<T>(&self, step: &Step, manner: &Manner<T>, run: impl Future<Output = T>) -> T {
        self.do_it(step, manner.tell, run).await
    }

    async fn do_it<T>(&self, step: &Step, tell: fn(&T) -> String, run: impl Future<Output = T>) -> T {
        self.director.doing(step);
        let answer = run.await;
        let told = tell(&answer);
        self.note(&format!("{step} -> {told}"));
        self.director.done(step, &told);
        answer
    }

    pub(crate) fn kill(&self, process: &Process, why: &str) {
        if !process.is_dead() {
            self.note(why);
            process.kill();
            self.director.killed(process.name());
        }
    }
}

async fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

async fn hang<T>(step: &Step, manner: &Manner<T>) -> T {
    match manner.limit {
        Some((limit, answer)) => {
            sleep(limit).await;
            answer(step, limit)
        }
        None => pending().await,
    }
}
