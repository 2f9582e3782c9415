//! Whether a simulated host answers, and what happens on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};

use super::connection::Connections;
use super::wire::Call;
use crate::{EventKind, HostEvent, HostFacts};

/// How long an answer may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// Between two attempts to reach what does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the host answers.
#[derive(Debug)]
pub(super) struct Health(watch::Sender<bool>);

impl Default for Health {
    fn default() -> Self {
        Self(watch::channel(true).0)
    }
}

impl Health {
    /// A call had no answer.
    pub(super) fn no_answer(&self) {
        self.0.send_replace(false);
    }

    /// Where the last call had no answer: how long was waited for it.
    pub(super) fn is_silent(&self) -> Option<Duration> {
        (!*self.0.borrow()).then_some(LIMIT)
    }
}

/// Whenever a call had no answer, asks until there is one.
pub(super) async fn ask_until_it_answers(
    connections: Arc<Connections>,
    health: Arc<Health>,
    events: broadcast::Sender<HostEvent>,
) {
    let mut answers = health.0.subscribe();
    while answers.wait_for(|answers| !answers).await.is_ok() {
        tell(&events, EventKind::HostDisconnected);
        connections.forget();
        while !matches!(
            timeout(LIMIT, connections.exchange::<HostFacts>(&Call::Host)).await,
            Ok(Ok(_))
        ) {
            sleep(PAUSE).await;
        }
        health.0.send_replace(true);
        tell(&events, EventKind::HostConnected);
    }
}

/// Passes on what happens on the host, for ever.
pub(super) async fn follow_events(connections: Arc<Connections>, events: broadcast::Sender<HostEvent>) {
    let mut was_reached = false;
    loop {
        let Err(error) = follow(&connections, &events, &mut was_reached).await;
        if std::mem::take(&mut was_reached) {
            tracing::warn!("the connection to the simulator was lost: {error}");
            connections.forget();
            tell(&events, EventKind::HostDisconnected);
        }
        sleep(PAUSE).await;
    }
}

async fn follow(
    connections: &Connections,
    events: &broadcast::Sender<HostEvent>,
    was_reached: &mut bool,
) -> io::Result<std::convert::Infallible> {
    let mut connection = connections.open().await?;
    connection.send(&Call::Events).await?;
    *was_reached = true;
    tell(events, EventKind::HostConnected);
    loop {
        // Nobody listening is no error: who begins to listen looks at everything first.
        let _ = events.send(connection.receive().await?);
    }
}

fn tell(events: &broadcast::Sender<HostEvent>, kind: EventKind) {
    let _ = events.send(HostEvent { domain: None, kind });
}
