//! Looks at what decides how an upgrade goes on, and only as far as the present step needs it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use seedbed_crds::{
    APPROVE_ANNOTATION, Approval, OnFailureAfterCommit, RequestCounts, UpgradePhase, UpgradeStep,
    UpgradeStepState, duration,
};
use seedbed_planner::Observed;
use seedbed_planner::machine::Drain;
use seedbed_planner::upgrade::Version;
use seedbed_planner::upgrade::preflight::ControlPlanePod;
use seedbed_planner::upgrade::saga::{Health, Job, Machine, Node as NodeView, Saga, Seen, Watched};
use seedbed_planner::upgrade::version::kubelet_skew;

use super::checks;
use super::recorded::generation;
use super::subject::{Reached, Subject};
use crate::child::CLOSED_BY_ANNOTATION;
use crate::controllers::guest_jobs::{Progress, progress};
use crate::controllers::world::World;
use crate::controllers::{machine, nodes, owned};

/// What decides, and the ways to the machines that it speaks of.
pub async fn look(subject: &Subject, saga: &Saga, world: &World) -> (Seen, Vec<Reached>) {
    let spec = &subject.upgrade.spec;
    let annotations = subject.upgrade.annotations();
    let approved = spec.approval == Approval::Automatic
        || annotations
            .get(APPROVE_ANNOTATION)
            .is_some_and(|value| value == "true");
    let mut seen = Seen {
        paused: subject.cluster.spec.paused,
        cancel: cancel(subject),
        approved,
        restores: spec.on_failure_after_commit == OnFailureAfterCommit::RestoreSnapshot,
        soak: duration::parse(&spec.soak).unwrap_or_default(),
        machines: Vec::new(),
        width: 1,
        to: subject.to.to_string(),
        health: Health::NotLookedAt,
        watched: Watched::unseen("not looked at"),
    };
    let mut reached = Vec::new();
    let Some(step) = saga.current().and_then(|index| saga.steps.get(index)) else {
        return (seen, reached);
    };
    if !matches!(step.state, UpgradeStepState::Running | UpgradeStepState::Undoing) {
        return (seen, reached);
    }
    match step.phase {
        UpgradePhase::Preflight => {}
        UpgradePhase::Soak | UpgradePhase::Verify if !is_undone(step) && !subject.child.has_looked() => {}
        UpgradePhase::Soak => (seen.health, seen.watched) = soak(subject, step, seen.soak, world).await,
        UpgradePhase::Verify if !is_undone(step) => {
            let pods = subject.child.control_plane_pods().await;
            let behind = subject.left_behind(world);
            seen.health = health(subject, &pods, Some(&behind), world).await;
            for one in subject.machines(step, world).into_iter().flat_map(|(all, _)| all) {
                let mut machine = unseen(&owned::name(&one.machine), "not looked at");
                machine.kept = kept(subject, &one).await;
                seen.machines.push(machine);
                reached.push(one);
            }
        }
        _ => {
            if let Some((machines, width)) = subject.machines(step, world) {
                seen.width = width;
                (seen.machines, reached) = machines_of(subject, saga, step, machines, width, world).await;
            } else {
                let why = "the DevMachine that this is done to is gone, or being deleted";
                seen.machines.push(unseen(&step.target.name, why));
            }
        }
    }
    (seen, reached)
}

fn is_undone(step: &UpgradeStep) -> bool {
    step.state == UpgradeStepState::Undoing
}

fn cancel(subject: &Subject) -> Option<String> {
    if subject.upgrade.metadata.deletion_timestamp.is_some() {
        return Some("the ClusterUpgrade is being deleted".to_owned());
    }
    if subject.upgrade.spec.cancel {
        return Some("spec.cancel is true".to_owned());
    }
    // One that a person made stands beside what the cluster's spec asks for.
    let asked = Version::parse(&subject.cluster.spec.version)?;
    (generation(&subject.upgrade).is_some() && asked < subject.to)
        .then(|| format!("spec.version of the DevCluster is {asked} again"))
}

/// The machines up to the one with which as many as may be worked on at once are not done: those behind it wait anyway.
async fn machines_of(
    subject: &Subject,
    saga: &Saga,
    step: &UpgradeStep,
    all: Vec<Reached>,
    width: usize,
    world: &World,
) -> (Vec<Machine>, Vec<Reached>) {
    let (mut seen, mut reached) = (Vec::new(), Vec::new());
    let mut open = 0;
    for one in all {
        let machine = machine(subject, saga, step, &one, world).await;
        open += usize::from(machine.job != Observed::Known(Job::Succeeded));
        seen.push(machine);
        reached.push(one);
        if open >= width {
            break;
        }
    }
    (seen, reached)
}

