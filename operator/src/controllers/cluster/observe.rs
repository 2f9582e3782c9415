//! Looks at everything that decides what is done with a cluster as a whole.

use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Secret;
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt};
use seedbed_crds::reasons::Reason;
use seedbed_crds::{DeletionPolicy, DevCluster, DevMachine, HypervisorHost};
use seedbed_hypervisor::{Fault, Hypervisor, NetworkFacts, Owner, Reservation};
use seedbed_planner::cluster::{ControlPlaneMachine, Leaving, NetworkState, Problem, Seen};
use seedbed_planner::{Observed, address, names, template};

use super::ranges::{self, OnHost};
use super::{is_initialized, stray_nodes, versions};
use crate::child::ChildView;
use crate::controllers::allocations::Stored;
use crate::controllers::world::World;
use crate::controllers::{access, allocations, machine, owned, pki, profile, secrets};
use crate::errors::Error;
use crate::render::ClusterPlan;
use crate::status::describe;

/// A cluster with all that it refers to.
pub struct Subject {
    /// The cluster, as the API server has it.
    pub cluster: DevCluster,
    /// Its host's object; none where there is none of that name.
    pub host: Option<(HypervisorHost, Arc<dyn Hypervisor>)>,
    /// Its allocations.
    pub stored: Option<Stored>,
    /// Its plan; none without a host, or where the spec cannot be read.
    pub plan: Option<ClusterPlan>,
    /// Its machines.
    pub machines: Vec<DevMachine>,
    /// What its own API says.
    pub view: ChildView,
    /// Whether the first look at its API, if it has one, is over.
    pub child_looked: bool,
}

impl Subject {
    /// Name of its network on the host.
    pub fn network(&self) -> String {
        names::network(&owned::namespace(&self.cluster), &owned::name(&self.cluster))
    }

    /// Whose the network has to be.
    pub fn owner(&self) -> Owner {
        Owner {
            namespace: owned::namespace(&self.cluster),
            cluster: owned::name(&self.cluster),
            cluster_uid: owned::uid(&self.cluster),
            machine: None,
            machine_uid: None,
        }
    }

    /// Its control plane's machine.
    pub fn control_plane(&self) -> Option<&DevMachine> {
        machine::control_plane(&self.machines)
    }

    /// Whether kubeadm did its work on the control plane.
    pub fn is_bootstrapped(&self) -> bool {
        self.control_plane().is_some_and(machine::is_bootstrapped)
    }
}

/// Reads everything that the cluster refers to.
pub async fn subject(cluster: DevCluster, world: &World) -> Result<Subject, Error> {
    let context = &world.context;
    let host = world.host(&cluster.spec.host_ref.name).map(|host| {
        let hypervisor = context.hosts.hypervisor(&host);
        (host, hypervisor)
    });
    let stored = world.allocations(&cluster).await?;
    let plan = host
        .as_ref()
        .and_then(|(host, _)| ClusterPlan::new(&cluster, profile::of(&cluster, host)).ok());
    let mut machines = world.machines_of_cluster(&cluster);
    if machines.is_empty() && cluster.metadata.deletion_timestamp.is_some() {
        // What follows once there is none cannot be undone, and a cache that lags may not know one that was made just now.
        machines = listed_machines(&cluster, world).await?;
    }
    let (view, child_looked) = match access::child(world, &cluster, stored.as_ref()).await {
        Ok(Some(child)) => (child.view(), child.has_looked()),
        Ok(None) => (
            ChildView::unknown("the address of its API server is not known yet"),
            true,
        ),
        Err(error) => (ChildView::unknown(&error.to_string()), true),
    };
    Ok(Subject {
        cluster,
        host,
        stored,
        plan,
        machines,
        view,
        child_looked,
    })
}

/// All machines of the cluster, as the API server has them now.
pub async fn listed_machines(cluster: &DevCluster, world: &World) -> Result<Vec<DevMachine>, Error> {
    let selector = format!("{}={}", names::CLUSTER_LABEL, owned::name(cluster));
    let params = kube::api::ListParams::default().labels(&selector);
    let list = Api::<DevMachine>::namespaced(world.context.client.clone(), &owned::namespace(cluster))
        .list(&params)
        .await
        .map_err(|e| Error::api(format!("{}: list machines", describe(cluster)), e))?;
    let is_its =
        |machine: &DevMachine| owned::owner_uid(machine, "DevCluster") == cluster.metadata.uid.as_deref();
    Ok(list.items.into_iter().filter(is_its).collect())
}

