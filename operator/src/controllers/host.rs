//! `HypervisorHost`: whether it can be used, what it has to give, and what on it has lost its owner.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{
    DevCluster, DevMachine, HostOrphan, HostResources, HypervisorHost, HypervisorHostStatus, OrphanPolicy,
    quantity,
};
use seedbed_hypervisor::{Fault, HostFacts, Hypervisor, Inventory, Owner, PowerState};
use seedbed_planner::conditions::{self, Finding, Status, Summary};
use seedbed_planner::host::Effect;
use seedbed_planner::names;

use super::world::World;
use super::{owned, transitions};
use crate::context::jittered;
use crate::effect;
use crate::errors::Error;
use crate::metrics::HostFigures;
use crate::status::describe;

/// Kinds of orphans.
const DOMAIN: &str = "Domain";
const NETWORK: &str = "Network";
const VOLUME: &str = "Volume";
/// How soon to look again: nothing tells of a pool that fills up or of things made by hand.
const LATER: Duration = Duration::from_mins(1);
/// How soon to look again at a host that does not answer.
const UNREACHABLE: Duration = Duration::from_secs(5);

/// One pass over a host.
pub async fn reconcile(cached: &HypervisorHost, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let api = Api::<HypervisorHost>::all(context.client.clone());
    let found = api
        .get_opt(&cached.name_any())
        .await
        .map_err(|e| Error::api(describe(cached), e))?;
    let Some(host) = found.filter(|h| h.metadata.deletion_timestamp.is_none()) else {
        context.hosts.forget(&cached.name_any());
        world.inventories.forget(&cached.name_any());
        context.uploads.forget(&cached.name_any());
        context.metrics.host_gone(&cached.name_any());
        return Ok(Action::await_change());
    };
    let now = context.clock.now();
    let hypervisor = context.hosts.hypervisor(&host);
    let looked = look(hypervisor.as_ref()).await;
    let owners = match &looked {
        Ok((_, inventory)) => owners(inventory, world).await?,
        Err(_) => BTreeSet::new(),
    };
    let status = status(&host, &looked, &owners, world, now);
    if let Ok((facts, inventory)) = &looked {
        for owner in world.inventories.differences(&host.name_any(), inventory) {
            world.changed_on_host.send(owner);
        }
        let figures = HostFigures {
            memory_bytes: facts.memory_bytes,
            memory_free_bytes: free(&host, facts, world),
            machines: ours(inventory),
            orphans: status.orphans.len(),
        };
        context.metrics.host(&host.name_any(), figures);
    }
    if let (Ok((_, inventory)), OrphanPolicy::Delete) = (&looked, host.spec.orphan_policy) {
        remove_orphans(&host, &status.orphans, inventory, hypervisor.as_ref(), now).await?;
    }
    transitions::save(context, &api, &host, status).await?;
    let wait = if looked.is_ok() { LATER } else { UNREACHABLE };
    Ok(Action::requeue(jittered(&*context.random, wait)))
}

async fn look(hypervisor: &dyn Hypervisor) -> Result<(HostFacts, Inventory), Fault> {
    Ok((hypervisor.host().await?, hypervisor.inventory().await?))
}

/// UIDs of everything that owns something on this host. What the caches do not know is looked for in the API server: a cache that
/// lags would make an orphan of what was made just now. What it still knows although it is gone is an orphan at the next look.
async fn owners(inventory: &Inventory, world: &World) -> Result<BTreeSet<String>, Error> {
    let known = known_owners(inventory, world);
    let domains = inventory.domains.iter().filter_map(|d| d.owner.as_ref());
    let networks = inventory.networks.iter().filter_map(|n| n.owner.as_ref());
    let all_known = domains
        .filter_map(|owner| owner.machine_uid.as_ref())
        .chain(networks.map(|owner| &owner.cluster_uid))
        .map(String::as_str)
        .chain(volumes_without_domain(inventory).map(|(_, uid)| uid))
        .all(|uid| known.contains(uid));
    if all_known {
        return Ok(known);
    }
    let client = &world.context.client;
    let params = kube::api::ListParams::default();
    let clusters = Api::<DevCluster>::all(client.clone())
        .list_metadata(&params)
        .await
        .map_err(|e| Error::api("DevClusters: list", e))?;
    let machines = Api::<DevMachine>::all(client.clone())
        .list_metadata(&params)
        .await
        .map_err(|e| Error::api("DevMachines: list", e))?;
    let uids = clusters
        .iter()
        .map(owned::uid)
        .chain(machines.iter().map(owned::uid));
    Ok(uids.collect())
}

