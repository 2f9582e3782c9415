//! Calls to a host and what happens on it, written into the log in a form that two runs can be compared by.
//!
//! Each is a line of JSON under the target [`TARGET`]. Nothing in it is secret: of what goes to a guest's agent and comes back from it,
//! only names, paths of files and the outcome are told; contents only of files and commands whose contents are known to be harmless.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seedbed_hypervisor::{
    Around, Call, DomainFacts, Fault, HostEvent, Hypervisor, NetworkFacts, VolumeFacts, Wrapped,
};
use serde_json::{Value, json};

use crate::start::{MAKE_FOLDER, START};
use crate::state::LOOK;

/// Under which target the lines are logged, at level `TRACE`.
pub const TARGET: &str = "seedbed_guest::calls";

/// The host, with all calls to it written into the log where that is wanted; else the host itself.
pub fn recorded(host: Arc<dyn Hypervisor>) -> Arc<dyn Hypervisor> {
    if tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        Arc::new(Wrapped::new(host, Recorder::default()))
    } else {
        host
    }
}

/// Writes into the log what happened on a host.
pub fn happened(event: &HostEvent) {
    if tracing::enabled!(target: TARGET, tracing::Level::TRACE) {
        let of = event.domain.as_deref().unwrap_or_default();
        let kind = format!("{:?}", event.kind);
        tracing::trace!(target: TARGET, "{}", json!({"event": kind, "of": of}));
    }
}

/// Writes calls to a host into the log.
#[derive(Debug, Default)]
struct Recorder {
    /// What an agent's numbers of processes and open files stand for, by domain.
    numbers: Mutex<HashMap<(String, i64), String>>,
}

impl Around for Recorder {
    async fn around<T: Send + 'static>(
        &self,
        call: Call<'_>,
        run: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let mut line = json!({"call": call.verb, "of": call.object});
        let command: Option<Value> = (call.verb == "agent")
            .then(|| serde_json::from_str(&call.detail).ok())
            .flatten();
        let object = call.object.to_owned();
        let asked = command.as_ref().map(|command| self.asked(&object, command));
        let result = run.await;
        line["answer"] = match (&result, &command) {
            (Err(fault), _) => json!({"fault": name_of(fault), "says": fault.to_string()}),
            (Ok(answer), Some(command)) => self.agent_answer(&object, command, asked.as_ref(), answer),
            (Ok(answer), None) => shape(answer),
        };
        if let Some(asked) = asked {
            line["asked"] = asked;
        }
        tracing::trace!(target: TARGET, "{line}");
        result
    }
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, i64), String>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the number in the command stands for.
    fn known(&self, domain: &str, number: &Value) -> Option<String> {
        let key = (domain.to_owned(), number.as_i64()?);
        self.lock().get(&key).cloned()
    }

    /// A command to the agent, without what may be secret.
    fn asked(&self, domain: &str, command: &Value) -> Value {
        let (execute, arguments) = (&command["execute"], &command["arguments"]);
        let what = match execute.as_str() {
            Some("guest-exec") => json!({
                "what": script(arguments), "input": arguments["input-data"].is_string(),
            }),
            Some("guest-exec-status") => json!({"what": self.known(domain, &arguments["pid"])}),
            Some("guest-file-open") => json!({"what": arguments["path"], "mode": arguments["mode"]}),
            _ => json!({"what": self.known(domain, &arguments["handle"])}),
        };
        let mut asked = json!({"execute": execute});
        for (key, value) in what.as_object().into_iter().flatten() {
            if !value.is_null() {
                asked[key] = value.clone();
            }
        }
        asked
    }

    /// The agent's answer, without what may be secret and what differs from run to run.
    fn agent_answer<T: 'static>(
        &self,
        domain: &str,
        command: &Value,
        asked: Option<&Value>,
        answer: &T,
    ) -> Value {
        let text = (answer as &dyn Any).downcast_ref::<String>();
        let answer: Value = text
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let answer = &answer["return"];
        let what = asked.and_then(|asked| asked["what"].as_str()).unwrap_or_default();
        let remember = |number: &Value| {
            if let Some(number) = number.as_i64() {
                self.lock().insert((domain.to_owned(), number), what.to_owned());
            }
        };
        match command["execute"].as_str() {
            Some("guest-exec") => {
                remember(&answer["pid"]);
                json!("a process")
            }
            Some("guest-file-open") => {
                remember(answer);
                json!("a file")
            }
            Some("guest-exec-status") => {
                let data = |field: &str| answer[field].as_str().unwrap_or_default();
                let output = if what == "look" {
                    json!(decoded(data("out-data")))
                } else {
                    json!(!data("out-data").is_empty())
                };
                json!({
                    "exited": answer["exited"], "exitcode": answer["exitcode"], "signal": answer["signal"],
                    "output": output, "errors": !data("err-data").is_empty(),
                })
            }
            Some("guest-file-read") => {
                let content = answer["buf-b64"].as_str().unwrap_or_default();
                if what.ends_with("/result") || what.ends_with("/cgroup.events") {
                    json!({"content": decoded(content)})
                } else {
                    json!({"content": !content.is_empty()})
                }
            }
            _ => json!("done"),
        }
    }
}