/// Looks at a cluster that should exist.
pub async fn present(subject: &Subject, world: &World) -> Result<Seen, Error> {
    let name = owned::name(&subject.cluster);
    let stored = subject.stored.as_ref();
    let initialized = is_initialized(&subject.cluster, stored);
    let api_server = access::api_server(&name, subject.stored.as_ref());
    let hash = template::control_plane_hash(&subject.cluster.spec);
    // They are made once there is a machine for them.
    let pki = subject.control_plane().is_some() && world.keys(&subject.cluster).await?.is_some();
    let begun = !pki && begun(subject, world).await?;
    let found = match &subject.host {
        None => Ok(None),
        Some((_, hypervisor)) => hypervisor.network(&subject.network()).await,
    };
    Ok(Seen {
        paused: subject.cluster.spec.paused,
        spec: check(subject, world).await?,
        host: match &subject.host {
            None => Observed::Unknown("its HypervisorHost does not exist".to_owned()),
            Some((_, hypervisor)) => Observed::from(hypervisor.host().await).map(drop),
        },
        allocated: subject.stored.is_some(),
        contested: is_contested(subject, world).await?,
        pki,
        stray_addresses: subject.stored.as_ref().is_some_and(|stored| {
            let network = found.as_ref().ok().and_then(Option::as_ref);
            !strays(subject, stored, network).is_empty()
        }),
        lost_addresses: subject.stored.as_ref().is_some_and(|stored| {
            let network = found.as_ref().ok().and_then(Option::as_ref);
            !lost(subject, stored, network).is_empty()
        }),
        stray_nodes: stray_nodes::seen(subject),
        network: network(subject, found),
        // Before there are keys it is not there either, and is not asked for.
        kubeconfig: (pki || initialized) && has_kubeconfig(subject, world).await?,
        initialized,
        noted: stored.is_some_and(|stored| stored.allocations.initialized),
        control_plane: subject.control_plane().map(|m| ControlPlaneMachine {
            up_to_date: m.spec.template_hash == hash,
            deleting: m.metadata.deletion_timestamp.is_some(),
            begun,
        }),
        endpoint_known: api_server.is_some(),
        version: versions::desired(subject, world),
        old_upgrades: versions::surplus(subject, world),
    })
}

async fn is_contested(subject: &Subject, world: &World) -> Result<bool, Error> {
    match (&subject.host, &subject.stored) {
        (Some((host, hypervisor)), Some(stored)) => {
            ranges::is_contested(&subject.cluster, stored, host, hypervisor.as_ref(), world).await
        }
        _ => Ok(false),
    }
}

/// Whether the kubeconfig Secret is there and for the API server at its present address.
async fn has_kubeconfig(subject: &Subject, world: &World) -> Result<bool, Error> {
    let cluster = &subject.cluster;
    let (namespace, name, uid) = (
        owned::namespace(cluster),
        owned::name(cluster),
        owned::uid(cluster),
    );
    let Some(address) = access::api_server(&name, subject.stored.as_ref()) else {
        return Ok(false);
    };
    let now = world.context.clock.elapsed();
    if world.kubeconfigs.get(&uid, now) == Some(address) {
        return Ok(true);
    }
    let secret = Api::<Secret>::namespaced(world.context.client.clone(), &namespace)
        .get_opt(&pki::kubeconfig_secret(&name))
        .await
        .map_err(|e| Error::api(format!("Secret {namespace}/{name}-kubeconfig: get"), e))?;
    let found = secret.is_some_and(|secret| speaks_of(&secret, address));
    if found {
        world.kubeconfigs.put(&uid, address, now);
    }
    Ok(found)
}

/// Whether kubeadm was begun on the control plane, as the API server has it now: a cache that lags would let new keys be made for
/// one that has others.
async fn begun(subject: &Subject, world: &World) -> Result<bool, Error> {
    let Some(machine) = subject.control_plane() else {
        return Ok(false);
    };
    let api = Api::<DevMachine>::namespaced(world.context.client.clone(), &owned::namespace(machine));
    let found = api
        .get_opt(&machine.name_any())
        .await
        .map_err(|e| Error::api(describe(machine), e))?;
    Ok(found
        .and_then(|machine| machine.status)
        .is_some_and(|status| status.bootstrap.is_some()))
}

