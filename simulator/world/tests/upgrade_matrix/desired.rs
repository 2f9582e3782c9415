//! Upgrades that an edited version of the cluster makes.

use rstest::rstest;
use seedbed_simulation::objects::release;
use serde_json::{Value, json};

use super::run::{NEW, OLD, Run, in_time};

/// The version after the new one.
const LAST: &str = "v1.37.1";

impl Run {
    fn edit_version(&self, version: &str) {
        self.world
            .change("DevCluster", "demo", &json!({"version": version}))
            .unwrap();
    }

    /// Since when the cluster is Ready.
    fn ready_since(&self) -> Value {
        let cluster = self.world.get("DevCluster", "demo").unwrap();
        let conditions = cluster["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|c| c["type"] == "Ready").unwrap();
        assert_eq!(ready["status"], "True", "{ready}");
        ready["lastTransitionTime"].clone()
    }

    fn drift(&self) -> Option<String> {
        self.world.condition("DevCluster", "demo", "VersionDrift")
    }
}

#[rstest]
fn one_that_is_set_back_is_undone_before_commit_and_goes_on_after_it(
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
) {
    for (workers, pools) in [(0, 0), (1, 1), (5, 2)] {
        in_time(async {
            let mut run = Run::ready(workers, pools).await;
            run.name = format!("demo-{NEW}");
            run.keep("before");
            run.edit_version(NEW);
            run.until(phase, |run| {
                run.state(phase)
                    .is_some_and(|state| state == "Running" || state == "Succeeded")
            })
            .await;
            run.until("an API that answers", |run| {
                run.world.host().machines.api(run.address()).is_some()
            })
            .await;
            run.keep("meanwhile");
            let passed = run.upgrade()["status"]["undoable"] == "No";
            run.edit_version(OLD);
            run.until("it has ended", Run::has_ended).await;
            let (end, version) = if passed { ("Done", NEW) } else { ("Cancelled", OLD) };
            assert_eq!(run.phase(), end, "{}", run.told());
            run.is_of_one_version(version, &["before", "meanwhile"]).await;
            // What is newer than asked for stays, and is told.
            let drifts = if passed { "True" } else { "False" };
            run.until("the drift is told", |run| run.drift().as_deref() == Some(drifts))
                .await;
            assert_eq!(run.world.all("ClusterUpgrade").len(), 1);
        });
    }
}

#[test]
fn two_minor_versions_follow_one_edit_one_after_the_other() {
    in_time(async {
        let mut run = Run::ready(1, 1).await;
        run.world.create(release(LAST)).unwrap();
        run.keep("before");
        run.name = format!("demo-{NEW}");
        let ready_since = run.ready_since();
        run.edit_version(LAST);
        run.until("the first one is begun", |run| run.phase() == "Snapshot")
            .await;
        assert_eq!(
            run.ready_since(),
            ready_since,
            "an upgrade that is made does not make a cluster less Ready"
        );
        run.until("the first one is under way", |run| run.phase() == "Soak")
            .await;
        run.keep("meanwhile");
        assert_eq!(run.world.all("ClusterUpgrade").len(), 1);
        run.until("the first one is done", |run| run.phase() == "Done")
            .await;
        run.name = format!("demo-{LAST}");
        run.until("the second one is done", |run| run.phase() == "Done")
            .await;
        run.is_of_one_version(LAST, &["before", "meanwhile"]).await;
        run.until("nothing drifts", |run| run.drift().as_deref() == Some("False"))
            .await;
        assert_eq!(run.world.all("ClusterUpgrade").len(), 2);
    });
}
