//! What a step does to one machine.

use seedbed_crds::UpgradePhase;
use seedbed_crds::reasons::Reason;

use super::Wait;
use crate::Observed;
use crate::machine::Drain;
use crate::upgrade::effect::Effect;

/// The state of a step's job in a guest, for the present attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// It was never started.
    NotStarted,
    /// It runs.
    Running,
    /// It ended well, or one of an earlier attempt did.
    Succeeded,
    /// It ended badly: the last lines of its log.
    Failed(String),
    /// It was cut off, by a reboot for instance.
    Interrupted,
}

/// The node of a machine as far as an upgrade needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Version of its kubelet.
    pub kubelet: String,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether it takes no new pods, whoever wanted that.
    pub cordoned: bool,
    /// Whether it was this upgrade that closed it.
    pub closed_by_us: bool,
}

/// A machine that a step is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its job.
    pub job: Observed<Job>,
    /// Whether it has the upgrade disk.
    pub attached: Observed<bool>,
    /// Its node.
    pub node: Observed<Option<Node>>,
    /// The pods that are still to leave its node; looked at where that is waited for.
    pub drain: Observed<Drain>,
}

/// What a step does to one machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// It is done.
    Done,
    /// Do this.
    Do(Effect),
    /// Wait.
    Wait(Wait),
    /// It failed.
    Failed(String),
}

/// What a step is to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// A job.
    Job,
    /// A job that wants the upgrade disk, which is there for no longer than that.
    JobWithDisk,
    /// A job that replaces the kubelet.
    Kubelet {
        /// Whether its pods leave before that.
        drained: bool,
    },
}

impl Task {
    /// What the step of that phase, or undoing it, is to its machines.
    pub(super) fn of(phase: UpgradePhase, of_pool: bool, undo: bool) -> Self {
        match phase {
            UpgradePhase::Preload => Self::JobWithDisk,
            UpgradePhase::Nodes if !undo => Self::Kubelet { drained: of_pool },
            _ => Self::Job,
        }
    }
}

impl Machine {
    /// Whether the step has been begun on it, as far as that is known: what is not known counts as begun.
    pub(super) fn is_begun(&self) -> bool {
        self.job != Observed::Known(Job::NotStarted)
            || self.attached == Observed::Known(true)
            || matches!(&self.node, Observed::Known(Some(node)) if node.closed_by_us)
    }

    pub(super) fn work(&self, task: Task, to: &str, undo: bool) -> Work {
        match task {
            Task::Job => self.job(),
            Task::JobWithDisk => self.job_with_disk(undo),
            Task::Kubelet { drained } => self.kubelet(to, drained),
        }
    }

    fn job(&self) -> Work {
        match &self.job {
            Observed::Unknown(why) => waits(Reason::WaitingForGuest, format!("{}: {why}", self.name)),
            Observed::Known(Job::NotStarted) => Work::Do(Effect::StartJob),
            Observed::Known(Job::Running) => {
                waits(Reason::Upgrading, format!("the job in {} runs", self.name))
            }
            Observed::Known(Job::Succeeded) => Work::Done,
            Observed::Known(Job::Failed(log)) => Work::Failed(format!("{}: {log}", self.name)),
            Observed::Known(Job::Interrupted) => Work::Failed(format!(
                "{}: the job was cut off, as by a restart of the machine",
                self.name
            )),
        }
    }

    fn job_with_disk(&self, undo: bool) -> Work {
        let attached = match &self.attached {
            Observed::Known(attached) => *attached,
            Observed::Unknown(why) => return waits(Reason::HostUnreachable, format!("{}: {why}", self.name)),
        };
        match self.job() {
            Work::Do(Effect::StartJob) if !attached && !undo => Work::Do(Effect::AttachDisk),
            Work::Done if attached => Work::Do(Effect::DetachDisk),
            other => other,
        }
    }

    fn kubelet(&self, to: &str, drained: bool) -> Work {
        let node = match &self.node {
            Observed::Known(Some(node)) => node,
            Observed::Known(None) => {
                return waits(Reason::NodeNotRegistered, format!("{} has no node", self.name));
            }
            Observed::Unknown(why) => return waits(Reason::ChildUnreachable, why.clone()),
        };
        if node.kubelet == to && node.ready {
            return if node.closed_by_us {
                Work::Do(Effect::Uncordon)
            } else {
                Work::Done
            };
        }
        match self.job() {
            Work::Do(_) if drained => self.drain(node),
            Work::Done if node.kubelet != to => waits(
                Reason::Upgrading,
                format!(
                    "node {} still says that its kubelet is {}",
                    self.name, node.kubelet
                ),
            ),
            Work::Done => waits(Reason::Upgrading, format!("node {} is not Ready yet", self.name)),
            other => other,
        }
    }

    fn drain(&self, node: &Node) -> Work {
        if !node.cordoned {
            return Work::Do(Effect::Cordon);
        }
        match &self.drain {
            Observed::Unknown(why) => waits(Reason::ChildUnreachable, why.clone()),
            Observed::Known(drain) if drain.remaining == 0 => Work::Do(Effect::StartJob),
            Observed::Known(_) => Work::Do(Effect::Evict),
        }
    }
}

fn waits(reason: Reason, message: String) -> Work {
    Work::Wait(Wait::new(reason, message))
}
