//! Upgrades that fail after their point of no return, and are taken back by the snapshot.

use std::time::Duration;

use rstest::rstest;
use seedbed_simulator::Timing;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::run::{Fault, NEW, OLD, Run, in_time};

impl Run {
    /// The snapshot was restored, all that was written before it is there, and what is lost was told.
    pub async fn is_restored(&self) {
        self.is_of_one_version(OLD, &["before"]).await;
        assert!(!self.is_kept("meanwhile"), "{}", self.told());
        assert_eq!(self.phase(), "RolledBack", "{}", self.told());
        let restores = self.world.host().machines.restores();
        assert!(!restores.is_empty());
        let told = self.upgrade()["status"]["undo"]["writesLostSince"].clone();
        let told: jiff::Timestamp = told.as_str().unwrap().parse().unwrap();
        assert!(told <= restores[0].taken, "{told} is later than the snapshot");
        let (status, reason, message) = self.said("Succeeded");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", "RestoredFromSnapshot")
        );
        assert!(
            message.contains(&format!("what was written since {told} is lost")),
            "{message}"
        );
        let (status, reason, _) = self.said("PointOfNoReturnPassed");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", "RestoredFromSnapshot")
        );
        assert!(self.upgrade()["status"]["undoable"].is_null());
    }
}

async fn restore_it(phase: &str, fault: Fault, workers: u64, pools: usize) {
    let mut run = Run::begun(phase, workers, pools, true).await;
    run.until("it cannot be undone", |run| {
        run.upgrade()["status"]["undoable"] == "No"
    })
    .await;
    run.until("an API that answers", |run| {
        run.world.host().machines.api(run.address()).is_some()
    })
    .await;
    let (_, _, message) = run.said("PointOfNoReturnPassed");
    assert!(
        message.contains("the snapshot is restored, and what was written since"),
        "{message}"
    );
    run.keep("meanwhile");
    run.happen(fault).await;
    run.until("it is undone", |run| run.phase() == "Undoing").await;
    run.world.host().machines.fail_no_jobs();
    if fault == Fault::RestoresWhileKilled {
        while !run.has_ended() {
            run.happen(Fault::OperatorKilled).await;
            sleep(Duration::from_secs(5)).await;
        }
    }
    run.until("it has ended", Run::has_ended).await;
    run.is_restored().await;
}

#[rstest]
fn each_that_fails_after_commit_is_restored(
    #[values("Commit", "Nodes", "Addons")] phase: &str,
    #[values(Fault::Restores, Fault::RestoresWhileKilled)] fault: Fault,
) {
    for (workers, pools) in [(0, 0), (1, 1), (3, 2)] {
        in_time(restore_it(phase, fault, workers, pools));
    }
}

#[test]
fn each_transition_there_and_back_is_an_event() {
    in_time(async {
        let mut run = Run::begun("Addons", 1, 1, true).await;
        run.happen(Fault::Restores).await;
        run.until("it is undone", |run| run.phase() == "Undoing").await;
        run.world.host().machines.fail_no_jobs();
        run.until("it has ended", Run::has_ended).await;
        let events = run.world.events();
        let told = |note: &str| {
            let of_it = |event: &&Value| event["regarding"]["name"] == run.name.as_str();
            let notes = events
                .iter()
                .filter(of_it)
                .filter_map(|event| event["note"].as_str());
            notes.filter(|told| told.starts_with(note)).count()
        };
        for step in run.upgrade()["status"]["steps"].as_array().unwrap() {
            let id = step["id"].as_str().unwrap();
            let mut expected = vec![format!("{id}: undone")];
            // The preflight is done before there is anything to tell of; what failed was never done, and what follows not begun.
            if !["Preflight", "Verify"].contains(&id) {
                expected.push(format!("{id}: begun (attempt 1)"));
            }
            if !["Preflight", "Addons", "Verify"].contains(&id) {
                expected.push(format!("{id}: done"));
            }
            for note in expected {
                assert_eq!(told(&note), 1, "{note}: {events:#?}");
            }
        }
        assert_eq!(told("Addons: attempt 3 failed"), 1);
        assert_eq!(told("everything is as it was when the snapshot was taken"), 1);
    });
}

/// What happens while it is restored changes nothing of how it ends.
#[rstest]
fn a_restore_ends_whatever_happens_meanwhile(
    #[values("Verify", "Nodes", "Commit", "ControlPlane", "Preload", "Snapshot")] phase: &str,
    #[values(
        Fault::FailsOnce,
        Fault::FailsLate,
        Fault::PowerCut,
        Fault::HostAway,
        Fault::ChildCut,
        Fault::Cancelled,
        Fault::Second,
        Fault::StatusLost,
        Fault::JournalLost
    )]
    fault: Fault,
) {
    in_time(async {
        let mut run = Run::begun("Addons", 1, 1, true).await;
        run.keep("meanwhile");
        run.happen(Fault::Restores).await;
        run.until("it is undone", |run| run.phase() == "Undoing").await;
        run.world.host().machines.fail_no_jobs();
        run.until("the step is undone", |run| {
            let state = run.state(phase);
            state.is_some_and(|state| ["Undoing", "Undone"].contains(&state.as_str()))
        })
        .await;
        run.happen(fault).await;
        run.until("it has ended", Run::has_ended).await;
        run.world.delete("ClusterUpgrade", "second").ok();
        run.is_restored().await;
    });
}

