//! What is said of a cluster: pure, from what was seen and decided.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{CniType, DevClusterStatus, DevMachine, MachineRole, NetworkStatus, NodePool};
use seedbed_planner::cluster::{Decision, Seen};
use seedbed_planner::conditions::{self, Finding, Status, Summary};
use seedbed_planner::upgrade::desired::Desired;
use seedbed_planner::{Observed, names};

use super::observe::Subject;
use crate::controllers::workers::Workers;
use crate::controllers::{access, machine, owned, pki, profile};
use crate::render::ClusterPlan;

/// What a pass over a cluster that should exist found.
pub struct Pass<'a> {
    /// The cluster with all that it refers to.
    pub subject: &'a Subject,
    /// What was seen.
    pub seen: &'a Seen,
    /// What was decided.
    pub decision: &'a Decision,
    /// Its pools.
    pub pools: &'a [NodePool],
}

/// The status of a cluster that should exist.
pub fn build(pass: &Pass<'_>, now: Timestamp) -> DevClusterStatus {
    let Pass {
        subject,
        seen,
        decision,
        pools,
    } = pass;
    let cluster = &subject.cluster;
    let old = cluster.status.clone().unwrap_or_default();
    let workers: Vec<&DevMachine> = subject
        .machines
        .iter()
        .filter(|m| m.spec.role == MachineRole::Worker)
        .collect();
    let desired_workers: i32 = pools.iter().map(|p| p.spec.replicas).sum();
    // One that was made of another spec is replaced yet, and nobody is to rely on it.
    let is_as_asked = seen
        .control_plane
        .as_ref()
        .is_some_and(|machine| machine.up_to_date);
    let initialized = seen.initialized || subject.is_bootstrapped() && is_as_asked;
    let ready = subject.machines.iter().filter(|m| machine::is_ready(m)).count();
    let mut findings = vec![
        spec(seen),
        host(subject, seen),
        release(subject),
        network(seen, decision),
        initialization(subject, initialized),
        control_plane(subject, initialized),
        worker_nodes(&workers, desired_workers, pools),
        dns(subject, initialized),
        network_policy(subject),
        version_drift(subject, seen),
    ];
    let summary = summary(decision, &findings, initialized);
    findings.extend(summary.findings());
    let generation = cluster.metadata.generation;
    let desired = cluster.spec.control_plane.replicas + desired_workers;
    let name = owned::name(cluster);
    let address = access::api_server(&name, subject.stored.as_ref());
    DevClusterStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, findings, generation, now),
        phase: Some(phase(&summary, initialized).to_owned()),
        version: subject.view.api_version.known().cloned().or(old.version),
        endpoint: address.map(|a| ClusterPlan::endpoint(a).url()),
        initialized,
        initialized_at: old.initialized_at.or_else(|| initialized.then_some(Time(now))),
        desired_nodes: Some(desired),
        ready_nodes: Some(i32::try_from(ready).unwrap_or(i32::MAX)),
        nodes_summary: Some(format!("{ready}/{desired}")),
        timing_profile: old
            .timing_profile
            .or_else(|| subject.host.as_ref().map(|(host, _)| profile::of(cluster, host))),
        network: subject.stored.as_ref().map(|stored| NetworkStatus {
            name: subject.network(),
            node_cidr: stored.allocations.node_cidr.to_string(),
            dns_domain: names::dns_zone(&owned::namespace(cluster), &name),
        }),
        kubeconfig_secret: seen.kubeconfig.then(|| pki::kubeconfig_secret(&name)),
    }
}

/// The status of a cluster that goes.
pub fn leaving(subject: &Subject, message: &str, now: Timestamp) -> DevClusterStatus {
    let mut status = subject.cluster.status.clone().unwrap_or_default();
    let summary = Summary::Progressing(Reason::Deleting, message.to_owned());
    let generation = subject.cluster.metadata.generation;
    let mut conditions = conditions::merge(&status.conditions, summary.findings(), generation, now);
    conditions.extend(status.conditions.into_iter().filter(|c| {
        ![condition::READY, condition::PROGRESSING, condition::STALLED].contains(&c.type_.as_str())
    }));
    status.conditions = conditions;
    status.observed_generation = generation;
    status.phase = Some(summary.phase().to_owned());
    status
}

