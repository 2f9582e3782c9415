//! A clock that follows tokio's, which a test or a simulation may have paused.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use seedbed_guest::Pause;
use tokio::time::{Instant, sleep};

use super::Clock;

/// 2026-01-01T00:00:00Z, in seconds since 1970.
const BEGIN: i64 = 1_767_225_600;

/// Tokio's clock, from 2026-01-01 on.
#[derive(Debug)]
pub struct VirtualClock {
    started: Instant,
    /// By how many milliseconds the time of day is ahead of that.
    ahead: AtomicI64,
}

impl VirtualClock {
    /// It is the beginning of 2026 now.
    pub fn new() -> Self {
        Self::since(Instant::now())
    }

    /// It was the beginning of 2026 then.
    pub fn since(started: Instant) -> Self {
        Self {
            started,
            ahead: AtomicI64::new(0),
        }
    }

    /// Somebody sets the time of day forward, or back. The time that goes by stays what it is.
    pub fn set_ahead(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_millis()).unwrap_or_default();
        self.ahead.store(by, Ordering::SeqCst);
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Pause for VirtualClock {
    async fn pause(&self, time: Duration) {
        sleep(time).await;
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_millis(self.ahead.load(Ordering::SeqCst));
        let begin = Timestamp::from_second(BEGIN).unwrap_or_default();
        begin + self.started.elapsed() + ahead
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        sleep(time).await;
    }
}