/// Those of the owners that the caches know.
fn known_owners(inventory: &Inventory, world: &World) -> BTreeSet<String> {
    let machines = inventory.domains.iter().filter_map(|domain| {
        let owner = domain.owner.as_ref()?;
        world.machine_uid(&owner.namespace, owner.machine.as_deref()?)
    });
    let clusters = inventory.networks.iter().filter_map(|network| {
        let owner = network.owner.as_ref()?;
        world.cluster_uid(&owner.namespace, &owner.cluster)
    });
    machines.chain(clusters).collect()
}

fn status(
    host: &HypervisorHost,
    looked: &Result<(HostFacts, Inventory), Fault>,
    owners: &BTreeSet<String>,
    world: &World,
    now: Timestamp,
) -> HypervisorHostStatus {
    let old = host.status.clone().unwrap_or_default();
    let generation = host.metadata.generation;
    let (summary, reachable) = match looked {
        Ok(_) => (
            Summary::Ready,
            Finding::new(
                condition::HOST_REACHABLE,
                true,
                Reason::HostReachable,
                "the host answers",
            ),
        ),
        Err(fault) => unreachable(host, fault),
    };
    let mut findings = summary.findings();
    findings.push(reachable);
    let base = HypervisorHostStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, findings, generation, now),
        type_: Some(host.spec.type_name().to_owned()),
        ..old.clone()
    };
    let Ok((facts, inventory)) = looked else {
        return base;
    };
    let orphans = orphans(inventory, owners, &old.orphans, now);
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    HypervisorHostStatus {
        hypervisor_version: Some(format!("{}, {}", facts.hypervisor_version, facts.manager_version)),
        resources: Some(resources(host, facts, world)),
        machines: Some(count(ours(inventory))),
        orphan_count: Some(count(orphans.len())),
        orphans,
        ..base
    }
}

fn unreachable(host: &HypervisorHost, fault: &Fault) -> (Summary, Finding) {
    let message = match &host.spec.libvirt {
        Some(libvirt) if fault.host_unreachable() => {
            let uri = &libvirt.uri;
            format!("{fault}; see to it that libvirt runs at {uri}, or correct spec.libvirt.uri")
        }
        // What a simulated host's words say already.
        _ => fault.to_string(),
    };
    let (reason, status) = match fault {
        Fault::NotFound { .. } | Fault::Refused { .. } | Fault::Unsupported { .. } => {
            (Reason::StoragePoolUnusable, Status::False)
        }
        _ => (Reason::HostUnreachable, Status::Unknown),
    };
    let summary = match status {
        Status::False => Summary::Stalled(reason, message.clone()),
        _ => Summary::Unknown(reason, message.clone()),
    };
    let reachable = match status {
        Status::False => Finding::new(
            condition::HOST_REACHABLE,
            true,
            Reason::HostReachable,
            "the host answers",
        ),
        _ => Finding::new(condition::HOST_REACHABLE, Status::Unknown, reason, message),
    };
    (summary, reachable)
}

/// Memory that is neither reserved nor promised. It is counted from what was promised, not from what guests use at the moment:
/// that changes all the time.
fn free(host: &HypervisorHost, facts: &HostFacts, world: &World) -> u64 {
    let promised: u64 = world
        .machines_on_host(&host.name_any())
        .filter_map(|m| quantity::bytes(&m.spec.machine.memory))
        .sum();
    let reserved = quantity::bytes(&host.spec.reserved_memory).unwrap_or(0);
    facts
        .memory_bytes
        .saturating_sub(reserved)
        .saturating_sub(promised)
}

fn ours(inventory: &Inventory) -> usize {
    inventory.domains.iter().filter(|d| d.owner.is_some()).count()
}

fn resources(host: &HypervisorHost, facts: &HostFacts, world: &World) -> HostResources {
    HostResources {
        cpus: i32::try_from(facts.cpus).unwrap_or(i32::MAX),
        memory: quantity::display(facts.memory_bytes),
        memory_free: quantity::display(free(host, facts, world)),
        disk: quantity::display(facts.pool_capacity_bytes),
    }
}

