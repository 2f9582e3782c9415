//! The way from an operator to a host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seedbed_hypervisor::{Around, Call, EventKind, Fault, HostEvent, Hypervisor};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use crate::process::Process;
use crate::stage::{Manner, Stage};
use crate::step::{Boundary, Delivery, Refusal, Step};

/// How many events a process may be behind.
const EVENTS: usize = 1024;
/// How long the library that reaches the host waits for a call, and for one that starts or stops something.
const CALL_LIMIT: Duration = Duration::from_secs(30);
const POWER_LIMIT: Duration = Duration::from_secs(90);
/// How long it waits for a guest's agent.
const AGENT_LIMIT: Duration = Duration::from_secs(10);

/// Whether a host's daemon can be reached.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    lost: AtomicBool,
}

impl Connection {
    pub(crate) fn set_lost(&self, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

/// The way from a process of the operator to a host.
pub(crate) struct Way {
    pub(crate) stage: Arc<Stage>,
    pub(crate) process: Arc<Process>,
    pub(crate) host: String,
    pub(crate) connection: Arc<Connection>,
}

impl Around for Way {
    async fn around<T: Send + 'static>(
        &self,
        call: Call<'_>,
        run: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let step = Step {
            instance: self.process.name().to_owned(),
            boundary: Boundary::Host(self.host.clone()),
            verb: call.verb.to_owned(),
            object: call.object.to_owned(),
            detail: detail(&call),
            owner: call.owner.cloned(),
            changes: call.changes,
        };
        let limit = match call.verb {
            "agent" => AGENT_LIMIT,
            "start_domain" | "destroy_domain" | "ensure_network" | "delete_network" => POWER_LIMIT,
            _ => CALL_LIMIT,
        };
        let manner = Manner {
            refuse,
            tell,
            limit: Some((limit, timed_out)),
        };
        let (connection, told) = (self.connection.clone(), step.clone());
        let run = async move {
            if connection.is_lost() {
                return refuse(&told, &Refusal::Unreachable);
            }
            run.await
        };
        self.stage.pass(&self.process, step, manner, run).await
    }

    fn events(&self, inner: &dyn Hypervisor) -> broadcast::Receiver<HostEvent> {
        let (sender, receiver) = broadcast::channel(EVENTS);
        let way = Self {
            stage: self.stage.clone(),
            process: self.process.clone(),
            host: self.host.clone(),
            connection: self.connection.clone(),
        };
        self.process.spawn(Box::pin(forward(way, inner.events(), sender)));
        receiver
    }
}

/// What an agent's command is called; what goes with it may be secret.
fn detail(call: &Call<'_>) -> String {
    if call.verb != "agent" {
        return call.detail.to_string();
    }
    let command: Result<serde_json::Value, _> = serde_json::from_str(&call.detail);
    command
        .ok()
        .and_then(|command| command["execute"].as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn refuse<T>(step: &Step, refusal: &Refusal) -> Result<T, Fault> {
    let operation = operation(step);
    Err(match refusal {
        Refusal::Unreachable => Fault::Unavailable {
            operation,
            message: "the connection to the simulated host is lost".to_owned(),
        },
        Refusal::Answered(_) if step.verb == "agent" => Fault::AgentSilent {
            operation,
            domain: step.object.clone(),
            message: "the simulation wants it so".to_owned(),
        },
        Refusal::Answered(_) => Fault::Refused {
            operation,
            message: "the simulation wants it so".to_owned(),
        },
    })
}

fn operation(step: &Step) -> String {
    format!("{} {}", step.verb, step.object).trim_end().to_owned()
}

fn timed_out<T>(step: &Step, limit: Duration) -> Result<T, Fault> {
    Err(Fault::TimedOut {
        operation: operation(step),
        limit,
    })
}

fn tell<T>(answer: &Result<T, Fault>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(fault) => fault.to_string(),
    }
}

/// Brings what happens on the host to the process. What happens while the connection is lost, nobody hears of.
async fn forward(way: Way, mut events: broadcast::Receiver<HostEvent>, to: broadcast::Sender<HostEvent>) {
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => HostEvent {
                domain: None,
                kind: EventKind::HostConnected,
            },
            Err(RecvError::Closed) => return,
        };
        if way.connection.is_lost() && event.kind != EventKind::HostDisconnected {
            continue;
        }
        match way.stage.director.host_event(way.process.name(), &way.host) {
            Delivery::Now => {}
            Delivery::After(delay) => sleep(delay).await,
            Delivery::Broken => continue,
        }
        // Nobody listening is no error: who begins to listen looks at everything first.
        let _ = to.send(event);
    }
}
