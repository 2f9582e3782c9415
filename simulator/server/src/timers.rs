//! Real time.

use std::time::Duration;

use jiff::Timestamp;
use seedbed_simulator::Timers;

/// This machine's clock, and tokio's timers. Within a tokio runtime.
#[derive(Debug, Clone, Copy)]
pub struct RealTime;

impl Timers for RealTime {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn after(&self, delay: Duration, work: Box<dyn FnOnce() + Send>) {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            work();
        });
    }
}
