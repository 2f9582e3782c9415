//! Background tasks.

use std::fmt::Debug;

use futures::future::BoxFuture;
use tracing::Instrument;

/// Runs something in the background.
pub trait Tasks: Send + Sync + Debug + 'static {
    /// Starts the future. It is dropped with the process, or by whoever wrapped it into a
    /// [`futures::future::Abortable`] before.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>);
}

/// Tasks of tokio's runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioTasks;

impl Tasks for TokioTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        tokio::spawn(future.instrument(tracing::info_span!("task", name)));
    }
}
