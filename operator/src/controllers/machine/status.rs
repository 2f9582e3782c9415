//! What is said of a machine: pure, from what was seen and decided.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{
    BootstrapPhase, BootstrapStatus, DevMachineStatus, MachineAddress, MachineAddressType, NodeFacts,
    PowerState,
};
use seedbed_planner::conditions::{self, Finding, Status, Summary};
use seedbed_planner::effect::Effect as _;
use seedbed_planner::machine::{Decision, Effect, Wait};
use seedbed_planner::names;

use super::apply::Outcome;
use super::observe::{Facts, Subject};
use crate::controllers::nodes;

/// The status after a pass.
pub fn build(
    subject: &Subject,
    facts: &Facts,
    decision: &Decision,
    outcome: Outcome,
    now: Timestamp,
) -> DevMachineStatus {
    let old = subject.machine.status.clone().unwrap_or_default();
    let bootstrap = outcome.bootstrap.or_else(|| old.bootstrap.clone());
    let joins_again = bootstrap
        .as_ref()
        .is_some_and(|b| b.phase == BootstrapPhase::Started);
    let leaving = subject.machine.metadata.deletion_timestamp.is_some();
    let summary = summary(decision, bootstrap.as_ref(), leaving, outcome.blocked.as_deref());
    let mut findings = summary.findings();
    findings.push(infrastructure(facts, decision, leaving, bootstrap.is_some()));
    findings.push(bootstrapped(bootstrap.as_ref(), decision));
    findings.push(node_ready(facts, decision));
    let generation = subject.machine.metadata.generation;
    let drain_started_at = old
        .drain_started_at
        .clone()
        .or_else(|| outcome.drain_began.then_some(Time(now)));
    DevMachineStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, findings, generation, now),
        phase: Some(phase(&summary, decision).to_owned()),
        power_state: Some(power(facts)),
        addresses: addresses(subject),
        mac_address: subject
            .allocation()
            .map(|a| a.mac.clone())
            .or(old.mac_address.filter(|_| !leaving)),
        domain_name: Some(subject.domain_name()),
        provider_id: subject
            .allocation()
            .map(|a| names::provider_id(&subject.machine.spec.host_ref.name, &a.domain_uuid))
            .or(old.provider_id.filter(|_| !leaving)),
        bootstrap,
        node: facts
            .node
            .as_ref()
            .map(node_facts)
            .or(old.node.filter(|_| !joins_again)),
        drain_started_at,
    }
}

fn summary(
    decision: &Decision,
    bootstrap: Option<&BootstrapStatus>,
    leaving: bool,
    blocked: Option<&str>,
) -> Summary {
    match decision {
        Decision::Settled => Summary::Ready,
        Decision::Do(effect) if leaving => {
            let doing = effect.describe();
            let message = blocked.map_or_else(|| doing.to_owned(), |why| format!("{doing}: {why}"));
            Summary::Progressing(Reason::Deleting, message)
        }
        Decision::Do(effect) => {
            let (reason, message) = stage(*effect);
            Summary::Progressing(reason, message.to_owned())
        }
        Decision::Wait(wait) if leaving => Summary::Progressing(Reason::Deleting, wait.message.clone()),
        Decision::Wait(wait) => waiting(wait, bootstrap),
    }
}

fn waiting(wait: &Wait, bootstrap: Option<&BootstrapStatus>) -> Summary {
    let message = match (&wait.reason, bootstrap.and_then(|b| b.message.as_ref())) {
        (Reason::BootstrapFailed | Reason::BootstrapGaveUp, Some(log)) => format!("{}: {log}", wait.message),
        _ => wait.message.clone(),
    };
    if wait.stalled {
        Summary::Stalled(wait.reason, message)
    } else if wait.unknown {
        Summary::Unknown(wait.reason, message)
    } else if wait.reason == Reason::NodeNotReady
        && bootstrap.is_some_and(|b| b.phase == BootstrapPhase::Succeeded)
    {
        Summary::Degraded(wait.reason, message)
    } else {
        Summary::Progressing(wait.reason, message)
    }
}

/// What an effect is part of. Single steps are in the log: a status that named each of them would be written for each.
fn stage(effect: Effect) -> (Reason, &'static str) {
    match effect {
        Effect::BeginAttempt(_)
        | Effect::StartJob
        | Effect::RenewToken
        | Effect::RecordSuccess
        | Effect::RecordFailure => (Reason::Bootstrapping, "kubeadm runs"),
        Effect::ApplyNodeSettings => (Reason::NodeNotReady, "the node gets its labels and pod range"),
        Effect::StartDomain => (Reason::Provisioning, "the virtual machine is being started"),
        _ => (Reason::Provisioning, "the virtual machine is being made"),
    }
}

/// One word: that of the summary, or the stage where something is under way.
fn phase(summary: &Summary, decision: &Decision) -> &'static str {
    match (summary, decision) {
        (Summary::Progressing(Reason::Deleting | Reason::Paused, _), _) => summary.phase(),
        (Summary::Progressing(reason, _), _) => match reason {
            Reason::Provisioning => "Provisioning",
            Reason::WaitingForGuest => "Booting",
            Reason::WaitingForControlPlane => "Waiting",
            Reason::Bootstrapping | Reason::BootstrapFailed => "Bootstrapping",
            Reason::NodeNotRegistered | Reason::NodeNotReady => "Joining",
            _ => "Pending",
        },
        _ => summary.phase(),
    }
}

