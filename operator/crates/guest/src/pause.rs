//! Waiting between two looks at a short command.

use std::time::Duration;

use async_trait::async_trait;

/// Waits. The caller gives it, so that the clock stays in the caller's hands.
#[async_trait]
pub trait Pause: Send + Sync + 'static {
    /// Returns once that much time went by.
    async fn pause(&self, time: Duration);
}

/// Waits by tokio's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioPause;

#[async_trait]
impl Pause for TokioPause {
    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