#[test]
fn a_cluster_that_is_not_well_at_the_end_is_restored() {
    in_time(async {
        let run = Run::begun("Nodes", 1, 1, true).await;
        let machines = &run.world.host().machines;
        machines.set_timing(Timing {
            addons: Duration::from_mins(5),
            ..Timing::default()
        });
        run.until("the add-ons are replaced", |run| {
            run.state("Addons").as_deref() == Some("Running")
        })
        .await;
        run.keep("meanwhile");
        machines.set_isolated("default.demo-w0-0", true);
        run.until("it is looked at", |run| {
            run.state("Verify").as_deref() == Some("Running")
        })
        .await;
        sleep(Duration::from_mins(10)).await;
        assert_eq!(run.state("Verify").as_deref(), Some("Running"));
        run.until("it is undone", |run| run.phase() == "Undoing").await;
        machines.set_isolated("default.demo-w0-0", false);
        run.until("it has ended", Run::has_ended).await;
        run.is_restored().await;
    });
}

#[test]
fn one_that_is_stalled_after_commit_is_restored_once_a_person_says_so() {
    in_time(async {
        let mut run = Run::begun("Addons", 1, 1, false).await;
        run.keep("meanwhile");
        run.happen(Fault::Restores).await;
        run.until("a person is asked", |run| run.phase() == "Stalled")
            .await;
        sleep(Duration::from_mins(30)).await;
        assert_eq!(run.phase(), "Stalled");
        run.world
            .change(
                "ClusterUpgrade",
                &run.name,
                &json!({"onFailureAfterCommit": "RestoreSnapshot"}),
            )
            .unwrap();
        run.until("it is undone", |run| run.phase() == "Undoing").await;
        run.world.host().machines.fail_no_jobs();
        run.until("it has ended", Run::has_ended).await;
        run.is_restored().await;
    });
}

#[test]
fn where_the_snapshot_is_damaged_the_disk_that_was_kept_is_taken_back() {
    in_time(async {
        let mut run = Run::begun("Addons", 1, 1, true).await;
        run.keep("meanwhile");
        run.world.host().machines.damage_snapshots("default.demo-cp-0");
        run.happen(Fault::Restores).await;
        run.until("it is undone", |run| run.phase() == "Undoing").await;
        run.world.host().machines.fail_no_jobs();
        run.until("it has ended", Run::has_ended).await;
        run.is_restored().await;
        let undo = &run.upgrade()["status"]["undo"];
        assert_eq!(undo["revertedDisks"], json!(["demo-cp-0"]));
        let message = undo["message"].as_str().unwrap();
        assert!(message.contains("the snapshot is damaged"), "{message}");
        assert!(message.contains("its disk is taken back"), "{message}");
    });
}

#[test]
fn where_the_snapshot_is_damaged_and_no_disk_is_kept_nothing_is_touched_and_the_wish_can_be_taken_back() {
    in_time(async {
        let mut run = Run::ready(1, 1).await;
        run.world.host().simulated.set_keeps_disks(false);
        run.begin("Addons", true).await;
        run.keep("meanwhile");
        run.world.host().machines.damage_snapshots("default.demo-cp-0");
        run.happen(Fault::Restores).await;
        run.until("it is undone", |run| run.phase() == "Undoing").await;
        run.world.host().machines.fail_no_jobs();
        run.until("a person is asked", |run| run.phase() == "Stalled")
            .await;
        let (_, reason, message) = run.said("Stalled");
        assert_eq!(reason, "UndoFailed");
        assert!(
            message.contains("the snapshot is damaged; nothing was touched"),
            "{message}"
        );
        let states = ["Commit", "Nodes"].map(|phase| run.state(phase).unwrap());
        assert_eq!(states, ["Succeeded", "Succeeded"]);
        run.world
            .change(
                "ClusterUpgrade",
                &run.name,
                &json!({"onFailureAfterCommit": "Stall"}),
            )
            .unwrap();
        run.until("it has ended", Run::has_ended).await;
        assert_eq!(run.phase(), "Done", "{}", run.told());
        run.is_of_one_version(NEW, &["before", "meanwhile"]).await;
        assert_eq!(run.world.host().machines.restores().len(), 0);
    });
}