fn infrastructure(facts: &Facts, decision: &Decision, leaving: bool, bootstrapped: bool) -> Finding {
    use seedbed_hypervisor::PowerState as Seen;
    let type_ = condition::INFRASTRUCTURE_READY;
    match (&facts.domain, decision) {
        (_, Decision::Wait(wait))
            if wait.reason == Reason::NameConflict || wait.reason == Reason::HostUnreachable =>
        {
            let status = if wait.unknown {
                Status::Unknown
            } else {
                Status::False
            };
            Finding::new(type_, status, wait.reason, wait.message.clone())
        }
        (Some(domain), _) if domain.power == Seen::Running => {
            Finding::new(type_, true, Reason::Running, "the virtual machine runs")
        }
        _ if leaving => Finding::new(
            type_,
            false,
            Reason::Deleting,
            "the virtual machine is being removed",
        ),
        (Some(domain), _) if bootstrapped => {
            let found = format!("the virtual machine is not running: {:?}", domain.power);
            Finding::new(type_, false, Reason::NotRunning, found)
        }
        (_, Decision::Wait(wait)) if facts.host_answered => {
            Finding::new(type_, false, wait.reason, wait.message.clone())
        }
        (_, Decision::Do(effect)) if facts.host_answered => {
            let (reason, message) = stage(*effect);
            Finding::new(type_, false, reason, message)
        }
        _ => Finding::new(
            type_,
            Status::Unknown,
            Reason::HostUnreachable,
            "the host could not be asked",
        ),
    }
}

fn bootstrapped(bootstrap: Option<&BootstrapStatus>, decision: &Decision) -> Finding {
    let type_ = condition::BOOTSTRAPPED;
    let Some(bootstrap) = bootstrap else {
        return match decision {
            Decision::Wait(wait)
                if matches!(
                    wait.reason,
                    Reason::WaitingForGuest | Reason::WaitingForControlPlane
                ) =>
            {
                Finding::new(type_, false, wait.reason, wait.message.clone())
            }
            _ => Finding::new(
                type_,
                false,
                Reason::WaitingForGuest,
                "the guest does not run yet",
            ),
        };
    };
    let log = || bootstrap.message.clone().unwrap_or_default();
    match bootstrap.phase {
        BootstrapPhase::Succeeded => {
            Finding::new(type_, true, Reason::BootstrapSucceeded, "kubeadm did its work")
        }
        BootstrapPhase::Started => {
            let message = match decision {
                Decision::Wait(wait) if wait.reason == Reason::Bootstrapping => wait.message.clone(),
                _ => "kubeadm runs".to_owned(),
            };
            Finding::new(
                type_,
                false,
                Reason::Bootstrapping,
                format!("{message} (attempt {})", bootstrap.attempt),
            )
        }
        BootstrapPhase::Failed => {
            let reason = match decision {
                Decision::Wait(wait) if wait.reason == Reason::BootstrapGaveUp => Reason::BootstrapGaveUp,
                _ => Reason::BootstrapFailed,
            };
            Finding::new(
                type_,
                false,
                reason,
                format!("attempt {} failed: {}", bootstrap.attempt, log()),
            )
        }
    }
}

fn node_ready(facts: &Facts, decision: &Decision) -> Finding {
    let type_ = condition::NODE_READY;
    match (&facts.node, decision) {
        (Some(found), _) if nodes::is_ready(found) => {
            Finding::new(type_, true, Reason::NodeReady, "the node is Ready")
        }
        (Some(found), _) => Finding::new(
            type_,
            false,
            Reason::NodeNotReady,
            nodes::not_ready_message(found),
        ),
        (None, Decision::Wait(wait)) if wait.unknown => {
            Finding::new(type_, Status::Unknown, wait.reason, wait.message.clone())
        }
        (None, _) if let Some(why) = &facts.node_unknown => {
            Finding::new(type_, Status::Unknown, Reason::ChildUnreachable, why.clone())
        }
        (None, _) => Finding::new(type_, false, Reason::NodeNotRegistered, "there is no node yet"),
    }
}

fn power(facts: &Facts) -> PowerState {
    use seedbed_hypervisor::PowerState as Seen;
    match &facts.domain {
        Some(domain) => match domain.power {
            Seen::Running => PowerState::Running,
            Seen::Paused => PowerState::Paused,
            Seen::Off => PowerState::Off,
            Seen::Crashed => PowerState::Crashed,
        },
        None if facts.host_answered => PowerState::Off,
        None => PowerState::Unknown,
    }
}

fn addresses(subject: &Subject) -> Vec<MachineAddress> {
    let Some(allocation) = subject.allocation() else {
        return Vec::new();
    };
    let address = |type_, address: String| MachineAddress { type_, address };
    let name = subject.name();
    vec![
        address(MachineAddressType::InternalIp, allocation.ip.to_string()),
        address(
            MachineAddressType::InternalDns,
            format!("{name}.{}", subject.plan.dns_zone()),
        ),
        address(MachineAddressType::Hostname, name),
    ]
}

fn node_facts(node: &Node) -> NodeFacts {
    let info = node.status.as_ref().and_then(|s| s.node_info.as_ref());
    let allocatable = |name: &str| {
        node.status
            .as_ref()
            .and_then(|s| s.allocatable.as_ref())
            .and_then(|a| a.get(name))
            .map(|q| q.0.clone())
    };
    NodeFacts {
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone(),
        kubelet_version: info.map(|i| i.kubelet_version.clone()),
        kernel_version: info.map(|i| i.kernel_version.clone()),
        os_image: info.map(|i| i.os_image.clone()),
        container_runtime_version: info.map(|i| i.container_runtime_version.clone()),
        pod_cidr: node.spec.as_ref().and_then(|s| s.pod_cidr.clone()),
        allocatable_cpu: allocatable("cpu"),
        allocatable_memory: allocatable("memory"),
    }
}
