//! What to do with one machine now.
//!
//! A machine goes: identity, volumes, definition, power, guest, kubeadm, node. Each pass looks at all of them and does the
//! first thing that is not yet so; what is so already is never done again. Going back is the same in reverse.

use std::net::Ipv4Addr;

use seedbed_crds::reasons::Reason;
use seedbed_crds::{BootstrapPhase, MachineRole};
use seedbed_planted::planted;

use crate::Observed;

/// How often kubeadm is tried on one machine.
pub const MAX_ATTEMPTS: i32 = 3;

/// How far a cluster's network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The range that addresses are taken from is not chosen yet.
    NoRange,
    /// There is a range; the network is not up.
    Down,
    /// It is up.
    Up,
}

/// A domain as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Whether it runs, is off, or something else.
    pub power: Power,
    /// Whether its metadata says that it is this machine's; if not, what it says.
    pub foreign: Option<String>,
}

/// Power state of a domain as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The guest runs.
    Running,
    /// The guest is off.
    Off,
    /// The guest crashed, and the host keeps it as it was then.
    Crashed,
    /// Somebody suspended the guest.
    Paused,
}

/// The state of the machine's job in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// It was never started.
    NotStarted,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// It was cut off, by a reboot for instance.
    Interrupted,
}

/// The bootstrap as it stands in the status, written before the job was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// How far it came, as far as was written down.
    pub phase: BootstrapPhase,
    /// Its number, from 1.
    pub number: i32,
}

/// The machine's node in the child cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Whether it is Ready.
    pub ready: bool,
    /// The kubelet's words where it is not.
    pub message: String,
    /// Whether its labels and pod range are as they should be.
    pub settings_applied: bool,
    /// Whether it is cordoned.
    pub cordoned: bool,
}

/// Pods that are still to leave a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// How many pods are still there.
    pub remaining: usize,
    /// What holds them up, for people.
    pub blocked: Option<String>,
}

/// Everything that was seen of a machine that should exist.
#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one observation, and none follows from another"
)]
pub struct Seen {
    /// What it is in its cluster.
    pub role: MachineRole,
    /// Why nothing may be changed now, if so.
    pub paused: bool,
    /// Whether the host has room for it; if not, the numbers.
    pub capacity: Observed<Result<(), String>>,
    /// Whether the release's files are complete on the host; if not, why.
    pub release: Observed<Result<(), String>>,
    /// How far its cluster's network is.
    pub network: Network,
    /// Its address, once allotted.
    pub address: Option<Ipv4Addr>,
    /// Whether the network reserves the address for it.
    pub reserved: Observed<bool>,
    /// Whether its root volume is there.
    pub root_volume: Observed<bool>,
    /// Whether the volume for cloud-init is there and complete.
    pub cidata_volume: Observed<bool>,
    /// Its domain.
    pub domain: Observed<Option<Domain>>,
    /// Whether its guest's agent answers.
    pub agent: Observed<bool>,
    /// Its bootstrap as written down.
    pub attempt: Option<Attempt>,
    /// Its job in the guest, for the present attempt.
    pub job: Observed<Job>,
    /// Whether the time to wait before the next attempt is over.
    pub retry_due: bool,
    /// Whether the cluster's keys are there, which a control plane begins with.
    pub keys: bool,
    /// Whether new nodes can join the cluster.
    pub joinable: Observed<bool>,
    /// The version that new workers of its pool are made of, where it is of another one and no node.
    pub superseded: Option<String>,
    /// Whether the control plane that it joins is not the one any more that its join token was made on.
    pub token_lost: Observed<bool>,
    /// Whether it is a worker that has joined long ago, and the API server says that there is no node of it.
    pub left_behind: bool,
    /// Whether its node was there before.
    pub was_node: bool,
    /// Its node.
    pub node: Observed<Option<Node>>,
}

