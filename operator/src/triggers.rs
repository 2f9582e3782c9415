//! Reasons to look again, sent to every controller that wants them.

use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

/// Sends values to all streams that were asked for. A stream that nobody reads any more is let go of.
///
/// The streams are not bounded: what reads them (a controller's queue) merges equal entries and never blocks, and a lost
/// trigger would leave an object alone until its next look by the clock.
#[derive(Debug)]
pub struct Triggers<T> {
    senders: Arc<Mutex<Vec<UnboundedSender<T>>>>,
}

impl<T> Clone for Triggers<T> {
    fn clone(&self) -> Self {
        Self {
            senders: self.senders.clone(),
        }
    }
}

impl<T> Default for Triggers<T> {
    fn default() -> Self {
        Self {
            senders: Arc::default(),
        }
    }
}

impl<T: Clone> Triggers<T> {
    /// Sends to all streams.
    pub fn send(&self, value: T) {
        self.senders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|sender| sender.unbounded_send(value.clone()).is_ok());
    }

    /// Everything that is sent from now on.
    pub fn stream(&self) -> UnboundedReceiver<T> {
        let (sender, receiver) = unbounded();
        self.senders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        receiver
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn every_stream_gets_every_value() {
        let triggers = Triggers::default();
        let (mut one, mut two) = (triggers.stream(), triggers.stream());
        triggers.send(7);
        assert_eq!(one.next().now_or_never(), Some(Some(7)));
        assert_eq!(two.next().now_or_never(), Some(Some(7)));
    }

    #[test]
    fn a_dropped_stream_does_not_disturb_the_others() {
        let triggers = Triggers::default();
        drop(triggers.stream());
        let mut other = triggers.stream();
        triggers.send(7);
        assert_eq!(other.next().now_or_never(), Some(Some(7)));
    }
}