async fn machine(
    subject: &Subject,
    saga: &Saga,
    step: &UpgradeStep,
    one: &Reached,
    world: &World,
) -> Machine {
    let mut machine = unseen(&owned::name(&one.machine), "not looked at");
    if !machine::is_bootstrapped(&one.machine) {
        return unseen(&machine.name, "it has not joined the cluster yet");
    }
    machine.reverts = saga.reverts(&machine.name);
    let is_restored = is_undone(step) && matches!(step.phase, UpgradePhase::Commit | UpgradePhase::Verify);
    if is_restored || step.phase == UpgradePhase::Snapshot {
        machine.kept = kept(subject, one).await;
    }
    let is_kubelet = step.phase == UpgradePhase::Nodes && !is_undone(step);
    let is_pool = is_kubelet && one.machine.spec.pool_ref.is_some();
    if is_kubelet {
        machine.node = subject
            .child
            .node(&machine.name)
            .map(|found| found.map(|node| view(&node, &owned::uid(&subject.upgrade))));
        let node = machine.node.known().and_then(Option::as_ref);
        let is_upgraded = node.is_some_and(|node| node.kubelet == subject.to.to_string());
        if is_pool && is_upgraded && node.is_some_and(|node| node.ready) {
            machine.job = Observed::Known(Job::Succeeded);
            return machine;
        }
        if is_pool && !is_upgraded && node.is_some_and(|node| !node.cordoned) {
            // Its pods leave before there is a job.
            machine.job = Observed::Known(Job::NotStarted);
            return machine;
        }
    }
    machine.job = job(saga, step, one, world).await;
    if is_pool && machine.job == Observed::Known(Job::NotStarted) {
        machine.drain = Observed::from(subject.child.evictable_pods(&machine.name).await).map(|pods| Drain {
            remaining: pods.len(),
            blocked: None,
        });
    }
    if step.phase == UpgradePhase::Preload {
        let found = subject.hypervisor.domain(&one.domain).await;
        machine.attached = Observed::from(found).map(|domain| {
            let serial = seedbed_kubeadm::upgrade::DISK_SERIAL;
            domain.is_some_and(|domain| domain.attached.iter().any(|disk| disk == serial))
        });
    }
    machine
}

/// Whether the machine's disk is kept as it was; none where its host cannot do that, or has no such machine.
async fn kept(subject: &Subject, one: &Reached) -> Observed<Option<bool>> {
    let found = subject.hypervisor.domain(&one.domain).await;
    Observed::from(found).map(|domain| domain.and_then(|domain| domain.kept))
}

/// How the step's job in the guest is. That it ended well is kept: it stays so.
async fn job(saga: &Saga, step: &UpgradeStep, one: &Reached, world: &World) -> Observed<Job> {
    let undo = is_undone(step);
    let token = saga.token(step, undo, step.attempt);
    let key = format!("{} {}", owned::uid(&one.machine), token);
    let now = world.context.clock.elapsed();
    if world.jobs_done.get(&key, now).is_some() {
        return Observed::Known(Job::Succeeded);
    }
    let mut found = state(one, &token).await;
    if found == Observed::Known(Job::NotStarted) && !undo {
        // On another machine of the step the attempt before failed; on this one it may have ended well.
        for earlier in saga.earlier_tokens(step) {
            match state(one, &earlier).await {
                Observed::Known(Job::Succeeded) => {
                    found = Observed::Known(Job::Succeeded);
                    break;
                }
                Observed::Unknown(why) => return Observed::Unknown(why),
                Observed::Known(_) => {}
            }
        }
    }
    if found == Observed::Known(Job::Succeeded) {
        world.jobs_done.put(&key, (), now);
    }
    found
}

async fn state(one: &Reached, token: &str) -> Observed<Job> {
    match progress(&one.guest, token).await {
        Ok(Progress::NotStarted) => Observed::Known(Job::NotStarted),
        Ok(Progress::Running) => Observed::Known(Job::Running),
        Ok(Progress::Succeeded) => Observed::Known(Job::Succeeded),
        Ok(Progress::Failed(how)) => Observed::Known(Job::Failed(how)),
        Ok(Progress::Interrupted(_)) => Observed::Known(Job::Interrupted),
        Err(error) => Observed::Unknown(format!(
            "the guest could not be asked how far its job is: {error}"
        )),
    }
}

fn unseen(name: &str, why: &str) -> Machine {
    Machine {
        name: name.to_owned(),
        job: Observed::Unknown(why.to_owned()),
        attached: Observed::Unknown(why.to_owned()),
        kept: Observed::Unknown(why.to_owned()),
        reverts: false,
        node: Observed::Unknown(why.to_owned()),
        drain: Observed::Unknown(why.to_owned()),
    }
}

