//! Whatever happens while a step is under way, the upgrade ends.

use rstest::rstest;
use seedbed_simulation::objects::carried_out;

use super::run::{Fault, NEW, OLD, Run, in_time};

/// An upgrade in which that happens when that step has been begun.
async fn try_it(phase: &str, fault: Fault, workers: u64, pools: usize) {
    let mut run = Run::ready(workers, pools).await;
    run.keep("before");
    run.world.create(carried_out("next", "demo", NEW)).unwrap();
    run.until(phase, |run| {
        run.state(phase)
            .is_some_and(|state| state == "Running" || state == "Succeeded")
    })
    .await;
    let passed = run.upgrade()["status"]["undoable"] == "No";
    run.happen(fault).await;
    run.until("an API that answers", |run| {
        run.world.host().machines.api(run.address()).is_some()
    })
    .await;
    run.keep("meanwhile");
    let mut taken_back = false;
    if fault == Fault::FailsForGood {
        run.until(
            "a person is asked, or it is taken back, or there was nothing left to fail",
            |run| ["Stalled", "Undoing", "Done"].contains(&run.phase().as_str()),
        )
        .await;
        taken_back = run.phase() == "Undoing";
        let passed = run.upgrade()["status"]["undoable"] == "No";
        assert_ne!(taken_back, passed, "{}", run.told());
        // Whoever mends what made it fail need not do anything else.
        run.world.host().machines.fail_no_jobs();
    }
    let is_wanted_back = matches!(
        fault,
        Fault::Cancelled | Fault::Deleted | Fault::BothLostAndCancelled
    );
    run.until("it has ended", |run| {
        let upgrade = run.upgrade();
        upgrade.is_null()
            || ["Done", "Cancelled", "RolledBack"].contains(&run.phase().as_str())
                && upgrade["metadata"]["finalizers"]
                    .as_array()
                    .is_none_or(Vec::is_empty)
    })
    .await;
    let goes_back = !passed && is_wanted_back || taken_back;
    let expected = match fault {
        Fault::Deleted => "",
        Fault::Cancelled | Fault::BothLostAndCancelled if !passed => "Cancelled",
        Fault::FailsForGood if taken_back => "RolledBack",
        _ => "Done",
    };
    assert_eq!(run.phase(), expected, "{}", run.told());
    run.is_of_one_version(if goes_back { OLD } else { NEW }, &["before", "meanwhile"])
        .await;
    if fault == Fault::Second {
        // It has nothing to do any more, and says so.
        run.until("the second one has nothing to do", |run| {
            run.world
                .condition("ClusterUpgrade", "second", "Succeeded")
                .as_deref()
                == Some("True")
        })
        .await;
    }
}

#[rstest]
fn each_ends(
    #[values(
        "Snapshot",
        "Preload",
        "ControlPlane",
        "Soak",
        "Commit",
        "Nodes",
        "Addons",
        "Verify"
    )]
    phase: &str,
    #[values(
        Fault::FailsOnce,
        Fault::FailsForGood,
        Fault::FailsLate,
        Fault::Hangs,
        Fault::OperatorKilled,
        Fault::PowerCut,
        Fault::ControlPlaneKilled,
        Fault::WorkerKilled,
        Fault::HostAway,
        Fault::ChildCut,
        Fault::Cancelled,
        Fault::Deleted,
        Fault::Second,
        Fault::StatusLost,
        Fault::JournalLost,
        Fault::BothLost,
        Fault::BothLostAndCancelled
    )]
    fault: Fault,
) {
    for (workers, pools) in [(0, 0), (1, 1), (5, 2)] {
        // Ten workers that hang one after another take days.
        if fault == Fault::Hangs && workers > 1 {
            continue;
        }
        in_time(try_it(phase, fault, workers, pools));
    }
}