crate::effect::effects! {
    /// What is done to a machine: at most one in a pass.
    pub enum Effect of "DevMachine" {
        /// Write down its address and identity.
        Allocate => "allotting an address",
        /// Reserve its address on the network.
        ReserveAddress => "reserving the address on the network",
        /// Make its root volume on top of the release's disk.
        CreateRootVolume => "making the root volume",
        /// Make the volume with what cloud-init reads.
        CreateCidata => "making the volume for cloud-init",
        /// Define the domain.
        DefineDomain => "defining the virtual machine",
        /// Start the domain.
        StartDomain => "starting the virtual machine",
        /// Write down that this attempt of kubeadm begins.
        BeginAttempt(i32 = 1) => "beginning with kubeadm",
        /// Make the join token, if it joins, and start the job in the guest.
        StartJob => "starting kubeadm in the guest",
        /// Make the join token again for the job that runs.
        RenewToken => "making the join token again",
        /// Remove the join token and write down that the attempt succeeded.
        RecordSuccess => "noting that kubeadm succeeded",
        /// Write down that the attempt failed, with the last lines of its log.
        RecordFailure => "noting that kubeadm failed",
        /// Give the node its labels and pod range.
        ApplyNodeSettings => "giving the node its labels and pod range",
        /// Close the node for new pods.
        Cordon => "closing the node for new pods",
        /// Ask the pods to leave.
        Evict => "asking the pods to leave",
        /// Remove the node from the child cluster.
        DeleteNode => "removing the node from the cluster",
        /// Cut the power.
        PowerOff => "switching the virtual machine off",
        /// Remove the definition.
        UndefineDomain => "removing the virtual machine",
        /// Remove the volumes.
        DeleteVolumes => "removing the volumes",
        /// Take the reservation off the network.
        ReleaseAddress => "releasing the address",
        /// Forget address and identity.
        Deallocate => "forgetting the address",
        /// Take our mark off the domain, which stays as it is.
        Disown => "leaving the virtual machine to itself",
        /// Let the object go.
        RemoveFinalizer => "letting the object go",
    }
}

/// Why nothing is done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Why.
    pub reason: Reason,
    /// What is waited for.
    pub message: String,
    /// How soon to look again if nothing says so earlier.
    pub urgency: Urgency,
    /// Whether a person has to do something.
    pub stalled: bool,
    /// Whether the reason is that something could not be seen.
    pub unknown: bool,
}

/// How soon to look again if nothing says so earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// A guest is at work and what follows waits for it.
    Soon,
    /// Something outside has to change.
    Later,
}

/// What to do with a machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Do this, and look again.
    Do(Effect),
    /// Do nothing yet.
    Wait(Wait),
    /// Nothing is left to do.
    Settled,
}

fn wait(reason: Reason, message: impl Into<String>, urgency: Urgency) -> Decision {
    Decision::Wait(Wait {
        reason,
        message: message.into(),
        urgency,
        stalled: false,
        unknown: false,
    })
}

fn stalled(reason: Reason, message: impl Into<String>) -> Decision {
    Decision::Wait(Wait {
        reason,
        message: message.into(),
        urgency: Urgency::Later,
        stalled: true,
        unknown: false,
    })
}

fn unknown(reason: Reason, message: &str) -> Decision {
    Decision::Wait(Wait {
        reason,
        message: message.to_owned(),
        urgency: Urgency::Later,
        stalled: false,
        unknown: true,
    })
}

/// Takes what is known, or returns the decision to wait because it is not.
macro_rules! known {
    ($observed:expr, $reason:expr) => {
        match &$observed {
            Observed::Known(value) => value,
            Observed::Unknown(why) => return unknown($reason, why),
        }
    };
}

/// What to do with a machine that should exist.
pub fn advance(seen: &Seen) -> Decision {
    if seen.paused {
        return wait(
            Reason::Paused,
            "spec.paused of the DevCluster is true",
            Urgency::Later,
        );
    }
    let domain = known!(seen.domain, Reason::HostUnreachable);
    match domain {
        Some(Domain {
            foreign: Some(whose), ..
        }) => stalled(
            Reason::NameConflict,
            format!(
                "a virtual machine of this name exists on the host and is not this machine's ({whose}); it is left alone: rename one of the two, or remove it on the host"
            ),
        ),
        Some(domain) => match domain.power {
            Power::Off | Power::Crashed => Decision::Do(Effect::StartDomain),
            Power::Paused => wait(
                Reason::NotRunning,
                "the guest is suspended on the host; resume it with virsh resume",
                Urgency::Later,
            ),
            Power::Running => bootstrap(seen),
        },
        None => provision(seen),
    }
}

