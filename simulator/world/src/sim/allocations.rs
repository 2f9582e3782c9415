//! What was allotted to clusters and machines: each thing once, and for ever.

use std::collections::BTreeMap;

use seedbed_simulated_api::{Selector, Store};
use serde_json::Value;

use super::truth::path;
use crate::NAMESPACE;

const KEY: &str = "allocations.json";
const HOST: &str = "seedbed.dev/host";

/// What is wrong with the allocations that were written, if they are some.
pub(crate) fn check(store: &Store, object: &Value, before: Option<&Value>) -> Option<String> {
    let new = read(object)?;
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, machine) in new["machines"].as_object()? {
        for field in ["ip", "mac", "domainUuid"] {
            let value = machine[field].as_str()?;
            if let Some(other) = given.insert(value, name) {
                return Some(format!("machines {other} and {name} have one {field}, {value}"));
            }
        }
        let old = before.and_then(read);
        let old = old.as_ref().and_then(|old| old["machines"].get(name));
        if let Some(old) = old.filter(|old| old["uid"] == machine["uid"] && *old != machine) {
            return Some(format!("machine {name} had {old} and gets {machine}"));
        }
    }
    let host = object["metadata"]["labels"][HOST].as_str()?;
    let range = new["nodeCIDR"].as_str()?;
    // One of which nothing was made yet may be written down late, and is given back.
    let is_used = |allocations: &Value| {
        allocations["machines"]
            .as_object()
            .is_some_and(|of| !of.is_empty())
    };
    if !is_used(&new) {
        return None;
    }
    let kind = store.kinds().of_plural("configmaps")?;
    let all = Selector::default();
    store
        .list(kind, "", &all)
        .filter(|other| other["metadata"]["name"] != object["metadata"]["name"])
        .filter(|other| other["metadata"]["labels"][HOST] == *host)
        .filter_map(|other| Some((path(other, &["metadata", "name"])?, read(other)?)))
        .find(|(_, other)| is_used(other) && other["nodeCIDR"] == *range)
        .map(|(other, _)| format!("{other} has the range {range} of host {host}, too"))
}

/// Whether it is written down of that cluster that its control plane came up.
pub(crate) fn tell_initialized(store: &Store, cluster: &str) -> bool {
    let kind = store.kinds().of_plural("configmaps");
    let stored = kind.and_then(|kind| store.get(kind, NAMESPACE, &format!("{cluster}-allocations")).ok());
    stored
        .and_then(read)
        .is_some_and(|stored| stored["initialized"] == Value::Bool(true))
}

fn read(object: &Value) -> Option<Value> {
    serde_json::from_str(object["data"][KEY].as_str()?).ok()
}
