//! Rules about order: what has to be written down before it is done, what has to be gone before something else goes, and what never
//! goes back.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_hypervisor::{DomainFacts, Inventory, Owner, PowerState};
use seedbed_simulated_api::Change;
use serde_json::Value;

use super::truth::{Objects, owner, path, uid};
use crate::step::Step;

/// Why a call to a host comes too early.
pub(crate) fn too_early(step: &Step, contents: &Inventory) -> Option<String> {
    let domain_of = |is_its: &dyn Fn(&Owner) -> bool| {
        let is_on = |d: &&DomainFacts| d.power != PowerState::Off;
        let mut running = contents.domains.iter().filter(is_on);
        let found = running.find(|d| d.owner.as_ref().is_some_and(is_its));
        found.map(|d| d.name.clone())
    };
    match step.verb.as_str() {
        "delete_volume" => {
            let is_its = |owner: &Owner| {
                let machine = owner.machine_uid.as_deref();
                machine.is_some_and(|uid| !uid.is_empty() && step.object.contains(uid))
            };
            domain_of(&is_its).map(|name| format!("a volume is deleted while its domain {name} is on"))
        }
        "release_address" => {
            let of = step.owner.as_ref()?;
            domain_of(&|owner| owner.same_machine(of))
                .map(|name| format!("an address is released while its domain {name} is on"))
        }
        _ => None,
    }
}

/// Whose a thing is that a call is about to change, where it is somebody else's: then the host has to refuse.
pub(crate) fn somebody_elses(step: &Step, contents: &Inventory) -> Option<String> {
    let of = step.owner.as_ref()?;
    match step.verb.as_str() {
        "define_domain" | "start_domain" | "shutdown_domain" | "destroy_domain" | "undefine_domain"
        | "attach_disk" | "detach_disk" | "keep_disk" | "merge_disk" | "revert_disk" => {
            let found = contents.domains.iter().find(|d| d.name == step.object)?;
            let is_its = found.owner.as_ref().is_some_and(|owner| owner.same_machine(of));
            (!is_its).then(|| format!("domain {}, which is somebody else's, is changed", found.name))
        }
        "ensure_network" | "reserve_address" | "release_address" | "delete_network" => {
            let found = contents.networks.iter().find(|n| n.name == step.object)?;
            let is_its = found.owner.as_ref().is_some_and(|owner| owner.same_cluster(of));
            (!is_its).then(|| format!("network {}, which is somebody else's, is changed", found.name))
        }
        _ => None,
    }
}

/// A job that was begun and was last written down neither in its machine's status nor in an upgrade's; looked at once for each.
pub(crate) fn job_ahead(
    objects: &Objects<'_>,
    namespace: &str,
    begun: &[(String, String)],
    known: &mut BTreeSet<String>,
    (of_machines, of_upgrades): (&BTreeMap<String, String>, &BTreeSet<String>),
) -> Option<String> {
    let mut ahead = None;
    for (domain, token) in begun {
        if !known.insert(token.clone()) || of_upgrades.contains(token) {
            continue;
        }
        let name = domain
            .strip_prefix(namespace)
            .and_then(|rest| rest.strip_prefix('.'));
        let machine = objects
            .all("DevMachine")
            .find(|m| path(m, &["metadata", "name"]) == name);
        let written = machine.and_then(|m| of_machines.get(uid(m)));
        if written != Some(token) {
            ahead = Some(format!(
                "job {token} is begun in {domain}, whose machine's status has {}",
                written.map_or("none", String::as_str)
            ));
        }
    }
    ahead
}

