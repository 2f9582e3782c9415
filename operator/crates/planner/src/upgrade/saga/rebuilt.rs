//! An upgrade of which nothing is recorded any more but that it was begun.

use jiff::Timestamp;
use seedbed_crds::{UpgradePhase, UpgradeStep, UpgradeStepState as State};

use super::Saga;

impl Saga {
    /// An upgrade of which nothing else is known than whether it has passed `Commit`. What it may have begun counts as under way: by the
    /// tokens of its attempts, the guests know how each of these went.
    pub fn rebuilt(uid: String, steps: Vec<UpgradeStep>, passed: bool, now: Timestamp) -> Self {
        let last = if passed {
            UpgradePhase::Commit
        } else {
            UpgradePhase::ControlPlane
        };
        let mut saga = Self::begun(uid, steps, now);
        let phases: Vec<_> = saga.steps.iter().map(|step| step.phase).enumerate().collect();
        for (index, phase) in phases {
            if phase > UpgradePhase::Preflight && phase <= last {
                saga = saga.begin(index, false, 1, now);
            }
        }
        for step in &mut saga.steps {
            if passed && step.phase < UpgradePhase::Commit {
                step.state = State::Succeeded;
            }
            if step.phase <= UpgradePhase::Snapshot {
                // When that was is not known: since when writes would be lost is told by it.
                step.started_at = None;
                step.finished_at = None;
            }
        }
        saga
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upgrade::version::Hop;
    use crate::upgrade::{Machines, Version, plan};

    fn rebuilt(passed: bool) -> Saga {
        let machines = Machines {
            cluster: "demo".into(),
            control_planes: vec!["demo-cp-0".into()],
            ..Machines::default()
        };
        let versions = ["v1.35.4", "v1.36.3"].map(|text| Version::parse(text).unwrap());
        let plan = plan(Hop::Minor, versions[0], versions[1], &machines);
        Saga::rebuilt("u".into(), plan.steps, passed, Timestamp::UNIX_EPOCH)
    }

    fn states(saga: &Saga, state: State) -> Vec<UpgradePhase> {
        let found = saga.steps.iter().filter(|step| step.state == state);
        found.map(|step| step.phase).collect()
    }

    #[test]
    fn before_commit_all_that_may_have_been_done_is_looked_at_again_and_can_be_undone() {
        use UpgradePhase::{ControlPlane, Preflight, Preload, Snapshot};
        let mut saga = rebuilt(false);
        assert_eq!(states(&saga, State::Succeeded), [Preflight]);
        assert_eq!(states(&saga, State::Running), [Snapshot, Preload, ControlPlane]);
        assert!(!saga.has_passed());
        saga.undo = Some(seedbed_crds::UpgradeUndo {
            cause: seedbed_crds::UndoCause::Cancelled,
            message: String::new(),
            since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
            writes_lost_since: None,
            reverted_disks: Vec::new(),
        });
        let first = saga.current().and_then(|index| saga.steps.get(index)).unwrap();
        assert_eq!(first.phase, ControlPlane);
    }

    #[test]
    fn after_commit_nothing_before_it_is_done_again() {
        let saga = rebuilt(true);
        assert_eq!(states(&saga, State::Running), [UpgradePhase::Commit]);
        assert_eq!(states(&saga, State::Succeeded).len(), 5);
        assert!(saga.has_passed());
    }

    #[test]
    fn when_the_snapshot_was_taken_is_not_known() {
        for passed in [false, true] {
            assert_eq!(rebuilt(passed).snapshot_since(), None);
        }
    }
}
