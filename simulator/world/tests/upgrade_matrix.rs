//! Every step of an upgrade, and whatever can happen while it is under way: each upgrade ends, the cluster is then of one version,
//! and nobody has edited an object to get on.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use seedbed_simulated_api::ApiServer;
use seedbed_simulation::objects::{carried_out, cluster, pool, release};
use seedbed_simulation::{Operator, Settings, Undisturbed, World};
use seedbed_simulator::{Failure, Timing};
use serde_json::{Value, json};
use tokio::time::sleep;

const OLD: &str = "v1.35.4";
const NEW: &str = "v1.36.3";

/// What happens while a step is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The step's job fails once.
    FailsOnce,
    /// It fails whenever it is tried.
    FailsForGood,
    /// The same, where the snapshot is restored then.
    Restores,
    /// The same, and the operator is killed again and again meanwhile.
    RestoresWhileKilled,
    /// It fails once, after it did its work.
    FailsLate,
    /// The operator is killed.
    OperatorKilled,
    /// All machines lose their power.
    PowerCut,
    /// The host cannot be reached for a while.
    HostAway,
    /// The child's API cannot be reached for a while.
    ChildCut,
    /// A person cancels it.
    Cancelled,
    /// A person deletes it.
    Deleted,
    /// Another upgrade is filed.
    Second,
    /// The status is lost, as by a restore from a backup.
    StatusLost,
    /// The journal is deleted.
    JournalLost,
    /// Both.
    BothLost,
    /// Both, and a person cancels it then.
    BothLostAndCancelled,
}

struct Run {
    world: World,
    operator: Option<Operator>,
    workers: u64,
    pools: usize,
}

impl Run {
    async fn ready(workers: u64, pools: usize) -> Self {
        let world = World::new(Settings::new(OLD), Arc::new(Undisturbed));
        let run = Self {
            operator: Some(world.operator()),
            world,
            workers,
            pools,
        };
        run.world.create(release(NEW)).unwrap();
        run.world.create(cluster("demo", "local", OLD)).unwrap();
        for index in 0..pools {
            run.world
                .create(pool(&format!("demo-w{index}"), "demo", workers))
                .unwrap();
        }
        run.until("Ready", Self::is_ready).await;
        run
    }