/// Towards a running guest.
fn provision(seen: &Seen) -> Decision {
    let waiting = |what: &str| {
        wait(
            Reason::Provisioning,
            format!("waiting for the cluster's {what}"),
            Urgency::Soon,
        )
    };
    if seen.network == Network::NoRange {
        return waiting("node range");
    }
    if let Err(numbers) = known!(seen.capacity, Reason::HostUnreachable) {
        return wait(Reason::InsufficientCapacity, numbers.clone(), Urgency::Later);
    }
    // Before there is a network: it is made with the addresses that are known by then.
    if seen.address.is_none() {
        return Decision::Do(Effect::Allocate);
    }
    // The volumes are made while the network is.
    if !*known!(seen.cidata_volume, Reason::HostUnreachable) {
        return Decision::Do(Effect::CreateCidata);
    }
    if let Err(why) = known!(seen.release, Reason::HostUnreachable) {
        return wait(Reason::ReleaseTransferring, why.clone(), Urgency::Soon);
    }
    if !*known!(seen.root_volume, Reason::HostUnreachable) {
        return Decision::Do(Effect::CreateRootVolume);
    }
    if seen.network != Network::Up {
        return waiting("network");
    }
    if !*known!(seen.reserved, Reason::HostUnreachable) {
        return Decision::Do(Effect::ReserveAddress);
    }
    Decision::Do(Effect::DefineDomain)
}

/// From a running guest to a node.
fn bootstrap(seen: &Seen) -> Decision {
    match seen.attempt {
        None => begin(seen, 1),
        Some(Attempt {
            phase: BootstrapPhase::Started,
            ..
        }) => match known!(seen.job, Reason::WaitingForGuest) {
            Job::NotStarted => Decision::Do(Effect::StartJob),
            Job::Running if seen.token_lost == Observed::Known(true) => Decision::Do(Effect::RenewToken),
            Job::Running => wait(Reason::Bootstrapping, "kubeadm runs", Urgency::Soon),
            Job::Succeeded => Decision::Do(Effect::RecordSuccess),
            Job::Failed | Job::Interrupted => Decision::Do(Effect::RecordFailure),
        },
        Some(Attempt {
            phase: BootstrapPhase::Failed,
            number,
        }) if number >= MAX_ATTEMPTS => {
            stalled(Reason::BootstrapGaveUp, format!("kubeadm failed {number} times"))
        }
        Some(Attempt {
            phase: BootstrapPhase::Failed,
            number,
        }) => {
            if seen.retry_due {
                begin(seen, number + 1)
            } else {
                wait(
                    Reason::BootstrapFailed,
                    format!("attempt {number} of {MAX_ATTEMPTS} failed; the next one follows"),
                    Urgency::Soon,
                )
            }
        }
        Some(Attempt {
            phase: BootstrapPhase::Succeeded,
            ..
        }) => node(seen),
    }
}

fn begin(seen: &Seen, attempt: i32) -> Decision {
    if !*known!(seen.agent, Reason::WaitingForGuest) {
        return wait(
            Reason::WaitingForGuest,
            "the guest boots; its agent does not answer yet",
            Urgency::Soon,
        );
    }
    if seen.role == MachineRole::ControlPlane && !seen.keys {
        return wait(
            Reason::WaitingForControlPlane,
            "the cluster's certificate authorities are not there yet",
            Urgency::Soon,
        );
    }
    if let Some(version) = &seen.superseded {
        return wait(
            Reason::RollingOut,
            format!(
                "new workers of its pool are made of {version} by now, and it of another version: its pool replaces it"
            ),
            Urgency::Soon,
        );
    }
    if seen.role == MachineRole::Worker {
        // Why the API does not answer yet changes from look to look, and is no news: it is not there yet.
        let waits_for = match &seen.joinable {
            Observed::Known(true) => None,
            Observed::Known(false) => Some("the control plane cannot take new nodes yet"),
            Observed::Unknown(_) => Some("the control plane's API does not answer yet"),
        };
        if let Some(what) = waits_for {
            return wait(Reason::WaitingForControlPlane, what, Urgency::Soon);
        }
    }
    Decision::Do(Effect::BeginAttempt(attempt))
}

/// From kubeadm's end to a Ready node.
fn node(seen: &Seen) -> Decision {
    match known!(seen.node, Reason::ChildUnreachable) {
        // A kubelet registers its node at its start only: somebody removed it, or the control plane was begun anew. It has to join again.
        None if seen.left_behind => Decision::Do(Effect::RecordFailure),
        None if seen.was_node => wait(
            Reason::NodeNotRegistered,
            "the node was removed from the cluster, and a kubelet registers it at its start only: restart the kubelet in the guest",
            Urgency::Later,
        ),
        None => wait(
            Reason::NodeNotRegistered,
            "the kubelet has not registered the node yet",
            Urgency::Soon,
        ),
        Some(node) if !node.settings_applied => Decision::Do(Effect::ApplyNodeSettings),
        Some(node) if !node.ready => wait(Reason::NodeNotReady, node.message.clone(), Urgency::Soon),
        Some(_) => Decision::Settled,
    }
}

