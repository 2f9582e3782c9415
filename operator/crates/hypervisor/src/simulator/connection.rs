//! Connections to the simulator, each for one call at a time.

use std::io;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::SimulatorConfig;
use super::wire::{Call, Hello, PROTOCOL};
use crate::Fault;

/// How many connections are kept while they are not used.
const IDLE: usize = 8;

/// The connections to one host.
#[derive(Debug)]
pub(super) struct Connections {
    config: SimulatorConfig,
    idle: Mutex<Vec<Connection>>,
}

/// A connection that has named its host.
#[derive(Debug)]
pub(super) struct Connection(BufReader<UnixStream>);

impl Connections {
    pub(super) fn new(config: SimulatorConfig) -> Self {
        Self {
            config,
            idle: Mutex::default(),
        }
    }

    /// Sends a call and gives its answer. A connection that did not come to that end is not used again.
    pub(super) async fn exchange<T: DeserializeOwned>(&self, call: &Call) -> io::Result<Result<T, Fault>> {
        let kept = self.idle().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.open().await?,
        };
        connection.send(call).await?;
        let answer = connection.receive().await?;
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(connection);
        }
        Ok(answer)
    }

    /// A new connection.
    pub(super) async fn open(&self) -> io::Result<Connection> {
        let socket = &self.config.socket;
        let stream = UnixStream::connect(socket).await.map_err(|error| {
            let message = format!(
                "{}: {error}; start seedbed-simulator with this --socket on the operator's machine, or correct spec.simulated.socket",
                socket.display()
            );
            io::Error::new(error.kind(), message)
        })?;
        let mut connection = Connection(BufReader::new(stream));
        let hello = Hello {
            protocol: PROTOCOL,
            host: self.config.host.clone(),
            settings: self.config.settings.clone(),
        };
        connection.send(&hello).await?;
        connection
            .receive::<Result<(), String>>()
            .await?
            .map_err(io::Error::other)?;
        Ok(connection)
    }

    /// Lets go of the connections that are not used: the simulator at their other end is gone.
    pub(super) fn forget(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    pub(super) async fn send(&mut self, document: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(document)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }

    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut line = Vec::new();
        if self.0.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the simulator closed the connection",
            ));
        }
        Ok(serde_json::from_slice(&line)?)
    }
}