fn summary(decision: &Decision, findings: &[Finding], initialized: bool) -> Summary {
    match decision {
        Decision::Stalled(reason, message) => Summary::Stalled(*reason, message.clone()),
        Decision::Blocked(Reason::Paused, message) => Summary::Degraded(Reason::Paused, message.clone()),
        Decision::Blocked(reason, message) => Summary::Unknown(*reason, message.clone()),
        Decision::Do(effect) if !effect.is_of_upgrades() => Summary::Progressing(
            Reason::Reconciling,
            "the cluster's network and control plane are being made".to_owned(),
        ),
        Decision::Do(_) | Decision::Settled => {
            let parts = [
                condition::RELEASE_AVAILABLE,
                condition::CONTROL_PLANE_INITIALIZED,
                condition::CONTROL_PLANE_READY,
                condition::WORKERS_READY,
                condition::DNS_READY,
            ];
            let missing = parts
                .iter()
                .filter_map(|type_| findings.iter().find(|f| f.type_ == *type_))
                .find(|f| f.status != Status::True && f.reason != Reason::NoWorkers);
            match missing {
                None => Summary::Ready,
                Some(f) if f.reason == Reason::BootstrapGaveUp || f.reason == Reason::NameConflict => {
                    Summary::Stalled(f.reason, f.message.clone())
                }
                Some(f) if f.status == Status::Unknown && initialized => {
                    Summary::Unknown(f.reason, f.message.clone())
                }
                Some(f) => Summary::Progressing(f.reason, f.message.clone()),
            }
        }
    }
}

fn phase(summary: &Summary, initialized: bool) -> &'static str {
    match summary {
        Summary::Progressing(Reason::Deleting, _) => "Deleting",
        Summary::Progressing(..) if !initialized => "Provisioning",
        other => other.phase(),
    }
}

fn spec(seen: &Seen) -> Finding {
    match &seen.spec {
        Ok(()) => Finding::new(condition::SPEC_VALID, true, Reason::AsAsked, ""),
        Err(problem) => Finding::new(
            condition::SPEC_VALID,
            false,
            problem.reason,
            problem.message.clone(),
        ),
    }
}

fn host(subject: &Subject, seen: &Seen) -> Finding {
    let type_ = condition::HOST_REACHABLE;
    match (&subject.host, &seen.host) {
        (None, _) => Finding::new(
            type_,
            false,
            Reason::HostNotFound,
            "spec.hostRef names no HypervisorHost that exists",
        ),
        (_, Observed::Known(())) => Finding::new(type_, true, Reason::HostReachable, "the host answers"),
        (_, Observed::Unknown(why)) => {
            Finding::new(type_, Status::Unknown, Reason::HostUnreachable, why.clone())
        }
    }
}

/// As the machines see it: they wait for what they need of it.
fn release(subject: &Subject) -> Finding {
    let type_ = condition::RELEASE_AVAILABLE;
    let waiting = subject
        .machines
        .iter()
        .flat_map(|m| m.status.iter().flat_map(|s| &s.conditions))
        .find(|c| c.type_ == condition::READY && c.reason == Reason::ReleaseTransferring.as_str());
    match waiting {
        Some(c) => Finding::new(type_, false, Reason::ReleaseTransferring, c.message.clone()),
        None => Finding::new(type_, true, Reason::ReleasePresent, ""),
    }
}

fn network(seen: &Seen, decision: &Decision) -> Finding {
    use seedbed_planner::cluster::NetworkState;
    let type_ = condition::NETWORK_READY;
    match (&seen.network, decision) {
        (Observed::Known(NetworkState::Active), _) => {
            Finding::new(type_, true, Reason::NetworkActive, "the network is up")
        }
        (_, Decision::Stalled(reason, message)) => Finding::new(type_, false, *reason, message.clone()),
        (Observed::Unknown(why), _) => {
            Finding::new(type_, Status::Unknown, Reason::HostUnreachable, why.clone())
        }
        (_, _) => Finding::new(type_, false, Reason::Provisioning, "the network is not there yet"),
    }
}

fn initialization(subject: &Subject, initialized: bool) -> Finding {
    let type_ = condition::CONTROL_PLANE_INITIALIZED;
    if initialized {
        return Finding::new(type_, true, Reason::Initialized, "");
    }
    match subject.control_plane() {
        None => Finding::new(
            type_,
            false,
            Reason::NotInitialized,
            "the control plane's machine is not there yet",
        ),
        Some(machine) => from_machine(type_, machine),
    }
}

/// What the machine says of itself, said of the cluster.
fn from_machine(type_: &'static str, machine: &DevMachine) -> Finding {
    let name = machine.name_any();
    match machine::readiness(machine) {
        Some(c) => {
            let reason = Reason::of(&c.reason).unwrap_or(Reason::NotInitialized);
            let status = if c.status == "Unknown" {
                Status::Unknown
            } else {
                Status::False
            };
            Finding::new(type_, status, reason, format!("machine {name}: {}", c.message))
        }
        None => Finding::new(
            type_,
            false,
            Reason::NotObserved,
            format!("machine {name} was not looked at yet"),
        ),
    }
}

fn control_plane(subject: &Subject, initialized: bool) -> Finding {
    let type_ = condition::CONTROL_PLANE_READY;
    if !initialized {
        return Finding::new(
            type_,
            false,
            Reason::NotInitialized,
            "the control plane is not initialised yet",
        );
    }
    if let Observed::Unknown(why) = &subject.view.nodes {
        return Finding::new(type_, Status::Unknown, Reason::ChildUnreachable, why.clone());
    }
    match subject.control_plane() {
        Some(machine) if machine::is_ready(machine) => Finding::new(
            type_,
            true,
            Reason::ControlPlaneAvailable,
            "the API server answers and its node is Ready",
        ),
        Some(machine) => from_machine(type_, machine),
        None => Finding::new(
            type_,
            false,
            Reason::NotInitialized,
            "the control plane's machine is gone",
        ),
    }
}