fn view(node: &Node, upgrade: &str) -> NodeView {
    NodeView {
        kubelet: nodes::kubelet(node).to_owned(),
        ready: nodes::is_ready(node),
        cordoned: nodes::is_cordoned(node),
        closed_by_us: node
            .annotations()
            .get(CLOSED_BY_ANNOTATION)
            .is_some_and(|by| by == upgrade),
    }
}

/// The cluster while it is watched.
async fn soak(subject: &Subject, step: &UpgradeStep, soak: Duration, world: &World) -> (Health, Watched) {
    let child = &subject.child;
    let pods = child.control_plane_pods().await;
    let health = health(subject, &pods, None, world).await;
    let restarts = pods.map(|pods| pods.into_iter().map(|pod| (pod.name, pod.restarts)).collect());
    if let Health::Unwell(why) = &health {
        // One that does not answer would be waited for in vain, and one that is not well is not trusted anyway.
        let watched = Watched {
            restarts,
            ..Watched::unseen(why)
        };
        return (health, watched);
    }
    // What was seen before its time was over says nothing of its end.
    let now = world.context.clock.now();
    let lasted = step.started_at.as_ref().map(|at| now.duration_since(at.0));
    let is_over =
        lasted.is_some_and(|lasted| SignedDuration::try_from(soak).is_ok_and(|soak| lasted >= soak));
    let key = format!("{} {is_over}", owned::uid(&subject.upgrade));
    let watched = Watched {
        restarts,
        requests: requests(subject, &key, world).await,
        checks: checks::watched(subject, &key, world).await,
    };
    (health, watched)
}

/// What the API server has answered, as of a moment ago.
async fn requests(subject: &Subject, key: &str, world: &World) -> Observed<RequestCounts> {
    let clock = &world.context.clock;
    if let Some(known) = world.requests.get(key, clock.elapsed()) {
        return known;
    }
    let found = subject.child.requests().await;
    world.requests.put(key, found.clone(), clock.elapsed());
    found
}

/// Why a kubelet that did not follow cannot stay as it is; none where it can.
fn too_far_behind(node: &Node, to: Version) -> Option<String> {
    let found = nodes::kubelet(node);
    let Some(version) = Version::parse(found) else {
        return Some(format!(
            "node {} says that its kubelet is {found:?}",
            node.name_any()
        ));
    };
    kubelet_skew(version, to).map(|wrong| format!("node {}: {wrong}", node.name_any()))
}

/// Whether the cluster is as it should be while it is watched; or at the end, when kubelets but those of some machines have followed.
async fn health(
    subject: &Subject,
    pods: &Observed<Vec<ControlPlanePod>>,
    at_end: Option<&BTreeSet<String>>,
    world: &World,
) -> Health {
    match unwell(subject, pods, at_end, world).await {
        None => Health::Well,
        Some(why) => Health::Unwell(why),
    }
}

async fn unwell(
    subject: &Subject,
    pods: &Observed<Vec<ControlPlanePod>>,
    at_end: Option<&BTreeSet<String>>,
    world: &World,
) -> Option<String> {
    let to = subject.to.to_string();
    match subject.child.serving().await {
        Err(error) => return Some(error.to_string()),
        Ok(serving) if serving.version != to => {
            return Some(format!("the API server runs {}, expected {to}", serving.version));
        }
        Ok(serving) => {
            let expected = match subject.emulated().filter(|_| at_end.is_none()) {
                Some(emulated) => emulated,
                None => subject.to.series(),
            };
            if let Some(found) = serving.behaves_like.filter(|found| *found != expected) {
                return Some(format!(
                    "the API server behaves like {found}, expected {expected}"
                ));
            }
        }
    }
    match pods {
        Observed::Unknown(why) => return Some(why.clone()),
        Observed::Known(pods) => {
            let ill: Vec<_> = pods
                .iter()
                .filter(|pod| !pod.ready)
                .map(|pod| pod.name.as_str())
                .collect();
            if !ill.is_empty() {
                return Some(format!("not Ready: {}", ill.join(", ")));
            }
            if pods.is_empty() {
                return Some("no pod of the control plane is there".to_owned());
            }
        }
    }
    match subject.child.view().nodes {
        Observed::Unknown(why) => Some(why),
        Observed::Known(found) => subject.joined(world).iter().find_map(|name| {
            let Some(node) = found.iter().find(|node| node.name_any() == *name) else {
                return Some(format!("{name} has no node"));
            };
            if !nodes::is_ready(node) {
                let why = nodes::not_ready_message(node);
                return Some(format!("node {name} is not Ready: {why}"));
            }
            if at_end?.contains(name) {
                return too_far_behind(node, subject.to);
            }
            let kubelet = nodes::kubelet(node);
            (kubelet != to).then(|| format!("the kubelet of node {name} is {kubelet}, expected {to}"))
        }),
    }
}
