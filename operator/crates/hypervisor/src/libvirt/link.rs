//! The connection to one host: opened, watched and opened again on a thread of its own.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use virt::connect::Connect;
use virt::error::Error;

use super::events::{Notice, Subscription, start_event_loop};
use super::xml::Guests;
use crate::{EventKind, Fault, HostEvent};

const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// Seconds between two keepalive messages, and how many may stay without an answer: a daemon that hangs is noticed after half a
/// minute.
const KEEPALIVE: (i32, u32) = (5, 5);
/// How long a call waits for the first connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first libvirt that can merge a layer above a disk: 9.0.0, as it counts (<https://libvirt.org/news.html#v9-0-0-2023-01-16>).
const MERGES_SINCE: u32 = 9_000_000;

/// An open connection.
#[derive(Clone)]
pub(super) struct Connected {
    pub connect: Connect,
    pub guests: Guests,
    /// Whether it can merge what is written above a disk that is kept.
    pub keeps_disks: bool,
}

#[derive(Clone)]
enum State {
    Opening,
    Up(Connected),
    Down(String),
}

/// The connection to one host.
pub(super) struct Link {
    state: watch::Receiver<State>,
    notices: mpsc::Sender<Notice>,
}

impl Link {
    /// Starts the thread that opens the connection.
    pub(super) fn start(uri: &str, events: broadcast::Sender<HostEvent>) -> Result<Self, Fault> {
        let fault = |message: String| Fault::Unavailable {
            operation: format!("connect to {uri}"),
            message,
        };
        start_event_loop().map_err(fault)?;
        let (publish, state) = watch::channel(State::Opening);
        let (notices, received) = mpsc::channel();
        let keeper = Keeper {
            uri: uri.to_owned(),
            state: publish,
            events,
            notices: notices.clone(),
            received,
            generation: 0,
        };
        std::thread::Builder::new()
            .name("libvirt-link".to_owned())
            .spawn(move || keeper.run())
            .map_err(|error| fault(error.to_string()))?;
        Ok(Self { state, notices })
    }

    /// The open connection. Waits a little for the first one.
    pub(super) async fn connection(&self, operation: &str) -> Result<Connected, Fault> {
        let mut state = self.state.clone();
        let known =
            tokio::time::timeout(PATIENCE, state.wait_for(|state| !matches!(state, State::Opening))).await;
        let message = match known {
            Ok(Ok(state)) => match &*state {
                State::Up(connected) => return Ok(connected.clone()),
                State::Down(message) => message.clone(),
                State::Opening => "the connection is being made".to_owned(),
            },
            Ok(Err(_)) => "the thread that keeps the connection ended".to_owned(),
            Err(_) => format!(
                "the connection could not be made within {} s yet",
                PATIENCE.as_secs()
            ),
        };
        Err(Fault::Unavailable {
            operation: operation.to_owned(),
            message,
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The thread is gone already where nobody receives.
        let _ = self.notices.send(Notice::Stop);
    }
}

/// What the thread works with.
struct Keeper {
    uri: String,
    state: watch::Sender<State>,
    events: broadcast::Sender<HostEvent>,
    notices: mpsc::Sender<Notice>,
    received: mpsc::Receiver<Notice>,
    generation: u64,
}

/// Why the wait for the next attempt is over.
enum Next {
    Again,
    Stop,
}

impl Keeper {
    fn run(mut self) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            self.generation += 1;
            match open(&self.uri) {
                Ok(connected) => {
                    backoff = FIRST_BACKOFF;
                    let Some(reason) = self.keep(&connected) else {
                        return;
                    };
                    tracing::warn!(uri = self.uri, reason, "the connection to the host was lost");
                    self.down(format!("{}: {reason}", self.uri));
                }
                Err(error) => {
                    tracing::debug!(uri = self.uri, %error, "the host is not reachable");
                    self.down(error.message().to_owned());
                }
            }
            match self.rest(backoff) {
                Next::Again => backoff = (backoff * 2).min(LONGEST_BACKOFF),
                Next::Stop => return,
            }
        }
    }

    /// Publishes the connection and returns why it ended, or nothing where nobody needs it any more.
    fn keep(&self, connected: &Connected) -> Option<&'static str> {
        let _subscription =
            Subscription::new(&connected.connect, self.generation, &self.events, &self.notices);
        self.state.send_replace(State::Up(connected.clone()));
        self.tell(EventKind::HostConnected);
        tracing::info!(uri = self.uri, "connected to the host");
        loop {
            match self.received.recv() {
                Ok(Notice::Closed { generation, reason }) if generation == self.generation => {
                    return Some(reason);
                }
                Ok(Notice::Closed { .. }) => {}
                Ok(Notice::Stop) | Err(_) => return None,
            }
        }
    }

    fn down(&self, message: String) {
        let before = self.state.send_replace(State::Down(message));
        if matches!(before, State::Up(_)) {
            self.tell(EventKind::HostDisconnected);
        }
    }

    fn tell(&self, kind: EventKind) {
        // Without a receiver nobody has to be told.
        drop(self.events.send(HostEvent { domain: None, kind }));
    }

    fn rest(&self, time: Duration) -> Next {
        loop {
            match self.received.recv_timeout(time) {
                // An end of a connection that was given up before.
                Ok(Notice::Closed { .. }) => {}
                Ok(Notice::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return Next::Stop,
                Err(mpsc::RecvTimeoutError::Timeout) => return Next::Again,
            }
        }
    }
}

fn open(uri: &str) -> Result<Connected, Error> {
    let connect = Connect::open(Some(uri))?;
    let guests = if connect.driver_type()?.eq_ignore_ascii_case("test") {
        Guests::Test
    } else {
        Guests::Qemu
    };
    if let Err(error) = connect.set_keep_alive(KEEPALIVE.0, KEEPALIVE.1) {
        tracing::debug!(uri, %error, "the host does not offer keepalive messages");
    }
    let keeps_disks = guests == Guests::Qemu && connect.lib_version()? >= MERGES_SINCE;
    Ok(Connected {
        connect,
        guests,
        keeps_disks,
    })
}
