//! `DevMachine`: one virtual machine, from nothing to a Ready node, and back.

mod apply;
mod join;
mod observe;
mod status;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{BootstrapPhase, BootstrapStatus, DevCluster, DevMachine, MachineRole};
use seedbed_guest::Guest;
use seedbed_hypervisor::{Hypervisor, Owner};
use seedbed_planner::effect::Effect as _;
use seedbed_planner::machine::{self, Decision, Urgency, Wait};
use seedbed_planner::{names, pool};

use super::access;
use super::current::{current, let_go};
use super::failure::Failure;
use super::world::World;
use super::{cluster, finalizer, owned, profile, transitions};
use crate::context::{Context, jittered};
use crate::errors::Error;
use crate::events::EventType;
use crate::render::ClusterPlan;
use crate::status::describe;
use crate::{deletion, effect};
use observe::Subject;

/// How soon to look again at a guest that is at work.
const SOON: Duration = Duration::from_secs(1);
/// How soon to look again where nothing is expected: what the watches and the looks at the hosts missed is found then.
const LATER: Duration = Duration::from_mins(5);
/// How soon to look again where something outside is in the way.
const BLOCKED: Duration = Duration::from_secs(10);

/// One pass over a machine: look, decide, do at most one thing, say what is so.
pub async fn reconcile(cached: &DevMachine, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let namespace = owned::namespace(cached);
    let api = Api::<DevMachine>::namespaced(context.client.clone(), &namespace);
    let Some(machine) = current(world, &api, cached).await? else {
        return Ok(Action::await_change());
    };
    let leaving = machine.metadata.deletion_timestamp.is_some();
    if leaving && !finalizer::is_set(&machine) {
        return Ok(Action::await_change());
    }
    let now = context.clock.now();
    if leaving && cluster_is_gone(&machine, world).await? {
        // What is left of it on its host, if anything, has lost its owner, as the host's status tells.
        let work = let_go(world, &machine);
        effect::carry_out(describe(&machine), machine::Effect::RemoveFinalizer, work).await?;
        return Ok(Action::await_change());
    }
    if !leaving && pool_is_gone(&machine, world).await? {
        let work = delete(&context.client, &machine);
        effect::carry_out(describe(&machine), pool::Effect::DeleteMachine, work).await?;
        let pool = machine.spec.pool_ref.as_ref().map_or("", |pool| &pool.name);
        let told = format!("NodePool {pool}, which it was a worker of, is gone");
        context
            .events
            .publish(&machine, EventType::Normal, "PoolGone", "Delete", &told)
            .await;
        return Ok(Action::requeue(SOON));
    }
    let Some(subject) = subject(machine, world).await? else {
        // Its cluster or host is not in the caches (yet). Nothing is concluded from that; the watches bring it.
        return Ok(Action::requeue(BLOCKED));
    };
    if is_first_look_awaited(&subject) {
        // Its end is told.
        return Ok(Action::requeue(SOON));
    }
    let (decided, facts) = if leaving {
        let (seen, facts) = observe::leaving(&subject, now).await;
        (machine::leave(&seen), facts)
    } else {
        let (seen, facts) = observe::present(&subject, world, now).await;
        (machine::advance(&seen), facts)
    };
    let (decision, outcome, error) = carry_out(decided, &subject, &facts, world).await;
    if outcome.gone {
        return Ok(Action::await_change());
    }
    let status = status::build(&subject, &facts, &decision, outcome, now);
    let later = transitions::save_paced(world, &api, &subject.machine, status).await?;
    if let Some(error) = error {
        return Err(error);
    }
    let next = next(&decision, context);
    Ok(Action::requeue(later.map_or(next, |later| later.min(next))))
}

/// Whether the machine's cluster, which goes only after its machines, is gone all the same: somebody took its finalizer off, or the request
/// that made the machine was carried out too late.
async fn cluster_is_gone(machine: &DevMachine, world: &World) -> Result<bool, Error> {
    let (namespace, name) = (owned::namespace(machine), &machine.spec.cluster_ref.name);
    let owner = owned::owner_uid(machine, "DevCluster");
    if owner.is_some() && world.cluster_uid(&namespace, name).as_deref() == owner {
        return Ok(false);
    }
    let found = world.present_cluster(&namespace, name).await?;
    Ok(found.is_none_or(|found| found.uid.as_deref() != owner))
}

