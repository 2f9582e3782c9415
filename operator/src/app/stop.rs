//! Being asked to stop.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether the operator was asked to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    /// Asked by sending true.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, asked) = watch::channel(false);
        (sender, Self { asked })
    }

    /// Asked by SIGTERM or SIGINT, from now on.
    pub(super) fn on_signal() -> Result<Self, String> {
        let told = |error: std::io::Error| format!("signals: {error}");
        let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
        let (sender, stop) = Self::new();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                sender.send_replace(true);
            }
        });
        Ok(stop)
    }

    /// Whether it was asked.
    pub(super) fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Returns once it is asked.
    pub fn asked(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let mut asked = self.asked.clone();
        async move {
            // The sender lives as long as the process does.
            let _ = asked.wait_for(|asked| *asked).await;
        }
    }

    /// The work's result; none where it was cut off because the process was asked to stop.
    pub(super) async fn cuts<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.asked() => None,
            result = work => Some(result),
        }
    }
}
