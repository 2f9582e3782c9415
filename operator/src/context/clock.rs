//! The time.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use seedbed_guest::Pause;

/// Tells the time and waits. `Pause`, what the guest protocol waits by, is part of it.
#[async_trait]
pub trait Clock: Pause + Debug {
    /// The time of day, for what people and other programs read.
    fn now(&self) -> Timestamp;

    /// Time since some moment, never going back, for measuring how long something took.
    fn elapsed(&self) -> Duration;

    /// Returns once that much time went by.
    async fn sleep(&self, time: Duration);
}

/// This machine's clock, and tokio's timers.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] counts from now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Pause for SystemClock {
    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
