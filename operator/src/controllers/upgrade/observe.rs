//! Looks at everything that an upgrade has to do with.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{
    ClusterUpgrade, Condition, DevCluster, DevMachine, HypervisorHost, NodePool, PreflightFinding,
    UpgradeStrategy, duration,
};
use seedbed_hypervisor::Hypervisor;
use seedbed_planner::Observed;
use seedbed_planner::capacity;
use seedbed_planner::conditions::Summary;
use seedbed_planner::upgrade::preflight::{self, GuestFacts, NodeSeen, OnHost, Operation, Seen, Survey};
use seedbed_planner::upgrade::version::hop;
use seedbed_planner::upgrade::{Machines, Plan, Version, plan};

use super::{checks, guests, subject};
use crate::child::{ChildApi, ChildView};
use crate::controllers::world::World;
use crate::controllers::{access, cluster, machine, nodes, owned, releases, room};
use crate::errors::Error;

/// What there is to say of an upgrade.
pub enum Outlook {
    /// There is nothing to plan, and why.
    NotNow(Summary),
    /// What was planned and found.
    Checked(Checked),
}

/// What was planned and found.
pub struct Checked {
    /// The version that the cluster runs, if that could be seen.
    pub from: Option<Version>,
    /// The version to upgrade to.
    pub to: Version,
    /// The plan; none where there is no way from the one to the other.
    pub plan: Option<Plan>,
    /// What the preflight found.
    pub findings: Vec<PreflightFinding>,
    /// Whether the cluster runs the target already, kubelets and all: by an upgrade of which nothing is recorded any more, or by another one.
    pub runs: bool,
}

/// A cluster with all that belongs to it, as it is upgraded.
struct Subject<'a> {
    cluster: &'a DevCluster,
    control_planes: Vec<DevMachine>,
    machines: Vec<DevMachine>,
    pools: Vec<NodePool>,
}

/// Looks, plans and checks. None as long as the first look at the cluster's API is not over: there is nothing to say then.
pub async fn outlook(upgrade: &ClusterUpgrade, world: &World) -> Result<Option<Outlook>, Error> {
    let (name, version) = (&upgrade.spec.cluster_ref.name, &upgrade.spec.version);
    let not_now = |summary| Ok(Some(Outlook::NotNow(summary)));
    let Some(cluster) = world.cluster(&owned::namespace(upgrade), name) else {
        let message = format!("no DevCluster named {name} exists in this namespace");
        return not_now(Summary::Stalled(Reason::ClusterNotFound, message));
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        let message = "the cluster is being deleted".to_owned();
        return not_now(Summary::Progressing(Reason::Deleting, message));
    }
    let stored = world.allocations(&cluster).await?;
    if !cluster::is_initialized(&cluster, stored.as_ref()) {
        let message = "the cluster's control plane is not initialised yet; the upgrade is planned when it is";
        return not_now(Summary::Progressing(Reason::NotInitialized, message.to_owned()));
    }
    let Some(to) = Version::parse(version) else {
        let message = format!("spec.version: found {version}, expected a version such as v1.35.4");
        return not_now(Summary::Stalled(Reason::InvalidSpec, message));
    };
    let mut runs = false;
    let unseen = |why: &str| {
        let checks = checks::untried(&upgrade.spec.checks, upgrade.spec.dry_run, why);
        (ChildView::unknown(why), Survey::unknown(why), checks)
    };
    let (view, survey, checks) = match access::child(world, &cluster, stored.as_ref()).await {
        Ok(Some(child)) if !child.has_looked() => return Ok(None),
        Ok(Some(child)) => {
            let view = child.view();
            runs = runs_already(child.as_ref(), &view, to, &following(&cluster, world)).await;
            let spec = &upgrade.spec;
            match &view.api_version {
                Observed::Known(_) => {
                    let uid = owned::uid(upgrade);
                    let tried = checks::tried(child.as_ref(), &spec.checks, &uid, spec.dry_run).await;
                    (view, child.survey().await, tried)
                }
                // It would be waited for in vain.
                Observed::Unknown(why) => {
                    let (_, survey, checks) = unseen(why);
                    (view, survey, checks)
                }
            }
        }
        Ok(None) => unseen("the address of its API server is not known yet"),
        Err(error) => unseen(&error.to_string()),
    };
    let subject = found(&cluster, world);
    let soak = duration::parse(&upgrade.spec.soak).unwrap_or_default();
    let seen = Seen {
        checks,
        ..seen(&subject, to, soak, (view, survey), world).await
    };
    let findings = preflight::check(&seen, &upgrade.spec.skip_preflight);
    let from = seen.from.known().copied();
    Ok(Some(Outlook::Checked(Checked {
        from,
        to,
        plan: from.and_then(|from| way(&subject, from, to, world)),
        findings,
        runs,
    })))
}

