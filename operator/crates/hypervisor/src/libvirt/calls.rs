//! Blocking calls, kept off the async threads and bounded in number and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::{CALLS_WAIT, Fault};

/// Runs blocking calls on threads of their own: so many at once, so many waiting, each within its limit.
///
/// Threads are not taken from the async runtime, because a runtime waits for its blocking threads when it stops, and a call into
/// a host that hangs may never return.
#[derive(Debug, Clone)]
pub(super) struct CallPool {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    waiting_limit: usize,
}

/// Counts a caller as waiting for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl CallPool {
    /// A pool in which `running` calls run at once and `waiting_limit` more may wait.
    pub(super) fn new(running: usize, waiting_limit: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(running)),
            waiting: Arc::new(AtomicUsize::new(0)),
            waiting_limit,
        }
    }

    /// Runs the call. One that does not return within the limit is left to itself and keeps its slot until it returns.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: &str,
        limit: Duration,
        call: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + limit;
        let slot = self.slot(operation, deadline).await?;
        let (reply, answer) = oneshot::channel();
        let run = move || {
            let result = call();
            drop(slot);
            // Nobody listens any more where the call took longer than its limit.
            drop(reply.send(result));
        };
        let unavailable = |message: String| Fault::Unavailable {
            operation: operation.to_owned(),
            message,
        };
        std::thread::Builder::new()
            .name("libvirt-call".to_owned())
            .spawn(run)
            .map_err(|error| unavailable(format!("no thread for the call could be started here: {error}")))?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(unavailable("the call ended without an answer".to_owned())),
            Err(_) => Err(Fault::TimedOut {
                operation: operation.to_owned(),
                limit,
            }),
        }
    }

    async fn slot(&self, operation: &str, deadline: Instant) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(&self.waiting);
        let busy = || Fault::Busy {
            operation: operation.to_owned(),
            message: CALLS_WAIT.to_owned(),
        };
        if before >= self.waiting_limit {
            return Err(busy());
        }
        let slot = timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await;
        drop(waiting);
        slot.ok().and_then(Result::ok).ok_or_else(busy)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(30);

    /// A call that returns once it is told to.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() -> Result<u32, Fault>) {
        let (release, held) = mpsc::channel();
        (release, move || {
            held.recv().ok();
            Ok(1)
        })
    }

    #[tokio::test]
    async fn gives_the_calls_result() {
        let pool = CallPool::new(1, 0);
        assert_eq!(pool.run("add", LONG, || Ok(2 + 2)).await, Ok(4));
    }

    #[tokio::test]
    async fn a_slow_call_is_timed_out_and_keeps_its_slot_until_it_returns() {
        let pool = CallPool::new(1, 0);
        let (release, call) = held();
        assert_eq!(
            pool.run("slow", SHORT, call).await,
            Err(Fault::TimedOut {
                operation: "slow".to_owned(),
                limit: SHORT
            })
        );
        assert_eq!(
            pool.run("next", LONG, || Ok(())).await,
            Err(Fault::Busy {
                operation: "next".to_owned(),
                message: CALLS_WAIT.to_owned()
            })
        );
        release.send(()).unwrap();
        let _slot = pool.slots.acquire().await.unwrap();
    }

    #[tokio::test]
    async fn refuses_more_than_may_wait_and_sends_nothing() {
        let pool = CallPool::new(1, 1);
        let (release, call) = held();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run("first", LONG, call).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run("second", LONG, || Ok(2)).await }
        });
        while pool.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        let third = pool
            .run("third", LONG, || -> Result<(), Fault> { panic!("must not run") })
            .await;
        assert_eq!(
            third,
            Err(Fault::Busy {
                operation: "third".to_owned(),
                message: CALLS_WAIT.to_owned()
            })
        );
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(second.await.unwrap(), Ok(2));
    }

    #[tokio::test]
    async fn one_that_waited_for_its_whole_limit_was_not_sent() {
        let pool = CallPool::new(1, 4);
        let (release, call) = held();
        assert!(pool.run("slow", SHORT, call).await.is_err());
        let late = pool
            .run("late", SHORT, || -> Result<(), Fault> { panic!("must not run") })
            .await;
        assert!(matches!(late, Err(Fault::Busy { .. })), "{late:?}");
        assert_eq!(pool.waiting.load(Ordering::Acquire), 0);
        release.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_no_longer_counts_as_waiting() {
        let pool = CallPool::new(1, 1);
        let (release, call) = held();
        assert!(pool.run("slow", SHORT, call).await.is_err());
        let waiting = pool.run("given up", LONG, || Ok(()));
        assert!(tokio::time::timeout(SHORT, waiting).await.is_err());
        assert_eq!(pool.waiting.load(Ordering::Acquire), 0);
        release.send(()).unwrap();
    }
}
