//! `NodePool`: as many workers as are asked for, of the present template.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{ObjectMeta, PostParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{
    DevCluster, DevMachine, DevMachineSpec, LocalReference, MachineRole, NodePool, NodePoolStatus,
};
use seedbed_planner::conditions::{self, Finding, Summary};
use seedbed_planner::pool::{self, Effect, Going, PoolMachine, PoolPlan, Rollout};
use seedbed_planner::upgrade::running;
use seedbed_planner::{names, template};

use super::current::{current, let_go};
use super::skewed::skewed;
use super::workers::Workers;
use super::world::World;
use super::{finalizer, machine, owned, profile, transitions, upgrade};
use crate::context::jittered;
use crate::effect;
use crate::errors::Error;
use crate::render::ClusterPlan;
use crate::status::{describe, write_status};

/// How soon to look again at machines that go.
const SOON: Duration = Duration::from_secs(1);
/// How soon to look again where nothing is expected.
const LATER: Duration = Duration::from_mins(5);

/// One pass over a pool.
pub async fn reconcile(cached: &NodePool, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let namespace = owned::namespace(cached);
    let api = Api::<NodePool>::namespaced(context.client.clone(), &namespace);
    let Some(pool) = current(world, &api, cached).await? else {
        return Ok(Action::await_change());
    };
    if pool.metadata.deletion_timestamp.is_some() {
        return leave(&pool, world).await;
    }
    if !finalizer::is_set(&pool) {
        let work = finalizer::add(&context.client, &pool);
        effect::carry_out(describe(&pool), Effect::AddFinalizer, work).await?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    let cluster = world.cluster(&namespace, &pool.spec.cluster_ref.name);
    let mut machines = world.machines_of_pool(&pool);
    let skewed = match &cluster {
        Some(cluster) => skewed(&pool, cluster, &machines, world).await?,
        None => BTreeSet::new(),
    };
    let mut decided = decide(&pool, cluster.as_ref(), &machines, &skewed, world);
    let known = cluster
        .as_ref()
        .and_then(|cluster| cluster.metadata.uid.as_deref());
    let has_strays = strays(known, &machines).next().is_some();
    if has_strays || decided.as_ref().is_ok_and(PoolPlan::changes_something) {
        machines = present_machines(&pool, world).await?;
        if remove_strays(&pool, cluster.as_ref(), &machines, world).await? {
            return Ok(Action::requeue(SOON));
        }
        decided = decide(&pool, cluster.as_ref(), &machines, &skewed, world);
    }
    let (plan, problem) = match decided {
        Ok(plan) => (plan, None),
        Err(summary) => (PoolPlan::default(), Some(summary)),
    };
    if let Some(cluster) = &cluster {
        carry_out(&plan, &pool, cluster, &machines, world).await?;
    }
    let status = status(
        &pool,
        cluster.as_ref(),
        (&machines, &skewed),
        &plan,
        problem,
        cluster.as_ref().map(|cluster| {
            running::told(kubelets(&machines)).unwrap_or_else(|| version(&pool, cluster, &machines, world))
        }),
        context.clock.now(),
    );
    let later = transitions::save_paced(world, &api, &pool, status).await?;
    let next = jittered(&*context.random, LATER);
    Ok(Action::requeue(later.map_or(next, |later| later.min(next))))
}

/// The pool's machines, as the API server has them now, for what makes or removes some: that depends on their number, and a cache that
/// lags would make or remove one too many.
async fn present_machines(pool: &NodePool, world: &World) -> Result<Vec<DevMachine>, Error> {
    let selector = kube::api::ListParams::default().labels(&selector(pool));
    let api = Api::<DevMachine>::namespaced(world.context.client.clone(), &owned::namespace(pool));
    let uid = owned::uid(pool);
    let list = api
        .list(&selector)
        .await
        .map_err(|e| Error::api(format!("{}: list machines", describe(pool)), e))?;
    Ok(list
        .items
        .into_iter()
        .filter(|m| owned::owner_uid(m, "NodePool") == Some(&uid))
        .collect())
}

/// Deletes workers that were made for a cluster that is gone: the request that made them was carried out too late, or somebody took the
/// cluster's finalizer off. Whether there were any.
async fn remove_strays(
    pool: &NodePool,
    cluster: Option<&DevCluster>,
    machines: &[DevMachine],
    world: &World,
) -> Result<bool, Error> {
    let known = cluster.and_then(|cluster| cluster.metadata.uid.as_deref());
    if strays(known, machines).next().is_none() {
        return Ok(false);
    }
    let found = world
        .present_cluster(&owned::namespace(pool), &pool.spec.cluster_ref.name)
        .await?;
    let present = found.and_then(|found| found.uid);
    let mut any = false;
    for machine in strays(present.as_deref(), machines).filter(|m| !is_of(m, known)) {
        let work = machine::delete(&world.context.client, machine);
        effect::carry_out(describe(machine), Effect::DeleteMachine, work).await?;
        any = true;
    }
    Ok(any)
}

/// Machines that stay and are not of the cluster with that UID.
fn strays<'a>(uid: Option<&'a str>, machines: &'a [DevMachine]) -> impl Iterator<Item = &'a DevMachine> {
    let stays = |m: &&DevMachine| m.metadata.deletion_timestamp.is_none();
    machines.iter().filter(stays).filter(move |m| !is_of(m, uid))
}

fn is_of(machine: &DevMachine, uid: Option<&str>) -> bool {
    uid.is_some() && owned::owner_uid(machine, "DevCluster") == uid
}

fn selector(pool: &NodePool) -> String {
    format!("{}={}", names::POOL_LABEL, owned::name(pool))
}

/// What is done, or why nothing is.
fn decide(
    pool: &NodePool,
    cluster: Option<&DevCluster>,
    machines: &[DevMachine],
    skewed: &BTreeSet<String>,
    world: &World,
) -> Result<PoolPlan, Summary> {
    let stalled = |reason, message: String| Err(Summary::Stalled(reason, message));
    let Some(cluster) = cluster else {
        let message = format!(
            "no DevCluster named {} exists in this namespace",
            pool.spec.cluster_ref.name
        );
        return stalled(Reason::ClusterNotFound, message);
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Err(Summary::Progressing(
            Reason::Deleting,
            "the cluster is being deleted".to_owned(),
        ));
    }
    if cluster.spec.paused {
        return Err(Summary::Degraded(
            Reason::Paused,
            "spec.paused of the DevCluster is true".to_owned(),
        ));
    }
    if owned::name(pool) == names::control_plane_prefix(&owned::name(cluster)) {
        let message = format!(
            "a NodePool cannot be named {}: its machines would have the names of the cluster's control planes; create it under another name",
            owned::name(pool)
        );
        return stalled(Reason::NameConflict, message);
    }
    let Some(host) = world.host(&cluster.spec.host_ref.name) else {
        let message = format!(
            "the DevCluster's HypervisorHost {} does not exist",
            cluster.spec.host_ref.name
        );
        return Err(Summary::Progressing(Reason::HostNotFound, message));
    };
    let checked =
        ClusterPlan::new(cluster, profile::of(cluster, &host)).and_then(|plan| plan.check_pool(pool));
    if let Err(error) = checked {
        return stalled(Reason::InvalidPatch, error.to_string());
    }
    let told = cluster.status.iter().flat_map(|s| &s.conditions);
    if let Some(invalid) = told
        .into_iter()
        .find(|c| c.type_ == condition::SPEC_VALID && c.status == "False")
    {
        let message = format!("the DevCluster's spec cannot be carried out: {}", invalid.message);
        return Err(Summary::Progressing(Reason::InvalidSpec, message));
    }
    let replicas = u32::try_from(pool.spec.replicas).unwrap_or(0);
    let strategy = &pool.spec.strategy;
    let rollout = Rollout::resolve(&strategy.max_surge, &strategy.max_unavailable, replicas);
    let under_way = world.upgrade_under_way(cluster);
    let (name, now) = (owned::name(pool), world.context.clock.elapsed());
    let seen: Vec<PoolMachine> = machines
        .iter()
        .map(|m| PoolMachine {
            name: m.name_any(),
            index: names::index_of(&m.name_any(), &name),
            // Nothing is replaced while an upgrade is under way.
            up_to_date: under_way.is_some() || is_up_to_date(m, pool, cluster, skewed),
            ready: machine::is_ready(m),
            going: if m.metadata.deletion_timestamp.is_some() {
                Going::Yes
            } else if world.may_go.get(&owned::uid(m), now).is_some() {
                Going::InDoubt
            } else {
                Going::No
            },
        })
        .collect();
    let mut plan = pool::plan(replicas, rollout, &seen);
    if let Some(upgrade) = under_way {
        if !plan.create.is_empty() {
            plan.waits_for = Some(upgrade.name_any());
        }
        // A new machine would have none of what the upgrade has put on the others already.
        plan.create.clear();
    }
    Ok(plan)
}

/// Whether the machine is of the present template, which leaves its version out: upgrades change that in place. One that no upgrade brings
/// to its control plane's version is among `skewed`; one that never was a node says itself that new ones are of another version.
fn is_up_to_date(
    machine: &DevMachine,
    pool: &NodePool,
    cluster: &DevCluster,
    skewed: &BTreeSet<String>,
) -> bool {
    let hash = template::worker_hash(&cluster.spec, &pool.spec, &machine.spec.version);
    machine.spec.template_hash == hash
        && !machine::is_superseded(machine)
        && !skewed.contains(&owned::uid(machine))
}

/// The version of the pool's new machines.
pub fn version(pool: &NodePool, cluster: &DevCluster, present: &[DevMachine], world: &World) -> String {
    let machines = world.machines_of_cluster(cluster);
    let control_plane = machine::control_plane(&machines).and_then(kubelet);
    if pool.spec.hold_version
        && let Some(held) = running::of_held_pool(control_plane, kubelets(present))
    {
        return held;
    }
    running::of_new_workers(&cluster.spec.version, control_plane)
}

/// Versions of the machines' kubelets, as far as they are nodes.
fn kubelets(machines: &[DevMachine]) -> impl Iterator<Item = &str> {
    machines.iter().filter_map(kubelet)
}

/// The version of the machine's kubelet, as far as it is a node.
pub fn kubelet(machine: &DevMachine) -> Option<&str> {
    let node = machine.status.as_ref()?.node.as_ref()?;
    node.kubelet_version.as_deref()
}

async fn carry_out(
    plan: &PoolPlan,
    pool: &NodePool,
    cluster: &DevCluster,
    machines: &[DevMachine],
    world: &World,
) -> Result<(), Error> {
    let api = Api::<DevMachine>::namespaced(world.context.client.clone(), &owned::namespace(pool));
    if !plan.create.is_empty() {
        stays(cluster, world).await?;
        // The cache may not know that one is under way: one whose status was lost a moment ago, for example.
        if upgrade::has_turn(&world.context.client, cluster).await? {
            let object = describe(cluster);
            return Err(Error::Conflict { object });
        }
    }
    let version = version(pool, cluster, machines, world);
    for index in &plan.create {
        let machine = worker(pool, cluster, *index, &version);
        let name = machine.name_any();
        // One of that name may be there already: made by this pool before the list was read, or somebody else's. Look again.
        let work = async {
            let created = api.create(&PostParams::default(), &machine).await;
            created.map_err(|error| Error::api(format!("DevMachine {name}: create"), error))
        };
        effect::carry_out(describe(&machine), Effect::CreateMachine, work).await?;
    }
    for machine in machines.iter().filter(|m| plan.delete.contains(&m.name_any())) {
        let uid = owned::uid(machine);
        world.may_go.put(&uid, (), world.context.clock.elapsed());
        let work = machine::delete(&world.context.client, machine);
        effect::carry_out(describe(machine), Effect::DeleteMachine, work).await?;
        world.may_go.forget(&uid);
    }
    Ok(())
}

/// Whether the cluster stays, as the API server has it now: one that goes deletes its machines, and a cache that lags would have them made
/// again and again.
async fn stays(cluster: &DevCluster, world: &World) -> Result<(), Error> {
    let found = world
        .present_cluster(&owned::namespace(cluster), &cluster.name_any())
        .await?;
    let stays = found.is_some_and(|found| found.uid == cluster.uid() && found.deletion_timestamp.is_none());
    if stays {
        return Ok(());
    }
    let object = describe(cluster);
    Err(Error::Conflict { object })
}

/// The object of a worker.
fn worker(pool: &NodePool, cluster: &DevCluster, index: u32, version: &str) -> DevMachine {
    let mut labels = owned::labels(&owned::name(cluster));
    labels.insert(names::POOL_LABEL.to_owned(), owned::name(pool));
    labels.insert(
        names::ROLE_LABEL.to_owned(),
        names::role_label(MachineRole::Worker).to_owned(),
    );
    let spec = DevMachineSpec {
        cluster_ref: LocalReference {
            name: owned::name(cluster),
        },
        pool_ref: Some(LocalReference {
            name: owned::name(pool),
        }),
        host_ref: cluster.spec.host_ref.clone(),
        role: MachineRole::Worker,
        version: version.to_owned(),
        machine: pool.spec.machine.clone(),
        template_hash: template::worker_hash(&cluster.spec, &pool.spec, version),
    };
    let mut machine = DevMachine::new(&names::worker(&owned::name(pool), index), spec);
    machine.metadata = ObjectMeta {
        namespace: pool.metadata.namespace.clone(),
        labels: Some(labels),
        finalizers: Some(vec![names::FINALIZER.to_owned()]),
        owner_references: Some(
            owned::owner_reference(pool)
                .into_iter()
                .chain(owned::reference(cluster))
                .collect(),
        ),
        ..machine.metadata
    };
    machine
}

/// A pool that goes takes its machines with it.
async fn leave(pool: &NodePool, world: &World) -> Result<Action, Error> {
    if !finalizer::is_set(pool) {
        return Ok(Action::await_change());
    }
    let context = &world.context;
    let machines = present_machines(pool, world).await?;
    for machine in machines
        .iter()
        .filter(|m| m.metadata.deletion_timestamp.is_none())
    {
        let work = machine::delete(&context.client, machine);
        effect::carry_out(describe(machine), Effect::DeleteMachine, work).await?;
    }
    if machines.is_empty() {
        let work = let_go(world, pool);
        effect::carry_out(describe(pool), Effect::RemoveFinalizer, work).await?;
        return Ok(Action::await_change());
    }
    let pools = Api::<NodePool>::namespaced(context.client.clone(), &owned::namespace(pool));
    let message = format!("{} machines are still there", machines.len());
    let summary = Some(Summary::Progressing(Reason::Deleting, message));
    let status = status(
        pool,
        None,
        (&machines, &BTreeSet::new()),
        &PoolPlan::default(),
        summary,
        None,
        context.clock.now(),
    );
    write_status(&pools, pool, status).await?;
    Ok(Action::requeue(LATER))
}

fn status(
    pool: &NodePool,
    cluster: Option<&DevCluster>,
    (machines, skewed): (&[DevMachine], &BTreeSet<String>),
    plan: &PoolPlan,
    problem: Option<Summary>,
    version: Option<String>,
    now: jiff::Timestamp,
) -> NodePoolStatus {
    let old = pool.status.clone().unwrap_or_default();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let workers = Workers::of(machines);
    let current = count(
        machines
            .iter()
            .filter(|m| cluster.is_some_and(|cluster| is_up_to_date(m, pool, cluster, skewed)))
            .count(),
    );
    let summary = problem.unwrap_or_else(|| summary(pool.spec.replicas, &workers, current, plan));
    let mut findings = summary.findings();
    let total = workers.total;
    let up_to_date = cluster.is_some() && current == total;
    findings.push(if up_to_date {
        Finding::new(
            condition::UP_TO_DATE,
            true,
            Reason::AsAsked,
            "all machines are of the present template",
        )
    } else {
        let message = format!("{current} of {total} machines are of the present template");
        Finding::new(condition::UP_TO_DATE, false, Reason::RollingOut, message)
    });
    let generation = pool.metadata.generation;
    NodePoolStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, findings, generation, now),
        phase: Some(summary.phase().to_owned()),
        replicas: total,
        ready_replicas: workers.ready,
        up_to_date_replicas: current,
        selector: Some(selector(pool)),
        // One that goes keeps what it had; one without a cluster has none.
        version: match cluster {
            Some(_) => version,
            None => old.version.filter(|_| pool.metadata.deletion_timestamp.is_some()),
        },
    }
}

fn summary(wanted: i32, workers: &Workers, current: i32, plan: &PoolPlan) -> Summary {
    let (total, ready) = (workers.total, workers.ready);
    if let Some(upgrade) = &plan.waits_for {
        let message = format!(
            "{total} machines, {wanted} are wanted: they are made when ClusterUpgrade {upgrade} has come to its end"
        );
        return Summary::Progressing(Reason::UpgradeInProgress, message);
    }
    if current < total {
        let message = format!(
            "{current} of {total} machines are of the present template, {ready} are Ready, {wanted} are wanted"
        );
        return Summary::Progressing(Reason::RollingOut, message);
    }
    if total != wanted || plan.changes_something() {
        return Summary::Progressing(Reason::Scaling, format!("{total} machines, {wanted} are wanted"));
    }
    match workers.unknown(wanted) {
        _ if ready >= wanted => Summary::Ready,
        Some(reason) => Summary::Unknown(reason, workers.told(wanted)),
        None => Summary::Progressing(Reason::WorkersNotReady, workers.told(wanted)),
    }
}