/// Whether the kubeconfig is for the API server at that address.
fn speaks_of(secret: &Secret, address: std::net::Ipv4Addr) -> bool {
    let url = ClusterPlan::endpoint(address).url();
    secret
        .data
        .as_ref()
        .and_then(|d| d.get("value"))
        .is_some_and(|value| String::from_utf8_lossy(&value.0).contains(&url))
}

/// Reservations that the network does not have, of machines that stay and are past the point at which they reserve one themselves.
pub fn lost(subject: &Subject, stored: &Stored, network: Option<&NetworkFacts>) -> Vec<Reservation> {
    let Some(network) = network.filter(|network| is_ours(subject, network)) else {
        return Vec::new();
    };
    let machines = subject.machines.iter().filter(|m| machine::is_node(m));
    machines
        .filter_map(|machine| {
            let allocated = stored
                .allocations
                .machine(&owned::name(machine), &owned::uid(machine))?;
            Some(allocations::reservation(&owned::name(machine), allocated))
        })
        .filter(|wanted| !network.reservations.contains(wanted))
        .collect()
}

fn is_ours(subject: &Subject, network: &NetworkFacts) -> bool {
    network.is_of(&owned::uid(&subject.cluster))
}

/// Reservations of the network that are no machine's: made when their machine was gone.
pub fn strays(subject: &Subject, stored: &Stored, network: Option<&NetworkFacts>) -> Vec<Reservation> {
    let Some(network) = network.filter(|network| is_ours(subject, network)) else {
        return Vec::new();
    };
    let wanted = allocations::reservations(stored);
    let reserved = network.reservations.iter();
    reserved
        .filter(|found| !wanted.contains(found))
        .cloned()
        .collect()
}

fn network(subject: &Subject, found: Result<Option<NetworkFacts>, Fault>) -> Observed<NetworkState> {
    if subject.host.is_none() {
        return Observed::Unknown("its HypervisorHost does not exist".to_owned());
    }
    let uid = owned::uid(&subject.cluster);
    Observed::from(found).map(|found| match found {
        None => NetworkState::Missing,
        Some(network) => match &network.owner {
            Some(owner) if owner.cluster_uid == uid && network.active => NetworkState::Active,
            Some(owner) if owner.cluster_uid == uid => NetworkState::Missing,
            Some(owner) => NetworkState::Foreign(format!(
                "its metadata names cluster {}/{} with UID {}, expected {uid}",
                owner.namespace, owner.cluster, owner.cluster_uid
            )),
            None => NetworkState::Foreign("it has no metadata of Seedbed's".to_owned()),
        },
    })
}

/// What the schema cannot check.
async fn check(subject: &Subject, world: &World) -> Result<Result<(), Problem>, Error> {
    let spec = &subject.cluster.spec;
    let problem = |reason, message: String| Ok(Err(Problem { reason, message }));
    let Some((host, _)) = &subject.host else {
        let message = format!(
            "spec.hostRef: no HypervisorHost named {} exists: create it, or name another",
            spec.host_ref.name
        );
        return problem(Reason::HostNotFound, message);
    };
    if world.release(&spec.version).is_none() {
        let known = world.versions().join(", ");
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known
        };
        let message = format!(
            "spec.version: no KubernetesRelease named {} exists; those that do: {known}",
            spec.version
        );
        return problem(Reason::ReleaseNotFound, message);
    }
    let checked = ClusterPlan::new(&subject.cluster, profile::of(&subject.cluster, host))
        .and_then(|plan| plan.check().map(|()| plan));
    let plan = match checked {
        Ok(plan) => plan,
        Err(error) => return problem(Reason::InvalidPatch, error.to_string()),
    };
    if let Some((reason, message)) = ranges(subject, host, &plan, world).await? {
        return problem(reason, message);
    }
    for file in &spec.files {
        let Some(from) = &file.content_from else { continue };
        if let Some(message) = missing_content(&subject.cluster, &file.path, from, world).await? {
            return problem(Reason::SecretNotFound, message);
        }
    }
    Ok(Ok(()))
}

async fn missing_content(
    cluster: &DevCluster,
    path: &str,
    from: &seedbed_crds::SecretKeyReference,
    world: &World,
) -> Result<Option<String>, Error> {
    let namespace = owned::namespace(cluster);
    let found = Api::<Secret>::namespaced(world.context.client.clone(), &namespace)
        .get_opt(&from.name)
        .await
        .map_err(|e| Error::api(format!("Secret {namespace}/{}: get", from.name), e))?;
    Ok(match found {
        None => Some(format!(
            "spec.files: {path} takes its content from Secret {}, which does not exist in this namespace",
            from.name
        )),
        Some(secret) if !secret.data.as_ref().is_some_and(|d| d.contains_key(&from.key)) => Some(format!(
            "spec.files: {path} takes its content from key {} of Secret {}, which has no such key",
            from.key, from.name
        )),
        Some(_) => None,
    })
}