/// What is ours by its metadata and has no owner, with the time since when it was seen so.
fn orphans(
    inventory: &Inventory,
    owners: &BTreeSet<String>,
    known: &[HostOrphan],
    now: Timestamp,
) -> Vec<HostOrphan> {
    let orphan = |kind: &str, name: &str, uid: &str| HostOrphan {
        kind: kind.to_owned(),
        name: name.to_owned(),
        owner_uid: uid.to_owned(),
        since: known
            .iter()
            .find(|k| k.kind == kind && k.name == name && k.owner_uid == uid)
            .map_or(Time(now), |k| k.since.clone()),
    };
    let machines = inventory.domains.iter().filter_map(|d| {
        let uid = d.owner.as_ref()?.machine_uid.as_deref()?;
        (!owners.contains(uid)).then(|| orphan(DOMAIN, &d.name, uid))
    });
    let networks = inventory.networks.iter().filter_map(|n| {
        let uid = n.owner.as_ref()?.cluster_uid.as_str();
        (!owners.contains(uid)).then(|| orphan(NETWORK, &n.name, uid))
    });
    let volumes = volumes_without_domain(inventory)
        .filter(|(_, uid)| !owners.contains(*uid))
        .map(|(name, uid)| orphan(VOLUME, name, uid));
    let mut all: Vec<HostOrphan> = machines.chain(networks).chain(volumes).collect();
    all.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    all
}

/// Volumes of machines whose domain is not there, with the machines' UIDs. A domain that was let go keeps its name and its volumes.
fn volumes_without_domain(inventory: &Inventory) -> impl Iterator<Item = (&str, &str)> {
    let domains: BTreeSet<&str> = inventory.domains.iter().map(|d| d.name.as_str()).collect();
    inventory.volumes.iter().filter_map(move |volume| {
        let (domain, uid) = names::machine_of_volume(&volume.name)?;
        (!domains.contains(domain)).then_some((volume.name.as_str(), uid))
    })
}

/// Removes orphans whose grace period is over. Domains come before networks in the list, as they have to on the host. Volumes stay: one
/// that a renamed domain uses, which was let go, looks like one that nobody needs.
async fn remove_orphans(
    host: &HypervisorHost,
    orphans: &[HostOrphan],
    inventory: &Inventory,
    hypervisor: &dyn Hypervisor,
    now: Timestamp,
) -> Result<(), Error> {
    let grace = SignedDuration::from_secs(host.spec.orphan_grace_period_seconds);
    for orphan in orphans.iter().filter(|o| now.duration_since(o.since.0) >= grace) {
        if orphan.kind == DOMAIN {
            let domain = inventory.domains.iter().find(|d| d.name == orphan.name);
            let Some((domain, owner)) = domain.and_then(|d| Some((d, d.owner.as_ref()?))) else {
                continue;
            };
            let work = remove_domain(&domain.name, domain.power, owner, hypervisor);
            effect::carry_out(&orphan.name, Effect::RemoveOrphanedDomain, work).await?;
        } else if orphan.kind == NETWORK {
            let network = inventory.networks.iter().find(|n| n.name == orphan.name);
            let Some(owner) = network.and_then(|n| n.owner.as_ref()) else {
                continue;
            };
            let work = hypervisor.delete_network(&orphan.name, owner);
            effect::carry_out(&orphan.name, Effect::RemoveOrphanedNetwork, work).await?;
        }
    }
    Ok(())
}

async fn remove_domain(
    name: &str,
    power: PowerState,
    owner: &Owner,
    hypervisor: &dyn Hypervisor,
) -> Result<(), Error> {
    if power != PowerState::Off {
        hypervisor.destroy_domain(name, owner).await?;
    }
    // The definition goes last: it is all that says whose the volumes are, to whoever has to go on with this.
    if let (Some(machine), Some(uid)) = (&owner.machine, &owner.machine_uid) {
        hypervisor
            .delete_volume(&names::root_volume(&owner.namespace, machine, uid))
            .await?;
        hypervisor
            .delete_volume(&names::cidata_volume(&owner.namespace, machine, uid))
            .await?;
    }
    hypervisor.undefine_domain(name, owner).await?;
    Ok(())
}
