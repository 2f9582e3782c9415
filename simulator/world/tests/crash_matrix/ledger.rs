//! What was done: every change of something outside the operator, without names that differ from run to run.

use futures::FutureExt;
use seedbed_hypervisor::{Hypervisor, Inventory};
use seedbed_simulated_api::{Change, Event, Store};
use seedbed_simulation::{Boundary, Step, World};
use serde_json::Value;

/// Changes on hosts.
#[derive(Default)]
pub struct Ledger {
    before: Option<Inventory>,
    lines: Vec<String>,
}

impl Ledger {
    /// A call to a host is about to be made.
    pub fn before(&mut self, world: &World, step: &Step) {
        self.before = contents(world, step);
    }

    /// The call was made.
    pub fn after(&mut self, world: &World, step: &Step) {
        let (before, after) = (self.before.take(), contents(world, step));
        if before != after {
            self.lines.push(plain(&format!("{} {}", step.verb, step.object)));
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.clone()
    }
}

fn contents(world: &World, step: &Step) -> Option<Inventory> {
    let Boundary::Host(host) = &step.boundary else {
        return None;
    };
    let host = world.hosts().get(host)?;
    let mut inventory = host.simulated.inventory().now_or_never()?.ok()?;
    // An agent comes and goes by itself.
    for domain in &mut inventory.domains {
        domain.agent_connected = None;
    }
    step.changes.then_some(inventory)
}

/// What was done in an API: what was made, deleted or given another content. Events, Leases and statuses tell of it, and are no part of it.
pub fn of_api(what: &str, store: &Store, kinds: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for plural in kinds {
        let Some(kind) = store.kinds().of_plural(plural).cloned() else {
            continue;
        };
        for event in store.since(&kind, 0).into_iter().flatten() {
            let name = event.object["metadata"]["name"].as_str().unwrap_or_default();
            if let Some(how) = change(event) {
                lines.push(plain(&format!("{what}: {how} {plural} {name}")));
            }
        }
    }
    lines
}

fn change(event: &Event) -> Option<&'static str> {
    match event.change {
        Change::Added => Some("made"),
        Change::Deleted => Some("deleted"),
        Change::Modified => {
            let before = event.before.as_ref()?;
            let parts = ["spec", "data"];
            let metadata = ["finalizers", "deletionTimestamp", "labels", "ownerReferences"];
            let differs = parts.iter().any(|part| before[part] != event.object[part])
                || metadata
                    .iter()
                    .any(|field| before["metadata"][field] != event.object["metadata"][field]);
            differs.then_some("changed")
        }
    }
}

/// The text without UIDs, digests and random parts of names.
pub fn plain(text: &str) -> String {
    // The id of a token follows from keys, which are others in each run.
    if let Some((before, _)) = text.split_once("bootstrap-token-") {
        return format!("{before}bootstrap-token-#");
    }
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_hexdigit() || c == '-' && !word.is_empty() {
            word.push(c);
            continue;
        }
        if word.len() >= 12 && word.chars().any(|c| c.is_ascii_digit()) {
            out.push('#');
        } else {
            out.push_str(&word);
        }
        word.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

/// How an object stands, for the end: what it asks for, and what its conditions say.
pub fn standing(object: &Value) -> String {
    let conditions: Vec<String> = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| {
            let text = |field: &str| c[field].as_str().unwrap_or_default().to_owned();
            format!("{}={} {}", text("type"), text("status"), text("reason"))
        })
        .collect();
    let attempt = &object["status"]["bootstrap"]["attempt"];
    let phase = &object["status"]["bootstrap"]["phase"];
    let finalizers = &object["metadata"]["finalizers"];
    plain(&format!(
        "{} {} attempt {attempt} {phase} finalizers {finalizers}: {}",
        object["kind"].as_str().unwrap_or_default(),
        object["metadata"]["name"].as_str().unwrap_or_default(),
        conditions.join(", ")
    ))
}