/// The machines whose pools are held back, each with its pool.
pub fn held(cluster: &DevCluster, world: &World) -> BTreeMap<String, String> {
    let is_held = |pool: &NodePool| pool.spec.hold_version;
    world.machines_by_pool(cluster, is_held)
}

/// Names of the machines that are nodes and whose kubelets an upgrade replaces.
fn following(cluster: &DevCluster, world: &World) -> Vec<String> {
    let stays = |pool: &NodePool| pool.spec.hold_version || is_replaced(pool);
    let others = world.machines_by_pool(cluster, stays);
    let machines = world.machines_of_cluster(cluster);
    let nodes = machines
        .iter()
        .filter(|m| machine::is_node(m))
        .map(ResourceExt::name_any);
    nodes.filter(|name| !others.contains_key(name)).collect()
}

/// Whether the pool's machines are replaced once an upgrade is done.
fn is_replaced(pool: &NodePool) -> bool {
    pool.spec.upgrade_strategy == UpgradeStrategy::Replace
}

/// Whether the cluster runs that version and behaves like it, and so do the kubelets of these machines.
async fn runs_already(child: &dyn ChildApi, view: &ChildView, to: Version, machines: &[String]) -> bool {
    let text = to.to_string();
    if view.api_version != Observed::Known(text.clone()) || !all_kubelets_are(&text, view, machines) {
        return false;
    }
    child.serving().await.is_ok_and(|serving| serving.is_wholly(to))
}

fn all_kubelets_are(version: &str, view: &ChildView, machines: &[String]) -> bool {
    let Observed::Known(nodes) = &view.nodes else {
        return false;
    };
    let runs = |machine: &String| {
        let found = nodes.iter().find(|node| node.name_any() == *machine);
        found.is_some_and(|found| nodes::kubelet(found) == version)
    };
    !machines.is_empty() && machines.iter().all(runs)
}

fn found<'a>(cluster: &'a DevCluster, world: &World) -> Subject<'a> {
    let mut machines = world.machines_of_cluster(cluster);
    machines.sort_by_key(ResourceExt::name_any);
    let mut pools = world.pools_of_cluster(cluster);
    pools.sort_by_key(ResourceExt::name_any);
    Subject {
        cluster,
        control_planes: subject::control_planes(cluster, &machines),
        machines,
        pools,
    }
}

/// The plan of an upgrade of that cluster; none where there is no way from the one version to the other.
pub fn planned(cluster: &DevCluster, from: Version, to: Version, world: &World) -> Option<Plan> {
    way(&found(cluster, world), from, to, world)
}

fn way(subject: &Subject<'_>, from: Version, to: Version, world: &World) -> Option<Plan> {
    let hop = hop(from, to).ok()?;
    Some(plan(hop, from, to, &upgraded(subject, from, to, world)))
}

fn upgraded(subject: &Subject<'_>, from: Version, to: Version, world: &World) -> Machines {
    let etcd = |version: Version| Some(world.release(&version.to_string())?.spec.components.etcd);
    let pools = |which: &dyn Fn(&NodePool) -> bool| -> Vec<String> {
        let pools = subject.pools.iter().filter(|pool| which(pool));
        pools.map(ResourceExt::name_any).collect()
    };
    Machines {
        cluster: owned::name(subject.cluster),
        control_planes: subject.control_planes.iter().map(ResourceExt::name_any).collect(),
        pools: pools(&|_| true),
        held: pools(&|pool| pool.spec.hold_version),
        replaced: pools(&|pool| is_replaced(pool) && !pool.spec.hold_version),
        etcd: etcd(from).zip(etcd(to)),
    }
}