fn worker_nodes(workers: &[&DevMachine], desired: i32, pools: &[NodePool]) -> Finding {
    let type_ = condition::WORKERS_READY;
    if pools.is_empty() {
        return Finding::new(
            type_,
            true,
            Reason::NoWorkers,
            "there is no NodePool for this cluster",
        );
    }
    let stalled = pools.iter().find_map(|pool| {
        let conditions = &pool.status.as_ref()?.conditions;
        let stalled = conditions
            .iter()
            .find(|c| c.type_ == condition::STALLED && c.status == "True")?;
        Some(format!("NodePool {}: {}", pool.name_any(), stalled.message))
    });
    if let Some(message) = stalled {
        return Finding::new(type_, false, Reason::WorkersNotReady, message);
    }
    let workers = Workers::of(workers.iter().copied());
    let (status, reason) = match workers.unknown(desired) {
        _ if workers.are_ready(desired) => (Status::True, Reason::AllWorkersReady),
        Some(reason) => (Status::Unknown, reason),
        None => (Status::False, Reason::WorkersNotReady),
    };
    Finding::new(type_, status, reason, workers.told(desired))
}

fn dns(subject: &Subject, initialized: bool) -> Finding {
    let type_ = condition::DNS_READY;
    if !initialized {
        return Finding::new(
            type_,
            false,
            Reason::NotInitialized,
            "the control plane is not initialised yet",
        );
    }
    match &subject.view.coredns {
        Observed::Unknown(why) => Finding::new(type_, Status::Unknown, Reason::ChildUnreachable, why.clone()),
        Observed::Known(None) => Finding::new(
            type_,
            false,
            Reason::DNSUnavailable,
            "there is no Deployment kube-system/coredns",
        ),
        Observed::Known(Some(deployment)) => {
            let status = deployment.status.clone().unwrap_or_default();
            let available = status
                .conditions
                .iter()
                .flatten()
                .any(|c| c.type_ == "Available" && c.status == "True");
            let replicas = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
            let message = format!(
                "{} of {replicas} CoreDNS pods are available",
                status.available_replicas.unwrap_or(0)
            );
            let reason = if available {
                Reason::DNSAvailable
            } else {
                Reason::DNSUnavailable
            };
            Finding::new(type_, available, reason, message)
        }
    }
}

/// Whether the cluster runs another version than the spec asks for, and what becomes of that.
fn version_drift(subject: &Subject, seen: &Seen) -> Finding {
    let type_ = condition::VERSION_DRIFT;
    let asked = &subject.cluster.spec.version;
    let drifts = |reason, message: String| Finding::new(type_, true, reason, message);
    match &seen.version {
        None => Finding::new(
            type_,
            false,
            Reason::NotInitialized,
            "the control plane is not initialised yet",
        ),
        Some(Desired::Runs) => {
            Finding::new(type_, false, Reason::AsAsked, format!("the cluster runs {asked}"))
        }
        Some(Desired::Unknown(why)) => {
            Finding::new(type_, Status::Unknown, Reason::ChildUnreachable, why.clone())
        }
        Some(Desired::Make(name, _) | Desired::UnderWay(name)) => drifts(
            Reason::UpgradeInProgress,
            format!("spec.version is {asked}; ClusterUpgrade {name} is under way"),
        ),
        Some(Desired::Forget(name)) => drifts(
            Reason::UpgradeInProgress,
            format!("spec.version is {asked}; ClusterUpgrade {name}, which was not begun, is deleted"),
        ),
        Some(Desired::Newer(running)) => drifts(
            Reason::NewerThanAsked,
            format!(
                "the cluster runs {running}, and spec.version is {asked}: set spec.version to {running}; Kubernetes cannot be taken back"
            ),
        ),
        Some(Desired::Failed(name)) => drifts(
            Reason::UpgradeFailed,
            format!(
                "spec.version is {asked}, and ClusterUpgrade {name} did not come to its end: see its conditions; then delete it to try again, or set spec.version back"
            ),
        ),
        Some(Desired::NoWay(why)) => drifts(Reason::NoUpgradePath, format!("spec.version is {asked}: {why}")),
    }
}

fn network_policy(subject: &Subject) -> Finding {
    let type_ = condition::NETWORK_POLICY_ENFORCED;
    match subject.cluster.spec.cni.type_ {
        CniType::Bridge => Finding::new(
            type_,
            false,
            Reason::BridgeDoesNotEnforce,
            "the Bridge plugin does not enforce NetworkPolicies: every pod reaches every other",
        ),
        CniType::None => Finding::new(
            type_,
            Status::Unknown,
            Reason::UserManagedCNI,
            "whether the plugin that you installed enforces NetworkPolicies is not looked at",
        ),
    }
}