/// The scripts that are run in guests, by name.
fn script(arguments: &Value) -> Value {
    match arguments["arg"][1].as_str() {
        Some(START) => "start".into(),
        Some(LOOK) => "look".into(),
        Some(MAKE_FOLDER) => "make the folder".into(),
        _ => arguments["path"].clone(),
    }
}

fn decoded(data: &str) -> String {
    let bytes = STANDARD.decode(data).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn shape(answer: &dyn Any) -> Value {
    if let Some(domain) = answer.downcast_ref::<Option<DomainFacts>>() {
        return json!(domain.as_ref().map(|d| json!({
            "power": format!("{:?}", d.power), "agent": d.agent_connected, "ours": d.owner.is_some(),
        })));
    }
    if let Some(network) = answer.downcast_ref::<Option<NetworkFacts>>() {
        return json!(network.as_ref().map(|n| json!({
            "active": n.active, "ours": n.owner.is_some(), "reservations": n.reservations.len(),
            "bridge": n.bridge.is_some(), "range": n.cidr.is_some(),
        })));
    }
    if let Some(volume) = answer.downcast_ref::<Option<VolumeFacts>>() {
        return json!(volume.as_ref().map(|v| json!({"complete": v.complete})));
    }
    "done".into()
}

fn name_of(fault: &Fault) -> &'static str {
    match fault {
        Fault::Unavailable { .. } => "Unavailable",
        Fault::TimedOut { .. } => "TimedOut",
        Fault::Busy { .. } => "Busy",
        Fault::NotFound { .. } => "NotFound",
        Fault::Conflict { .. } => "Conflict",
        Fault::Unsupported { .. } => "Unsupported",
        Fault::AgentSilent { .. } => "AgentSilent",
        Fault::Refused { .. } => "Refused",
        Fault::Source { .. } => "Source",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_brings_into_a_guest_is_not_told() {
        let recorder = Recorder::default();
        let secret = STANDARD.encode("a private key");
        let command = json!({"execute": "guest-exec", "arguments": {
            "path": "/bin/sh", "arg": ["-c", START, "sh", "token", "-"], "input-data": secret,
        }});
        let asked = recorder.asked("d", &command);
        assert_eq!(
            asked,
            json!({"execute": "guest-exec", "what": "start", "input": true})
        );
        let command = json!({"execute": "guest-file-write", "arguments": {"handle": 1, "buf-b64": secret}});
        assert_eq!(
            recorder.asked("d", &command),
            json!({"execute": "guest-file-write"})
        );
    }

    #[test]
    fn what_a_guest_writes_into_a_log_is_not_told() {
        let recorder = Recorder::default();
        let open = json!({"execute": "guest-file-open", "arguments": {"path": "/var/lib/seedbed/jobs/t/log", "mode": "r"}});
        let asked = recorder.asked("d", &open);
        recorder.agent_answer("d", &open, Some(&asked), &json!({"return": 7}).to_string());
        let read = json!({"execute": "guest-file-read", "arguments": {"handle": 7}});
        let asked = recorder.asked("d", &read);
        assert_eq!(asked["what"], "/var/lib/seedbed/jobs/t/log");
        let answer = json!({"return": {"buf-b64": STANDARD.encode("abcdef.0123456789abcdef"), "eof": true}});
        let told = recorder.agent_answer("d", &read, Some(&asked), &answer.to_string());
        assert_eq!(told, json!({"content": true}));
    }
}