async fn seen(
    subject: &Subject<'_>,
    to: Version,
    soak: Duration,
    (view, survey): (ChildView, Survey),
    world: &World,
) -> Seen {
    let cluster = subject.cluster;
    let OnHostSeen {
        release,
        upgrade_disk,
        capacity,
        guests,
    } = on_host(subject, to, world).await;
    Seen {
        cluster: owned::name(cluster),
        host: cluster.spec.host_ref.name.clone(),
        from: match view.api_version {
            Observed::Known(text) => match Version::parse(&text) {
                Some(version) => Observed::Known(version),
                None => Observed::Unknown(format!("it says that it runs {text}, which is no version")),
            },
            Observed::Unknown(why) => Observed::Unknown(why),
        },
        to,
        paused: cluster.spec.paused,
        ready: ready(cluster),
        operations: operations(subject),
        release,
        capacity,
        checks: Vec::new(),
        control_planes: subject.control_planes.iter().map(ResourceExt::name_any).collect(),
        machines: subject.machines.iter().map(ResourceExt::name_any).collect(),
        nodes: view.nodes.map(|nodes| {
            let held = held(cluster, world);
            let with_pool = |seen: NodeSeen| NodeSeen {
                held_by: held.get(&seen.name).cloned(),
                ..seen
            };
            nodes.iter().map(|seen| with_pool(node(seen))).collect()
        }),
        survey,
        guests,
        upgrade_disk,
        soak,
        now: world.context.clock.now(),
    }
}

/// What is seen by way of the cluster's host.
struct OnHostSeen {
    release: Observed<OnHost>,
    upgrade_disk: Option<u64>,
    capacity: Observed<Result<(), String>>,
    guests: Vec<(String, Observed<GuestFacts>)>,
}

async fn on_host(subject: &Subject<'_>, to: Version, world: &World) -> OnHostSeen {
    let name = &subject.cluster.spec.host_ref.name;
    let (cluster, machines) = (subject.cluster, &subject.machines);
    let Some(host) = world.host(name) else {
        let why = format!("there is no HypervisorHost named {name}");
        return OnHostSeen {
            release: Observed::Unknown(why.clone()),
            upgrade_disk: None,
            capacity: Observed::Unknown(why.clone()),
            guests: guests::ask(cluster, machines, Observed::Unknown(why), world).await,
        };
    };
    let hypervisor = world.context.hosts.hypervisor(&host);
    let (release, upgrade_disk) = release(to, &host, hypervisor.as_ref(), world).await;
    OnHostSeen {
        release,
        upgrade_disk,
        capacity: room_on(subject, &host, hypervisor.as_ref(), world).await,
        guests: guests::ask(cluster, machines, Observed::Known(hypervisor), world).await,
    }
}

/// Whether the target's release is on the cluster's host, and the size of its upgrade disk there.
async fn release(
    to: Version,
    host: &HypervisorHost,
    hypervisor: &dyn Hypervisor,
    world: &World,
) -> (Observed<OnHost>, Option<u64>) {
    let Some(release) = world.release(&to.to_string()) else {
        return (Observed::Known(OnHost::NotFound(world.versions())), None);
    };
    match releases::on_host_for_upgrade(&release, host, hypervisor).await {
        Observed::Known(Ok(())) => {}
        Observed::Known(Err(why)) => return (Observed::Known(OnHost::Incomplete(why)), None),
        Observed::Unknown(why) => return (Observed::Unknown(why), None),
    }
    let Some(volume) = releases::upgrade_volume(&release) else {
        return (Observed::Known(OnHost::Present), None);
    };
    match hypervisor.volume(&volume).await {
        Ok(found) => (
            Observed::Known(OnHost::Present),
            found.map(|volume| volume.capacity_bytes),
        ),
        Err(fault) => (Observed::Unknown(fault.to_string()), None),
    }
}

async fn room_on(
    subject: &Subject<'_>,
    host: &HypervisorHost,
    hypervisor: &dyn Hypervisor,
    world: &World,
) -> Observed<Result<(), String>> {
    let name = owned::name(host);
    let promised: Vec<_> = world
        .machines_on_host(&name)
        .map(|m| room::demand(&m.spec.machine))
        .collect();
    let disks = subject.control_planes.iter();
    let snapshots = disks.map(|m| room::demand(&m.spec.machine).disk_bytes).sum();
    Observed::from(hypervisor.host().await).map(|facts| {
        let limits = room::limits(&facts, &host.spec);
        capacity::admit_snapshots(&name, &limits, &promised, snapshots)
    })
}