/// Everything that was seen of a machine that should go.
#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one observation, and none follows from another"
)]
pub struct Leaving {
    /// Why nothing may be changed now, if so.
    pub paused: bool,
    /// Whether the whole cluster goes: then nobody is left to take the pods or to miss the node.
    pub cluster_leaving: bool,
    /// Whether the virtual machine is left as it is.
    pub retain: bool,
    /// Its node; absent where the control plane never came up.
    pub node: Observed<Option<Node>>,
    /// Whether it may be a node: its cluster's control plane was initialised, or it is a worker that began to join.
    pub may_be_node: bool,
    /// Pods that are still to leave the node.
    pub drain: Observed<Drain>,
    /// Whether the time for the drain is over, counted from when it began.
    pub drain_overdue: bool,
    /// Its domain.
    pub domain: Observed<Option<Domain>>,
    /// How many of its volumes are still there.
    pub volumes: Observed<usize>,
    /// Whether the network still reserves its address.
    pub reserved: Observed<bool>,
    /// Whether its address is still written down.
    pub allocated: bool,
}

/// What to do with a machine that should go.
pub fn leave(seen: &Leaving) -> Decision {
    if seen.paused {
        return wait(
            Reason::Paused,
            "spec.paused of the DevCluster is true; set it to false to let the deletion go on",
            Urgency::Later,
        );
    }
    if seen.retain {
        return match known!(seen.domain, Reason::HostUnreachable) {
            Some(Domain { foreign: None, .. }) => Decision::Do(Effect::Disown),
            _ => Decision::Do(Effect::RemoveFinalizer),
        };
    }
    if seen.may_be_node
        && !seen.cluster_leaving
        && let Some(decision) = leave_cluster(seen)
    {
        return decision;
    }
    if planted!(VolumesBeforeDomain) && matches!(seen.volumes, Observed::Known(1..)) {
        return Decision::Do(Effect::DeleteVolumes);
    }
    if planted!(AddressBeforeDomain) && seen.reserved == Observed::Known(true) {
        return Decision::Do(Effect::ReleaseAddress);
    }
    let domain = known!(seen.domain, Reason::HostUnreachable);
    match domain {
        // Somebody else's machine of the same name is no concern of this one, which is gone or was never made.
        Some(Domain { foreign: Some(_), .. }) | None => {}
        Some(Domain {
            power: Power::Off, ..
        }) => return Decision::Do(Effect::UndefineDomain),
        Some(_) => return Decision::Do(Effect::PowerOff),
    }
    if *known!(seen.volumes, Reason::HostUnreachable) > 0 {
        return Decision::Do(Effect::DeleteVolumes);
    }
    if *known!(seen.reserved, Reason::HostUnreachable) {
        return Decision::Do(Effect::ReleaseAddress);
    }
    if seen.allocated {
        return Decision::Do(Effect::Deallocate);
    }
    Decision::Do(Effect::RemoveFinalizer)
}

/// Takes the node out of a cluster that stays; none once that is done, or once its time is over.
fn leave_cluster(seen: &Leaving) -> Option<Decision> {
    match &seen.node {
        Observed::Known(None) => None,
        Observed::Known(Some(node)) => {
            if !node.cordoned && !seen.drain_overdue {
                return Some(Decision::Do(Effect::Cordon));
            }
            match &seen.drain {
                _ if seen.drain_overdue || planted!(SkipDrain) => Some(Decision::Do(Effect::DeleteNode)),
                Observed::Known(drain) if drain.remaining == 0 => Some(Decision::Do(Effect::DeleteNode)),
                Observed::Known(_) => Some(Decision::Do(Effect::Evict)),
                Observed::Unknown(why) => Some(unknown(Reason::ChildUnreachable, why)),
            }
        }
        // A child that does not answer for as long as a drain may take does not hold up the removal any longer: the cluster removes the
        // node when it answers again.
        Observed::Unknown(_) if seen.drain_overdue => None,
        Observed::Unknown(why) => Some(unknown(Reason::ChildUnreachable, why)),
    }
}

impl Effect {
    /// Whether what it changes is not so at once: a watch tells when it is, or pods take their time. Whoever looks before that sees it
    /// as it was, and would do it again and again.
    pub fn takes_time(self) -> bool {
        matches!(self, Self::ApplyNodeSettings | Self::Evict)
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