/// What is wrong with the ranges beside what the schema checks: they meet those of the host, or the host has none left. Nothing is
/// said about the ranges of a host that cannot be asked.
async fn ranges(
    subject: &Subject,
    host: &HypervisorHost,
    plan: &ClusterPlan,
    world: &World,
) -> Result<Option<(Reason, String)>, Error> {
    let network = &subject.cluster.spec.network;
    let parsed = |text: &str| text.parse::<Ipv4Net>().ok();
    let Some(pool) = parsed(&host.spec.node_address_range) else {
        return Ok(None);
    };
    let wanted = network.node_cidr.as_deref().and_then(parsed);
    if wanted.is_none() {
        for (field, range) in [
            ("podCIDR", Some(plan.pod_cidr)),
            ("serviceCIDR", parsed(&network.service_cidr)),
        ] {
            if let Some(range) = range.filter(|r| address::overlap(r, &pool)) {
                let message = format!(
                    "spec.network.{field} {range} overlaps the host's nodeAddressRange {pool}, from which the machines' addresses are taken: choose another range, or set network.nodeCIDR"
                );
                return Ok(Some((Reason::CIDRInUse, message)));
            }
        }
    }
    let allotted = subject.stored.as_ref().map(|s| s.allocations.node_cidr);
    if allotted.is_some_and(|a| wanted.is_none_or(|w| w == a)) {
        return Ok(None);
    }
    let mut on_host = world.ranges.hold(&host.name_any()).await;
    let used = match used_ranges(subject, &mut on_host, world).await {
        Ok(used) => used,
        Err(Error::Host(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = host.name_any();
    Ok(match wanted {
        Some(wanted) => used.iter().find(|u| address::overlap(u, &wanted)).map(|used| {
            let message = format!("spec.network.nodeCIDR {wanted} overlaps {used}, which is in use on host {name}: choose another range, or leave nodeCIDR out to get a free one");
            (Reason::CIDRInUse, message)
        }),
        None if address::free_range(&pool, &used).is_none() => {
            let message = format!("no /{} of host {name}'s nodeAddressRange {pool} is free: delete clusters, or give the HypervisorHost a wider range", address::NODE_MASK);
            Some((Reason::AddressesExhausted, message))
        }
        None => None,
    })
}

/// Ranges that are in use: those of others on the cluster's host, and the cluster's own for pods and services.
pub async fn used_ranges(
    subject: &Subject,
    on_host: &mut OnHost,
    world: &World,
) -> Result<Vec<Ipv4Net>, Error> {
    let Some((host, hypervisor)) = &subject.host else {
        return Ok(Vec::new());
    };
    let own = owned::uid(&subject.cluster);
    let mut used = on_host.of_others(&own, host, hypervisor.as_ref(), world).await?;
    used.extend(subject.plan.as_ref().map(|p| p.pod_cidr));
    used.extend(subject.cluster.spec.network.service_cidr.parse::<Ipv4Net>().ok());
    Ok(used)
}

/// Looks at a cluster that should go.
pub async fn leaving(subject: &Subject, world: &World) -> Result<Leaving, Error> {
    let uid = owned::uid(&subject.cluster);
    let network = match &subject.host {
        // Nothing can be left on a host that nobody knows: its object is gone, and with it the way there.
        None => Observed::Known(false),
        Some((_, hypervisor)) => Observed::from(hypervisor.network(&subject.network()).await)
            .map(|found| found.is_some_and(|network| network.is_of(&uid))),
    };
    let own = secrets::own(&world.context.client, &subject.cluster).await?;
    let secrets = subject.stored.is_some() || !own.is_empty();
    let upgrades = versions::own(&subject.cluster, world);
    let stay = |metadata: &ObjectMeta| metadata.deletion_timestamp.is_none();
    Ok(Leaving {
        paused: subject.cluster.spec.paused,
        retain: subject.cluster.spec.deletion_policy == DeletionPolicy::Retain,
        machines_staying: subject.machines.iter().filter(|m| stay(&m.metadata)).count(),
        machines: subject.machines.len(),
        upgrades_staying: upgrades.iter().filter(|u| stay(&u.metadata)).count(),
        upgrades: upgrades.len(),
        network,
        secrets,
    })
}