/// Whether the cluster is Ready, as far as its status speaks of its present spec. That it is paused is told elsewhere.
fn ready(cluster: &DevCluster) -> Observed<Result<(), String>> {
    let status = cluster.status.clone().unwrap_or_default();
    let ready = of_type(&status.conditions, condition::READY);
    let Some(ready) = ready.filter(|_| status.observed_generation == cluster.metadata.generation) else {
        return Observed::Unknown("the operator has not looked at the present spec yet".to_owned());
    };
    match ready.status.as_str() {
        "True" => Observed::Known(Ok(())),
        "False" if ready.reason == Reason::Paused.as_str() => Observed::Known(Ok(())),
        "False" => Observed::Known(Err(format!("{}: {}", ready.reason, ready.message))),
        _ => Observed::Unknown(format!("{}: {}", ready.reason, ready.message)),
    }
}

/// What is under way in the cluster, by what its pools and machines say.
fn operations(subject: &Subject<'_>) -> Vec<Operation> {
    let of_pool = |pool: &NodePool| {
        let name = pool.name_any();
        let is_of_it = |m: &&DevMachine| m.spec.pool_ref.as_ref().is_some_and(|of| of.name == name);
        subject.machines.iter().filter(is_of_it).count()
    };
    let pools = subject.pools.iter().filter_map(|pool| {
        Some(Operation {
            object: format!("NodePool {}", pool.name_any()),
            what: done_to_pool(pool, of_pool(pool))?,
        })
    });
    let machines = subject.machines.iter().filter_map(|machine| {
        Some(Operation {
            object: format!("DevMachine {}", machine.name_any()),
            what: done_to_machine(machine)?,
        })
    });
    pools.chain(machines).collect()
}

/// `present` is how many machines it is known to have. One that was made a moment ago may not be among them, nor does the pool say yet
/// that it made one.
fn done_to_pool(pool: &NodePool, present: usize) -> Option<String> {
    if pool.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    let Some(status) = pool
        .status
        .as_ref()
        .filter(|s| s.observed_generation == pool.metadata.generation)
    else {
        return Some("the operator has not looked at its present spec yet".to_owned());
    };
    let wanted = pool.spec.replicas;
    if usize::try_from(wanted) != Ok(present) {
        return Some(format!("it has {present} machines, and is to have {wanted}"));
    }
    let changing = [Reason::RollingOut, Reason::Scaling].map(Reason::as_str);
    let progressing = of_type(&status.conditions, condition::PROGRESSING)?;
    (progressing.status == "True" && changing.contains(&progressing.reason.as_str()))
        .then(|| progressing.message.clone())
}

fn done_to_machine(machine: &DevMachine) -> Option<String> {
    if machine.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    (!machine::is_bootstrapped(machine)).then(|| "it is being made".to_owned())
}

/// The condition of that type.
pub fn of_type<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// What a preflight asks of a node.
pub fn node(node: &Node) -> NodeSeen {
    let status = node.status.clone().unwrap_or_default();
    let pressures = status.conditions.iter().flatten();
    let pressures = pressures.filter(|c| c.type_.ends_with("Pressure") && c.status == "True");
    NodeSeen {
        name: node.name_any(),
        ready: if nodes::is_ready(node) {
            Ok(())
        } else {
            Err(nodes::not_ready_message(node))
        },
        kubelet: nodes::kubelet(node).to_owned(),
        held_by: None,
        pressures: pressures
            .map(|c| (c.type_.clone(), c.message.clone().unwrap_or_default()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pool of three that says it has come to rest.
    fn at_rest() -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "NodePool",
            "metadata": {"name": "w", "generation": 1},
            "spec": {
                "clusterRef": {"name": "demo"},
                "replicas": 3,
                "machine": {"cpus": 1, "memory": "2Gi", "disk": "20Gi"},
            },
            "status": {"observedGeneration": 1},
        }))
        .unwrap()
    }

    /// Found by seed 104001061: what the pool says of itself was older than the loss of one of its machines, and the one in its place was
    /// not known yet. That joined when the upgrade had prepared the others, and could not follow.
    #[test]
    fn a_pool_with_another_number_of_machines_is_changing_whatever_it_says() {
        assert_eq!(done_to_pool(&at_rest(), 3), None);
        for (present, told) in [
            (2, "it has 2 machines, and is to have 3"),
            (4, "it has 4 machines, and is to have 3"),
        ] {
            assert_eq!(done_to_pool(&at_rest(), present).as_deref(), Some(told));
        }
    }
}