    fn is_ready(&self) -> bool {
        let ready = |kind: &str, object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            self.world.condition(kind, name, "Ready").as_deref() == Some("True")
        };
        ["DevCluster", "NodePool", "DevMachine"]
            .iter()
            .all(|kind| self.world.all(kind).iter().all(|object| ready(kind, object)))
    }

    /// Waits for it, an hour at most.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..7200 {
            if is_so(self) {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
        panic!("{what}: not so after an hour; {}", self.told());
    }

    fn told(&self) -> String {
        let told: Vec<_> = self
            .world
            .all("ClusterUpgrade")
            .iter()
            .map(|u| {
                let steps = u["status"]["steps"].as_array().cloned().unwrap_or_default();
                let steps: Vec<_> = steps
                    .iter()
                    .map(|s| format!("{} {} {} {}", s["id"], s["state"], s["attempt"], s["failure"]))
                    .collect();
                format!(
                    "{}\n{:#}\n{}",
                    u["metadata"],
                    u["status"]["conditions"],
                    steps.join("\n")
                )
            })
            .collect();
        format!("{}\n{}", told.join("\n"), self.world.told())
    }

    fn upgrade(&self, name: &str) -> Value {
        self.world.get("ClusterUpgrade", name).unwrap_or_default()
    }

    fn phase(&self, name: &str) -> String {
        self.upgrade(name)["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn state(&self, phase: &str) -> Option<String> {
        let upgrade = self.upgrade("next");
        let steps = upgrade["status"]["steps"].as_array()?;
        let states = steps.iter().filter(|step| step["phase"] == phase);
        let mut states = states.map(|step| step["state"].as_str().unwrap_or_default().to_owned());
        // The last one of several: whatever comes before it is through.
        states.next_back()
    }

    fn address(&self) -> Ipv4Addr {
        let cluster = self.world.get("DevCluster", "demo").unwrap();
        let endpoint = cluster["status"]["endpoint"].as_str().unwrap();
        let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
        address.parse().unwrap()
    }

    fn child(&self) -> ApiServer {
        self.world
            .host()
            .machines
            .api(self.address())
            .expect("an API that answers")
    }

    fn keep(&self, name: &str) {
        let now = self.world.now();
        self.child().with(|store| {
            let kind = store.kinds().of_plural("configmaps").cloned().unwrap();
            store
                .create(&kind, "default", json!({"metadata": {"name": name}}), now)
                .unwrap();
        });
    }

    fn is_kept(&self, name: &str) -> bool {
        self.child().with(|store| {
            let kind = store.kinds().of_plural("configmaps").cloned().unwrap();
            store.get(&kind, "default", name).is_ok()
        })
    }

    fn machines(&self) -> Vec<String> {
        let all = self.world.all("DevMachine");
        all.iter()
            .map(|m| format!("default.{}", m["metadata"]["name"].as_str().unwrap()))
            .collect()
    }

    /// Has it happen.
    async fn happen(&mut self, fault: Fault) {
        let host = self.world.host();
        let fail = |times, failure| {
            for domain in self.machines() {
                host.machines.fail_jobs(&domain, times, failure);
            }
        };
        match fault {
            Fault::FailsOnce => fail(1, Failure::Preflight),
            Fault::FailsLate => fail(1, Failure::Late),
            Fault::FailsForGood => fail(1000, Failure::Preflight),
            Fault::Restores | Fault::RestoresWhileKilled => {
                fail(1000, Failure::Preflight);
                // The one that runs already fails, too.
                host.simulated.lose_power("default.demo-cp-0");
            }
            Fault::OperatorKilled => {
                if let Some(operator) = self.operator.take() {
                    operator.kill();
                }
                sleep(Duration::from_secs(7)).await;
                self.operator = Some(self.world.operator());
            }
            Fault::PowerCut => {
                for domain in self.machines() {
                    host.simulated.lose_power(&domain);
                }
            }
            Fault::HostAway => {
                let name = self.world.hosts().keys().next().unwrap().clone();
                self.world.set_connection(&name, true);
                sleep(Duration::from_secs(40)).await;
                self.world.set_connection(&name, false);
            }
            Fault::ChildCut => {
                let address = self.address();
                self.world.set_cut(address, true);
                sleep(Duration::from_secs(90)).await;
                self.world.set_cut(address, false);
            }
            Fault::Cancelled => {
                self.world
                    .change("ClusterUpgrade", "next", &json!({"cancel": true}))
                    .unwrap();
            }
            Fault::Deleted => _ = self.world.delete("ClusterUpgrade", "next").unwrap(),
            Fault::Second => _ = self.world.create(carried_out("second", "demo", NEW)).unwrap(),
            Fault::StatusLost => self.lose_status(),
            Fault::JournalLost => _ = self.world.delete("ConfigMap", "demo-upgrade"),
            Fault::BothLost => self.lose_both().await,
            Fault::BothLostAndCancelled => {
                self.lose_both().await;
                Box::pin(self.happen(Fault::Cancelled)).await;
            }
        }
    }

    /// With nobody there who could write the one from the other in between.
    async fn lose_both(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.kill();
        }
        self.lose_status();
        let _ = self.world.delete("ConfigMap", "demo-upgrade");
        sleep(Duration::from_secs(7)).await;
        self.operator = Some(self.world.operator());
    }

    fn lose_status(&self) {
        let kind = self.world.kind("ClusterUpgrade");
        let none = json!({"status": null});
        self.world.api().with(|store| {
            store
                .merge(
                    &kind,
                    seedbed_simulation::NAMESPACE,
                    "next",
                    &none,
                    seedbed_simulated_api::Subresource::Status,
                )
                .unwrap();
        });
    }

    /// The cluster is of one version, with all that it had, and nothing is left of the upgrade in the seed, on the host or on a node.
    async fn is_of_one_version(&self, version: &str, kept: &[&str]) {
        self.until("the cluster is Ready", Self::is_ready).await;
        let machines = &self.world.host().machines;
        let minor = version.trim_start_matches("v1.").split('.').next().unwrap();
        let (found, emulated) = machines.control_plane_version(self.address()).unwrap();
        assert_eq!(found, version);
        assert!(
            emulated.as_deref().is_none_or(|e| e == format!("1.{minor}")),
            "still emulating {emulated:?}"
        );
        let kubelets = machines.kubelets(self.address());
        assert_eq!(
            kubelets.len(),
            1 + self.pools * usize::try_from(self.workers).unwrap()
        );
        for (node, kubelet) in kubelets {
            assert_eq!(kubelet, version, "{node}");
        }
        self.child().with(|store| {
            let kind = store.kinds().of_plural("nodes").cloned().unwrap();
            for node in store.list(&kind, "", &seedbed_simulated_api::Selector::default()) {
                assert_ne!(node["spec"]["unschedulable"], true, "{node}");
                assert!(
                    node["metadata"]["annotations"]["seedbed.dev/closed-by"].is_null(),
                    "{node}"
                );
            }
        });
        for domain in self.machines() {
            assert!(
                self.world.host().simulated.attached(&domain).is_empty(),
                "{domain}"
            );
        }
        assert!(
            self.world.get("ConfigMap", "demo-upgrade").is_none(),
            "the journal is left"
        );
        for name in kept {
            assert!(self.is_kept(name), "what was written {name} is lost");
        }
    }
}

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
    let passed = run.upgrade("next")["status"]["undoable"] == "No";
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
            |run| ["Stalled", "Undoing", "Done"].contains(&run.phase("next").as_str()),
        )
        .await;
        taken_back = run.phase("next") == "Undoing";
        let passed = run.upgrade("next")["status"]["undoable"] == "No";
        assert_ne!(taken_back, passed, "{}", run.told());
        // Whoever mends what made it fail need not do anything else.
        run.world.host().machines.fail_no_jobs();
    }
    let is_wanted_back = matches!(
        fault,
        Fault::Cancelled | Fault::Deleted | Fault::BothLostAndCancelled
    );
    run.until("it has ended", |run| {
        let upgrade = run.upgrade("next");
        upgrade.is_null()
            || ["Done", "Cancelled", "RolledBack"].contains(&run.phase("next").as_str())
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
    assert_eq!(run.phase("next"), expected, "{}", run.told());
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

fn in_time(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work);
}

impl Run {
    /// An upgrade whose step has been begun, and that is restored where it fails, if that is said at first.
    async fn begun(phase: &str, workers: u64, pools: usize, restores: bool) -> Self {
        let run = Self::ready(workers, pools).await;
        run.keep("before");
        let mut upgrade = carried_out("next", "demo", NEW);
        if restores {
            upgrade["spec"]["onFailureAfterCommit"] = "RestoreSnapshot".into();
        }
        run.world.create(upgrade).unwrap();
        run.until(phase, |run| {
            run.state(phase)
                .is_some_and(|state| state == "Running" || state == "Succeeded")
        })
        .await;
        run
    }

    /// Whether nothing is left to do for it.
    fn has_ended(&self) -> bool {
        let upgrade = self.upgrade("next");
        let holds_nothing = upgrade["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty);
        ["Done", "Cancelled", "RolledBack"].contains(&self.phase("next").as_str()) && holds_nothing
    }

    fn said(&self, type_: &str) -> (String, String, String) {
        let upgrade = self.upgrade("next");
        let conditions = upgrade["status"]["conditions"].as_array().cloned();
        let found = conditions
            .unwrap_or_default()
            .into_iter()
            .find(|c| c["type"] == type_);
        let found = found.unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// The snapshot was restored once, all that was written before it is there, and what is lost was told.
    async fn is_restored(&self) {
        self.is_of_one_version(OLD, &["before"]).await;
        assert!(!self.is_kept("meanwhile"), "{}", self.told());
        assert_eq!(self.phase("next"), "RolledBack", "{}", self.told());
        let restores = self.world.host().machines.restores();
        assert_eq!(restores.len(), 1);
        let told = self.upgrade("next")["status"]["undo"]["writesLostSince"].clone();
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
        assert!(self.upgrade("next")["status"]["undoable"].is_null());
    }
}

async fn restore_it(phase: &str, fault: Fault, workers: u64, pools: usize) {
    let mut run = Run::begun(phase, workers, pools, true).await;
    run.until("it cannot be undone", |run| {
        run.upgrade("next")["status"]["undoable"] == "No"
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
    run.until("it is undone", |run| run.phase("next") == "Undoing")
        .await;
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
        run.until("it is undone", |run| run.phase("next") == "Undoing")
            .await;
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
        run.until("it is undone", |run| run.phase("next") == "Undoing")
            .await;
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
        run.until("a person is asked", |run| run.phase("next") == "Stalled")
            .await;
        sleep(Duration::from_mins(30)).await;
        assert_eq!(run.phase("next"), "Stalled");
        run.world
            .change(
                "ClusterUpgrade",
                "next",
                &json!({"onFailureAfterCommit": "RestoreSnapshot"}),
            )
            .unwrap();
        run.until("it is undone", |run| run.phase("next") == "Undoing")
            .await;
        run.world.host().machines.fail_no_jobs();
        run.until("it has ended", Run::has_ended).await;
        run.is_restored().await;
    });
}

#[test]
fn where_the_snapshot_is_damaged_nothing_is_touched_and_the_wish_can_be_taken_back() {
    in_time(async {
        let mut run = Run::begun("Addons", 1, 1, true).await;
        run.keep("meanwhile");
        run.world.host().machines.damage_snapshots("default.demo-cp-0");
        run.happen(Fault::Restores).await;
        run.until("it is undone", |run| run.phase("next") == "Undoing")
            .await;
        run.world.host().machines.fail_no_jobs();
        run.until("a person is asked", |run| run.phase("next") == "Stalled")
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
                "next",
                &json!({"onFailureAfterCommit": "Stall"}),
            )
            .unwrap();
        run.until("it has ended", Run::has_ended).await;
        assert_eq!(run.phase("next"), "Done", "{}", run.told());
        run.is_of_one_version(NEW, &["before", "meanwhile"]).await;
        assert_eq!(run.world.host().machines.restores().len(), 0);
    });
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
        Fault::OperatorKilled,
        Fault::PowerCut,
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
        in_time(try_it(phase, fault, workers, pools));
    }
}