/// Whether the pool of a worker, which goes only after its machines, is gone all the same. The garbage collector leaves such a worker alone
/// as long as its cluster is there, and may have taken the reference to the pool off.
/// See <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>.
async fn pool_is_gone(machine: &DevMachine, world: &World) -> Result<bool, Error> {
    let Some(pool) = &machine.spec.pool_ref else {
        return Ok(false);
    };
    let (namespace, owner) = (owned::namespace(machine), owned::owner_uid(machine, "NodePool"));
    let is_it = |uid: Option<String>| uid.is_some_and(|uid| owner.is_none_or(|owner| owner == uid));
    if is_it(world.pool_uid(&namespace, &pool.name)) {
        return Ok(false);
    }
    let found = world.present_pool(&namespace, &pool.name).await?;
    Ok(!is_it(found.and_then(|found| found.uid)))
}

/// The control plane among a cluster's machines.
pub fn control_plane(machines: &[DevMachine]) -> Option<&DevMachine> {
    machines.iter().find(|m| m.spec.role == MachineRole::ControlPlane)
}

/// How far kubeadm is on the machine, as far as it was begun.
fn bootstrap(machine: &DevMachine) -> Option<&BootstrapStatus> {
    machine.status.as_ref()?.bootstrap.as_ref()
}

/// Whether kubeadm did its work on the machine.
pub fn is_bootstrapped(machine: &DevMachine) -> bool {
    bootstrap(machine).is_some_and(|bootstrap| bootstrap.phase == BootstrapPhase::Succeeded)
}

/// Whether it is a node, and stays one.
pub fn is_node(machine: &DevMachine) -> bool {
    machine.metadata.deletion_timestamp.is_none() && is_bootstrapped(machine)
}

/// Whether it is no node yet, and may become one: it neither gave up, nor waits to be replaced.
pub fn may_join(machine: &DevMachine) -> bool {
    let has_come_to_its_end = bootstrap(machine).is_some_and(|bootstrap| match bootstrap.phase {
        BootstrapPhase::Started => false,
        BootstrapPhase::Failed => bootstrap.attempt >= machine::MAX_ATTEMPTS,
        BootstrapPhase::Succeeded => true,
    });
    machine.metadata.deletion_timestamp.is_none() && !has_come_to_its_end && !is_superseded(machine)
}

/// Whether it says that it is of another version than new workers of its pool, and waits to be replaced.
pub fn is_superseded(machine: &DevMachine) -> bool {
    let conditions = machine.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|c| c.type_ == condition::PROGRESSING && c.status == "True")
        .any(|c| c.reason == Reason::RollingOut.as_str())
}

/// Whether nobody has looked yet at the API of a cluster that should answer, as after a start of the operator: a node that is well would
/// be told as unknown for a moment.
fn is_first_look_awaited(subject: &Subject) -> bool {
    let cluster = &subject.cluster;
    let initialized = cluster::is_initialized(cluster, subject.stored.as_ref())
        || subject.machine.spec.role == MachineRole::ControlPlane && is_bootstrapped(&subject.machine);
    let should_answer = cluster.metadata.deletion_timestamp.is_none() && initialized;
    should_answer && subject.child.as_ref().is_some_and(|child| !child.has_looked())
}

/// Does what was decided. A step that failed becomes what is waited for, so that the status says it.
async fn carry_out(
    decision: Decision,
    subject: &Subject,
    facts: &observe::Facts,
    world: &World,
) -> (Decision, apply::Outcome, Option<Error>) {
    let Decision::Do(effect) = decision else {
        return (decision, apply::Outcome::default(), None);
    };
    let work = apply::apply(effect, subject, facts, world);
    match effect::carry_out(describe(&subject.machine), effect, work).await {
        Ok(outcome) => (decision, outcome, None),
        Err(error) => {
            transitions::failed(&world.context, &subject.machine, effect.describe(), &error).await;
            let told = Failure::of(effect.describe(), &error).map_or(decision, |failure| {
                Decision::Wait(Wait {
                    reason: failure.reason,
                    message: failure.message,
                    urgency: Urgency::Later,
                    stalled: failure.stalled,
                    unknown: failure.unknown,
                })
            });
            (told, apply::Outcome::default(), Some(error))
        }
    }
}

