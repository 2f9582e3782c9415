//! Going back past the point of no return: by the snapshot that was taken before it.
//!
//! Steps are undone in reverse order here too, each by what it takes once etcd is to be restored. The last one of the plan looks at the
//! snapshot first, so that nothing is touched where there is nothing to go back to. Kubelets go back before the API server does, because
//! none may be newer than it. They do so in place: what a drain would write is lost, and what it would ask may be what is broken. What
//! lives in etcd, such as the add-ons, comes back with it.
//!
//! Where the snapshot in a guest cannot be used, or the guest does not come up, and its host has kept its disk as it was then, the disk is
//! taken back: when the kubelets are back, since the API server of before comes up with it, and before etcd is restored from the snapshot
//! that is on that disk.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use seedbed_crds::{UndoCause, UpgradePhase, UpgradeStep, UpgradeStepState as State};

use super::{Saga, Seen};

/// How a step after the point of no return is undone.
fn compensation(phase: UpgradePhase) -> Option<&'static str> {
    Some(match phase {
        UpgradePhase::Commit => {
            "restore etcd from the snapshot, and put the manifests of before back; what was written since the snapshot is lost"
        }
        UpgradePhase::Etcd => "nothing by itself: it is restored with the snapshot",
        UpgradePhase::Nodes => "put the kubelets of before back, without a drain",
        UpgradePhase::Addons => "nothing by itself: they come back with etcd's data",
        UpgradePhase::Verify => {
            "look whether the snapshot is whole, and make ready what etcd is restored to; nothing is touched before that. Where the snapshot cannot be used, and the disk was kept, the disk is taken back with Commit"
        }
        _ => return None,
    })
}

/// Whether a person took the wish back while there was still nothing done of it: the snapshot cannot be restored.
pub(super) fn is_taken_back(saga: &Saga, step: &UpgradeStep, seen: &Seen) -> bool {
    saga.is_restored() && !seen.restores && step.phase == UpgradePhase::Verify
}

impl Saga {
    /// Whether it is undone by restoring the snapshot, or was.
    pub fn is_restored(&self) -> bool {
        let cause = self.undo.as_ref().map(|undo| undo.cause);
        cause == Some(UndoCause::FailedAfterCommit)
    }

    /// Since when what is written is lost where the snapshot is restored: no later than it was taken.
    pub fn snapshot_since(&self) -> Option<Time> {
        let at = self
            .steps
            .iter()
            .position(|step| step.phase == UpgradePhase::Snapshot)?;
        let step = self.steps.get(at)?;
        if step.attempt == 1 {
            return step.started_at.clone();
        }
        // An attempt that failed may have taken it all the same.
        let before = self.steps.get(at.checked_sub(1)?)?;
        before.finished_at.clone()
    }

    /// Whether something is done to undo a step of that phase.
    pub(super) fn undoes_by_doing(&self, phase: UpgradePhase) -> bool {
        match phase {
            UpgradePhase::Preflight | UpgradePhase::Soak => false,
            UpgradePhase::Etcd | UpgradePhase::Addons => !self.is_restored(),
            _ => true,
        }
    }

    /// It failed for good, and is undone as far as it got.
    pub(super) fn given_up(&self, why: String, now: Timestamp) -> Self {
        if !self.has_passed() {
            return self.undone_because(UndoCause::StepFailed, why, now);
        }
        let since = self.snapshot_since();
        let told = since
            .as_ref()
            .map(|at| at.0.strftime(" since %Y-%m-%dT%H:%M:%SZ").to_string());
        let message = format!(
            "{why}; the snapshot is restored, and what was written{} is lost",
            told.unwrap_or_else(|| " since it was taken".to_owned())
        );
        let mut next = self.undone_because(UndoCause::FailedAfterCommit, message, now);
        if let Some(undo) = &mut next.undo {
            undo.writes_lost_since = since;
        }
        for step in &mut next.steps {
            if let Some(how) = compensation(step.phase) {
                step.compensation = Some(how.to_owned());
            }
        }
        let last = next
            .steps
            .iter()
            .rposition(|step| step.phase == UpgradePhase::Verify);
        match last.and_then(|index| Some((index, next.steps.get(index)?.attempt))) {
            Some((index, attempt)) => next.begin(index, true, attempt + 1, now),
            None => next,
        }
    }

    /// The same with it written down that the machine's disk is to be taken back, and why.
    pub(super) fn reverting(&self, machine: String, why: &str) -> Self {
        let mut next = self.clone();
        next.transitions += 1;
        if let Some(undo) = &mut next.undo {
            undo.message = format!(
                "{}; the snapshot on {machine} cannot be used ({why}): its disk is taken back to when that was taken",
                undo.message
            );
            undo.reverted_disks.push(machine);
        }
        next
    }

    /// Whether the machine's disk is to be taken back, or was.
    pub fn reverts(&self, machine: &str) -> bool {
        let undo = self.undo.as_ref();
        undo.is_some_and(|undo| undo.reverted_disks.iter().any(|name| name == machine))
    }

    /// It goes on as if nobody had wanted it restored.
    pub(super) fn resumed(&self, index: usize) -> Self {
        let mut next = self.with(index, |step| {
            step.state = State::Planned;
            step.failure = None;
        });
        next.undo = None;
        for step in &mut next.steps {
            if compensation(step.phase).is_some() {
                step.compensation = None;
            }
        }
        next
    }
}
