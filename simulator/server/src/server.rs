//! The socket that the operator asks for simulated hosts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use seedbed_hypervisor::simulator::wire::{Call, Hello, PROTOCOL};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;

use crate::Hosts;
use crate::hosts::Host;

/// Listens on a socket that only this process' user can connect to. One that a process which does not run any more left behind is
/// replaced.
pub fn bind(socket: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let is_left_behind = std::fs::symlink_metadata(socket).is_ok_and(|found| found.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(socket).is_err();
    if is_left_behind {
        std::fs::remove_file(socket)?;
    }
    // From the first moment on: between making it and closing it to others, somebody could connect.
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(socket);
    nix::sys::stat::umask(before);
    listener
}

/// Answers calls to the hosts, for ever.
pub async fn serve(listener: UnixListener, hosts: Arc<Hosts>) -> io::Result<std::convert::Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        let hosts = hosts.clone();
        tokio::spawn(async move {
            // Who does not want an answer any more closes the connection: no news.
            if let Err(error) = converse(stream, &hosts).await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
}

async fn converse(stream: UnixStream, hosts: &Hosts) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(hello) = receive::<Hello>(&mut stream).await? else {
        return Ok(());
    };
    if hello.protocol != PROTOCOL {
        let message = format!(
            "the other end speaks version {} of the simulator's protocol, expected {PROTOCOL}; build both from one source",
            hello.protocol
        );
        return send(&mut stream, &Err::<(), _>(message)).await;
    }
    let host = hosts.get(&hello.host, &hello.settings);
    send(&mut stream, &Ok::<(), String>(())).await?;
    while let Some(call) = receive::<Call>(&mut stream).await? {
        if call == Call::Events {
            return tell_events(&mut stream, &host).await;
        }
        host.answers().await;
        let answer = call.answer(&host.simulated).await?;
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn tell_events(stream: &mut BufReader<UnixStream>, host: &Host) -> io::Result<()> {
    use seedbed_hypervisor::{EventKind, HostEvent, Hypervisor};
    let mut events = host.simulated.events();
    loop {
        let received = tokio::select! {
            received = events.recv() => received,
            // Nothing more is asked on this connection: it was closed.
            _ = stream.fill_buf() => return Ok(()),
        };
        let event = match received {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => HostEvent {
                domain: None,
                kind: EventKind::HostConnected,
            },
            Err(RecvError::Closed) => return Ok(()),
        };
        host.answers().await;
        send(stream, &event).await?;
    }
}

async fn send(stream: &mut BufReader<UnixStream>, document: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn receive<T: DeserializeOwned>(stream: &mut BufReader<UnixStream>) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}