fn next(decision: &Decision, context: &Context) -> Duration {
    match decision {
        Decision::Do(effect) if effect.takes_time() => SOON,
        Decision::Do(_) => Duration::ZERO,
        Decision::Wait(wait) if wait.urgency == Urgency::Soon => SOON,
        Decision::Wait(wait) if matches!(wait.reason, Reason::NodeNotReady | Reason::Paused) => LATER,
        Decision::Wait(_) => jittered(&*context.random, BLOCKED),
        Decision::Settled => jittered(&*context.random, LATER),
    }
}

/// Everything that the machine refers to; none where its cluster or host cannot be found.
async fn subject(machine: DevMachine, world: &World) -> Result<Option<Subject>, Error> {
    let context = &world.context;
    let namespace = owned::namespace(&machine);
    let Some(cluster) = world.cluster(&namespace, &machine.spec.cluster_ref.name) else {
        return Ok(None);
    };
    if owned::owner_uid(&machine, "DevCluster") != cluster.uid().as_deref() {
        return Ok(None);
    }
    let Some(host) = world.host(&machine.spec.host_ref.name) else {
        return Ok(None);
    };
    let pool = machine
        .spec
        .pool_ref
        .as_ref()
        .and_then(|p| world.pool(&namespace, &p.name));
    let hypervisor = context.hosts.hypervisor(&host);
    let stored = world.allocations(&cluster).await?;
    let plan =
        ClusterPlan::new(&cluster, profile::of(&cluster, &host)).map_err(|e| Error::step("render", e))?;
    let child = access::child(world, &cluster, stored.as_ref()).await?;
    let (_, owner, guest) = guest(&machine, &cluster, hypervisor.clone(), context);
    let release = world.release(&machine.spec.version);
    Ok(Some(Subject {
        machine,
        cluster,
        pool,
        host,
        hypervisor,
        release,
        stored,
        plan,
        child,
        guest,
        owner,
    }))
}

/// The machine's domain, whose it has to be, and the guest in it.
pub fn guest(
    machine: &DevMachine,
    cluster: &DevCluster,
    hypervisor: Arc<dyn Hypervisor>,
    context: &Context,
) -> (String, Owner, Guest) {
    let owner = Owner {
        namespace: owned::namespace(machine),
        cluster: owned::name(cluster),
        cluster_uid: owned::uid(cluster),
        machine: Some(owned::name(machine)),
        machine_uid: Some(owned::uid(machine)),
    };
    let domain = names::domain(&owner.namespace, &owned::name(machine));
    let pause: Arc<dyn seedbed_guest::Pause> = context.clock.clone();
    let guest = Guest::new(hypervisor, domain.clone(), owner.clone(), pause);
    (domain, owner, guest)
}

/// The machine's condition `Ready`.
pub fn readiness(machine: &DevMachine) -> Option<&Condition> {
    let mut conditions = machine.status.iter().flat_map(|status| &status.conditions);
    conditions.find(|c| c.type_ == condition::READY)
}

/// Whether the machine's conditions say that its node is Ready.
pub fn is_ready(machine: &DevMachine) -> bool {
    readiness(machine).is_some_and(|ready| ready.status == "True")
}

/// Asks for the machine's deletion: of this one, and not of another of its name. Gone already is no error.
pub async fn delete(client: &Client, machine: &DevMachine) -> Result<(), Error> {
    let api = Api::<DevMachine>::namespaced(client.clone(), &owned::namespace(machine));
    deletion::delete(&api, &machine.name_any(), machine.uid())
        .await
        .map_err(|error| Error::api(format!("{}: delete", describe(machine)), error))
}
