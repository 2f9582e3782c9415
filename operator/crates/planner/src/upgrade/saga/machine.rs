//! What a step does to one machine.

use jiff::SignedDuration;
use seedbed_crds::UpgradePhase;
use seedbed_crds::reasons::Reason;

use super::{MAX_ATTEMPTS, Wait};
use crate::Observed;
use crate::machine::Drain;
use crate::upgrade::effect::Effect;

/// How long a guest may be silent before its disk is taken back: a machine with a broken disk does not come up.
const ANSWERS_WITHIN: SignedDuration = SignedDuration::from_mins(15);

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
    /// Whether its disk is kept as it was when the snapshot was taken; none where its host cannot do that.
    pub kept: Observed<Option<bool>>,
    /// Whether it was written down that its disk is to be taken back.
    pub reverts: bool,
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
    /// It failed, and its disk is to be taken back instead: why.
    Revert(String),
    /// It failed.
    Failed(String),
}

/// How long, and how often, a step has been tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tried {
    /// For how long the present attempt has.
    pub(super) since: SignedDuration,
    /// Which attempt that is.
    pub(super) attempt: i32,
}

/// What a step is to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// A job.
    Job,
    /// A job that wants the upgrade disk, which is there for no longer than that.
    JobWithDisk,
    /// A job, and then the disk is kept.
    JobThenKept,
    /// What was written since the disk was kept is put into it, and then there is a job.
    MergedThenJob,
    /// A job; and where it cannot do what it is for, the disk is to be taken back instead.
    JobOrRevert,
    /// The same, for which the disk is taken back first where it is to be.
    RevertedThenJob,
    /// A job, which is not needed where the disk is to be taken back.
    JobUnlessReverted,
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
            UpgradePhase::Snapshot if undo => Self::MergedThenJob,
            UpgradePhase::Snapshot => Self::JobThenKept,
            UpgradePhase::Verify => Self::JobOrRevert,
            UpgradePhase::Commit if undo => Self::RevertedThenJob,
            UpgradePhase::Nodes if undo => Self::JobUnlessReverted,
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

    /// Whether its disk is to be merged, where that has to be known: what is done, or waited for, then.
    pub(super) fn merge(&self) -> Option<Work> {
        match &self.kept {
            Observed::Known(Some(true)) => Some(Work::Do(Effect::MergeDisk)),
            Observed::Known(_) => None,
            Observed::Unknown(why) => Some(self.host_is_away(why)),
        }
    }

    pub(super) fn work(&self, task: Task, to: &str, undo: bool, tried: Tried) -> Work {
        match task {
            Task::JobWithDisk => self.job_with_disk(undo),
            Task::JobThenKept => self.job_then_kept(),
            Task::MergedThenJob => self.merge().unwrap_or_else(|| self.job()),
            Task::RevertedThenJob if self.reverts => self.reverted_then_job(),
            Task::JobUnlessReverted if self.reverts => Work::Done,
            Task::JobOrRevert | Task::RevertedThenJob => self.job_or_revert(tried),
            Task::Job | Task::JobUnlessReverted => self.job(),
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

    fn job_then_kept(&self) -> Work {
        match (self.job(), &self.kept) {
            // One that was kept for an upgrade before this one is of no use to it.
            (Work::Do(Effect::StartJob), _) => self.merge().unwrap_or(Work::Do(Effect::StartJob)),
            (Work::Done, Observed::Known(Some(false))) => Work::Do(Effect::KeepDisk),
            (Work::Done, Observed::Unknown(why)) => self.host_is_away(why),
            (other, _) => other,
        }
    }

    fn job_or_revert(&self, tried: Tried) -> Work {
        match &self.job {
            _ if self.reverts => Work::Done,
            _ if self.kept != Observed::Known(Some(true)) => self.job(),
            Observed::Known(Job::Failed(log)) if tried.attempt >= MAX_ATTEMPTS => Work::Revert(log.clone()),
            Observed::Unknown(why) if tried.since >= ANSWERS_WITHIN => Work::Revert(why.clone()),
            _ => self.job(),
        }
    }

    fn reverted_then_job(&self) -> Work {
        match &self.kept {
            Observed::Known(Some(true)) => Work::Do(Effect::RevertDisk),
            Observed::Known(_) => self.job(),
            Observed::Unknown(why) => self.host_is_away(why),
        }
    }

    fn host_is_away(&self, why: &str) -> Work {
        waits(Reason::HostUnreachable, format!("{}: {why}", self.name))
    }

    fn job_with_disk(&self, undo: bool) -> Work {
        let attached = match &self.attached {
            Observed::Known(attached) => *attached,
            Observed::Unknown(why) => return self.host_is_away(why),
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
            return match &self.job {
                // A control plane's waits for what a new kubelet does to its static pods.
                Observed::Known(Job::Running) => self.job(),
                _ if node.closed_by_us => Work::Do(Effect::Uncordon),
                _ => Work::Done,
            };
        }
        match self.job() {
            // One that has its new kubelet already, and lost its power since, has nothing to make room for.
            Work::Do(_) if drained && node.kubelet != to => self.drain(node),
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