/// What a status says that cannot be so after what it said before.
pub(crate) fn back(kind: &str, before: &Value, after: &Value) -> Option<String> {
    match kind {
        "DevMachine" => {
            let of = |object: &Value| {
                let bootstrap = &object["status"]["bootstrap"];
                let ended = bootstrap["phase"] != "Started";
                bootstrap["attempt"].as_i64().map(|attempt| (attempt, ended))
            };
            let (was, is) = (of(before)?, of(after));
            (is < Some(was)).then(|| format!("its bootstrap was at {was:?} and is at {is:?}"))
        }
        "ClusterUpgrade" => {
            let of = |object: &Value| object["status"]["transitions"].as_i64().unwrap_or_default();
            let passed = |object: &Value| object["status"]["undoable"] == "No";
            // A status that somebody took away comes back.
            if before["status"]["steps"].is_null() || after["status"]["steps"].is_null() {
                return None;
            }
            if of(after) < of(before) {
                return Some(format!(
                    "its steps were at {} and are at {}",
                    of(before),
                    of(after)
                ));
            }
            let undo = &after["status"]["undo"];
            let begins = !undo.is_null() && before["status"]["undo"].is_null();
            if !begins || !passed(before) {
                return None;
            }
            if undo["cause"] != "FailedAfterCommit" {
                return Some("it is undone although it has passed its point of no return".to_owned());
            }
            let is_wanted = after["spec"]["onFailureAfterCommit"] == "RestoreSnapshot";
            (!is_wanted).then(|| "a snapshot is restored that nobody wants restored".to_owned())
        }
        _ => None,
    }
}

/// Tokens of the jobs that an upgrade has written down.
pub(crate) fn tokens(upgrade: &Value) -> impl Iterator<Item = String> {
    let steps = upgrade["status"]["steps"].as_array().cloned().unwrap_or_default();
    steps
        .into_iter()
        .filter_map(|step| step["token"].as_str().map(str::to_owned))
}

/// The domains of the machines whose disks an upgrade has written down to be taken back.
pub(crate) fn reverted(upgrade: &Value) -> impl Iterator<Item = String> {
    let machines = upgrade["status"]["undo"]["revertedDisks"].as_array().cloned();
    let namespace = path(upgrade, &["metadata", "namespace"])
        .unwrap_or_default()
        .to_owned();
    let domain = move |machine: &Value| machine.as_str().map(|name| format!("{namespace}.{name}"));
    machines
        .into_iter()
        .flatten()
        .filter_map(move |machine| domain(&machine))
}

/// A status that was made for what the object was before somebody changed it: what was read is written over what is there by now.
/// Every status says which generation it is for, and is written over the version that was read.
pub(crate) fn blind(after: &Value) -> Option<String> {
    let made_for = after["status"]["observedGeneration"].as_i64()?;
    let is = after["metadata"]["generation"].as_i64()?;
    (made_for != is).then(|| format!("a status for generation {made_for} is written over generation {is}"))
}

/// A machine that is told to be in the making while its domain runs: that the host did not answer is taken for that it is not there.
/// What a call did that was carried out late nobody knew.
pub(crate) fn unmade(machine: &Value, hosts: &[Inventory], late: &BTreeSet<String>) -> Option<String> {
    let conditions = machine["status"]["conditions"].as_array()?;
    let is_made = |c: &Value| path(c, &["message"]).is_some_and(|text| text.contains("is being made"));
    if !conditions.iter().any(is_made) {
        return None;
    }
    let found = running(hosts, uid(machine)).filter(|d| !late.contains(&d.name))?;
    Some(format!("it is told to be made, and domain {} runs", found.name))
}

/// The machine's domain, where it runs.
pub(crate) fn running<'a>(hosts: &'a [Inventory], machine_uid: &str) -> Option<&'a DomainFacts> {
    let is_its = |owner: &Owner| owner.machine_uid.as_deref() == Some(machine_uid);
    let mut domains = hosts.iter().flat_map(|host| &host.domains);
    domains.find(|d| d.power == PowerState::Running && d.owner.as_ref().is_some_and(is_its))
}

/// Why a worker that is made is one too many.
pub(crate) fn one_too_many(change: Change, machine: &Value, objects: &Objects<'_>) -> Option<String> {
    if change != Change::Added {
        return None;
    }
    let pool = objects.by_uid("NodePool", &owner(machine, "NodePool")?)?;
    let wanted = pool["spec"]["replicas"].as_u64().unwrap_or_default();
    // A surge of 1 is the default, and the only one in these worlds.
    let most = wanted + 1;
    let is_of_pool = |m: &&Value| owner(m, "NodePool").as_deref() == Some(uid(pool));
    let there = objects.all("DevMachine").filter(is_of_pool).count() as u64;
    let name = path(machine, &["metadata", "name"]).unwrap_or_default();
    (there > most).then(|| format!("worker {name} is the {there}th of at most {most}"))
}
