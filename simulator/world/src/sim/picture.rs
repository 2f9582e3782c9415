//! What there is at the end, without what follows from the way there: UIDs, times, addresses, numbers of machines.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use seedbed_simulated_api::{Selector, Store};
use serde_json::{Value, json};

use super::truth::path;
use crate::World;

/// What there is, a line for each thing, in order.
pub(crate) fn of(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for kind in ["HypervisorHost", "KubernetesRelease", "DevCluster", "NodePool"] {
        lines.extend(world.all(kind).iter().map(|object| user_object(kind, object)));
    }
    lines.extend(world.all("DevMachine").iter().map(machine));
    for kind in ["Secret", "ConfigMap"] {
        lines.extend(world.all(kind).iter().map(|object| kept(kind, object)));
    }
    for (name, host) in world.hosts() {
        let contents = host.simulated.contents();
        lines.extend(contents.domains.iter().map(|d| {
            let ours = d.owner.is_some();
            format!(
                "host {name}: domain {} ours={ours} {:?} {} {}",
                group(&d.name),
                d.power,
                d.cpus,
                d.memory_bytes
            )
        }));
        lines.extend(contents.networks.iter().map(|n| {
            let ours = n.owner.is_some();
            format!(
                "host {name}: network {} ours={ours} active={} {} reservations",
                n.name,
                n.active,
                n.reservations.len()
            )
        }));
        lines.extend(contents.volumes.iter().map(|v| {
            format!(
                "host {name}: volume {} {} complete={}",
                volume(&v.name),
                v.capacity_bytes,
                v.complete
            )
        }));
    }
    for cluster in world.all("DevCluster") {
        lines.extend(child(world, &cluster));
    }
    lines.sort();
    lines
}

/// Lines that are in one of both only.
pub(crate) fn difference(found: &[String], expected: &[String]) -> String {
    let mut text = String::new();
    let mut rest = expected.to_vec();
    for line in found {
        if let Some(index) = rest.iter().position(|other| other == line) {
            rest.remove(index);
        } else {
            text += &format!("  found    {line}\n");
        }
    }
    for line in rest {
        text += &format!("  expected {line}\n");
    }
    text
}

fn conditions(object: &Value) -> String {
    let all: BTreeSet<String> = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| format!("{}={} ({})", c["type"], c["status"], c["reason"]).replace('"', ""))
        .collect();
    all.into_iter().collect::<Vec<_>>().join(" ")
}

fn user_object(kind: &str, object: &Value) -> String {
    let mut status = object["status"].clone();
    if let Some(fields) = status.as_object_mut() {
        for field in [
            "conditions",
            "observedGeneration",
            "initializedAt",
            "endpoint",
            "network",
        ] {
            fields.remove(field);
        }
    }
    let meta = &object["metadata"];
    format!(
        "{kind} {} {} finalizers={} spec={} status={status}",
        meta["name"],
        conditions(object),
        meta["finalizers"],
        object["spec"]
    )
}

fn machine(object: &Value) -> String {
    let status = &object["status"];
    // An upgrade changes in place what a machine was made from.
    let mut spec = object["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("version");
        fields.remove("templateHash");
    }
    format!(
        "DevMachine {} {} finalizers={} labels={} spec={} phase={} power={} bootstrap={} owners={}",
        group(path(object, &["metadata", "name"]).unwrap_or_default()),
        conditions(object),
        object["metadata"]["finalizers"],
        object["metadata"]["labels"],
        spec,
        status["phase"],
        status["powerState"],
        status["bootstrap"]["phase"],
        owners(object)
    )
}

fn kept(kind: &str, object: &Value) -> String {
    let keys: Vec<_> = object["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .collect();
    format!(
        "{kind} {} keys={keys:?} labels={} owners={}",
        object["metadata"]["name"],
        object["metadata"]["labels"],
        owners(object)
    )
}

fn owners(object: &Value) -> Value {
    let owners = object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    json!(
        owners
            .map(|o| json!([o["kind"], o["name"], o["controller"]]))
            .collect::<Vec<_>>()
    )
}

/// A machine's or domain's name without its number.
fn group(name: &str) -> String {
    name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned() + "N"
}

/// A volume's name without the machine's number and UID.
fn volume(name: &str) -> String {
    let words: Vec<&str> = name.split('.').collect();
    match words.as_slice() {
        [namespace, machine, _, rest @ ..] if name.contains(".cidata.") || name.contains(".root.") => {
            format!("{namespace}.{}.{}", group(machine), rest.join("."))
        }
        _ => name.to_owned(),
    }
}

fn child(world: &World, cluster: &Value) -> Vec<String> {
    let name = &cluster["metadata"]["name"];
    let Some(api) = super::child_of(world, cluster) else {
        return vec![format!("child {name}: no API")];
    };
    api.with(|store| {
        let mut lines: Vec<String> = all(store, "nodes")
            .iter()
            .map(|node| {
                format!(
                    "child {name}: node {} unschedulable={} ready={} taints={}",
                    group(path(node, &["metadata", "name"]).unwrap_or_default()),
                    node["spec"]["unschedulable"],
                    node["status"]["conditions"][0]["status"],
                    node["spec"]["taints"]
                )
            })
            .collect();
        let now = world.now();
        let lasting = all(store, "secrets")
            .iter()
            .filter(|secret| expiry(secret).is_none_or(|at| at >= now))
            .count();
        lines.push(format!("child {name}: {lasting} Secrets"));
        lines
    })
}

fn all(store: &Store, plural: &str) -> Vec<Value> {
    let selector = Selector::default();
    let kind = store.kinds().of_plural(plural).cloned();
    kind.map(|kind| store.list(&kind, "", &selector).cloned().collect())
        .unwrap_or_default()
}

/// When the last join token of all child clusters is over, if that is to come.
pub(crate) fn last_token(world: &World) -> Option<Timestamp> {
    let clusters = world.all("DevCluster");
    let apis = clusters
        .iter()
        .filter_map(|cluster| super::child_of(world, cluster));
    let tokens = apis.flat_map(|api| api.with(|store| all(store, "secrets")));
    let ends = tokens.filter_map(|secret| expiry(&secret));
    ends.max().filter(|end| *end >= world.now())
}

/// When a token's time is over: a real cluster removes it by itself then.
fn expiry(secret: &Value) -> Option<Timestamp> {
    let data = secret["data"]["expiration"].as_str()?;
    let bytes = STANDARD.decode(data).ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
}
