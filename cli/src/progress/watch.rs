//! Objects of the seed as they change: one `kubectl get --watch` for each kind.

use std::{
    io::BufReader,
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use seedbed_seed::Kubectl;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// The API server ends a watch from time to time, and may itself be started anew.
const PAUSE: Duration = Duration::from_secs(1);

/// What happened to an object.
#[derive(Debug)]
pub(super) enum Change {
    /// It is like this now.
    Is(Value),
    /// It is gone; this is what it was.
    Gone(Value),
}

#[derive(Deserialize)]
struct WatchEvent {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// Watches that end when this is dropped.
pub(super) struct Watch {
    changes: Receiver<Change>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    children: Mutex<Vec<Child>>,
}

impl Watch {
    pub(super) fn start(kubectl: &Kubectl, kinds: &[&'static str]) -> Result<Self, Error> {
        let (send, changes) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        for kind in kinds {
            let (kubectl, send, shared, kind) = (kubectl.clone(), send.clone(), Arc::clone(&shared), *kind);
            thread::Builder::new()
                .name(kind.to_owned())
                .spawn(move || follow(&kubectl, kind, &send, &shared))
                .map_err(|source| Error::Run {
                    program: "a thread".to_owned(),
                    source,
                })?;
        }
        Ok(Self { changes, shared })
    }

    pub(super) fn next(&self, limit: Duration) -> Result<Change, RecvTimeoutError> {
        self.changes.recv_timeout(limit)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let mut children = self
            .shared
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for child in children.iter_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Watches one kind again and again until nobody wants to know.
fn follow(kubectl: &Kubectl, kind: &str, send: &Sender<Change>, shared: &Shared) {
    let arguments = [
        "get",
        kind,
        "--all-namespaces",
        "--watch",
        "--output-watch-events",
        "-o",
        "json",
    ];
    while !shared.over.load(Ordering::SeqCst) {
        let mut command = kubectl.command();
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return };
        let Some(output) = child.stdout.take() else { return };
        let number = child.id();
        shared
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(child);
        if shared.over.load(Ordering::SeqCst) {
            // It was registered too late to be ended by who ended the watch.
            end(shared, number);
            return;
        }
        let events = serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter::<WatchEvent>();
        for event in events.map_while(Result::ok) {
            let change = match event.kind.as_str() {
                "DELETED" => Change::Gone(event.object),
                "ADDED" | "MODIFIED" => Change::Is(event.object),
                _ => continue,
            };
            if send.send(change).is_err() {
                break;
            }
        }
        end(shared, number);
        thread::sleep(PAUSE);
    }
}

fn end(shared: &Shared, number: u32) {
    let mut children = shared.children.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(position) = children.iter().position(|child| child.id() == number) {
        let mut child = children.swap_remove(position);
        let _ = child.kill();
        let _ = child.wait();
    }
}
