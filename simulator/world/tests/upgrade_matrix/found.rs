//! What seeds found of upgrades, each by itself.

use std::sync::Arc;
use std::time::Duration;

use seedbed_simulation::objects::{cluster, pool, release};
use seedbed_simulation::{Settings, Undisturbed, World};
use seedbed_simulator::Failure;
use serde_json::json;
use tokio::time::sleep;

use super::run::{NEW, OLD, Run, in_time};

#[test]
fn an_upgrade_of_a_cluster_that_is_gone_does_not_count_for_the_next_of_its_name() {
    in_time(async {
        let mut run = Run::begun("Soak", 0, 0, false).await;
        run.world.delete("DevCluster", "demo").unwrap();
        run.until("the cluster is gone", |run| {
            run.world.get("DevCluster", "demo").is_none()
        })
        .await;
        run.world.create(cluster("demo", "local", OLD)).unwrap();
        run.until("the next one is Ready", Run::is_ready).await;
        run.world
            .change("DevCluster", "demo", &json!({"version": NEW}))
            .unwrap();
        run.name = format!("demo-{NEW}");
        run.until("it is upgraded", |run| run.phase() == "Done").await;
        run.is_of_one_version(NEW, &[]).await;
        run.name = "next".to_owned();
        assert_eq!(run.said("Stalled").1, "ClusterNotFound");
    });
}

#[test]
fn a_node_without_a_machine_does_not_hold_up_the_end_of_an_upgrade() {
    in_time(async {
        let run = Run::begun("Nodes", 0, 0, false).await;
        let now = run.world.now();
        run.child().with(|store| {
            let kind = store.kinds().of_plural("nodes").cloned().unwrap();
            let node = json!({
                "metadata": {"name": "stray"},
                "status": {"nodeInfo": {"kubeletVersion": OLD}, "conditions": [{"type": "Ready", "status": "False"}]},
            });
            store.create(&kind, "", node, now).unwrap();
        });
        run.until("it is done", |run| run.phase() == "Done").await;
    });
}

/// A cluster of that version, one of two, with a worker that is being made.
fn being_made(version: &str) -> Run {
    let world = World::new(Settings::new(OLD), Arc::new(Undisturbed));
    let run = Run {
        operator: Some(world.operator()),
        world,
        name: String::new(),
        workers: 1,
        pools: 1,
    };
    run.world.create(release(NEW)).unwrap();
    run.world.create(cluster("demo", "local", version)).unwrap();
    run.world.create(pool("demo-w0", "demo", 1)).unwrap();
    run
}

async fn until_all_are(version: &str, run: &Run) {
    run.until("all are of one version", |run| {
        let machines = run.world.all("DevMachine");
        run.is_ready()
            && machines.len() == 2
            && machines
                .iter()
                .all(|m| m["spec"]["version"] == version && m["status"]["node"]["kubeletVersion"] == version)
    })
    .await;
}

#[test]
fn a_worker_that_never_joined_is_made_anew_for_another_version() {
    in_time(async {
        let run = being_made(OLD);
        let version = |run: &Run| {
            run.world
                .get("DevMachine", "demo-w0-0")
                .map(|m| m["spec"]["version"].clone())
        };
        run.until("the worker is made", |run| version(run).is_some())
            .await;
        assert_eq!(version(&run).unwrap(), OLD);
        run.world
            .change("DevCluster", "demo", &json!({"version": NEW}))
            .unwrap();
        until_all_are(NEW, &run).await;
    });
}

/// A control plane is made anew of another version after a worker has joined it.
fn is_followed(from: &str, to: &str) {
    in_time(async {
        let run = being_made(from);
        // Its API answers, and takes nodes, before it fails.
        let machines = &run.world.host().machines;
        machines.fail_jobs("default.demo-cp-0", 9, Failure::Late);
        run.until("the worker is a node", |run| {
            let worker = run.world.get("DevMachine", "demo-w0-0").unwrap_or_default();
            worker["status"]["node"]["kubeletVersion"] == from
        })
        .await;
        run.world
            .change("DevCluster", "demo", &json!({"version": to}))
            .unwrap();
        machines.fail_no_jobs();
        until_all_are(to, &run).await;
    });
}

#[test]
fn a_worker_that_joined_a_control_plane_that_is_made_anew_of_a_newer_version_follows_it() {
    is_followed(OLD, NEW);
}

#[test]
fn a_worker_that_joined_a_control_plane_that_is_made_anew_of_an_older_version_follows_it() {
    is_followed(NEW, OLD);
}

#[test]
fn a_control_plane_is_not_made_anew_where_all_statuses_are_lost_whatever_has_changed_since() {
    in_time(async {
        let run = being_made(OLD);
        run.until("it is Ready", Run::is_ready).await;
        let files = json!([{"path": "/etc/motd", "content": "hello"}]);
        run.world
            .change("DevCluster", "demo", &json!({"files": files, "version": NEW}))
            .unwrap();
        run.until("it is upgraded", |run| {
            let upgrade = run.world.get("ClusterUpgrade", &format!("demo-{NEW}"));
            upgrade.is_some_and(|upgrade| upgrade["status"]["phase"] == "Done")
        })
        .await;
        run.until("it is Ready", Run::is_ready).await;
        let uid = |run: &Run| {
            run.world
                .get("DevMachine", "demo-cp-0")
                .map(|m| m["metadata"]["uid"].clone())
        };
        let before = uid(&run);
        for kind in ["ClusterUpgrade", "NodePool", "DevMachine", "DevCluster"] {
            for object in run.world.all(kind) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                run.world.lose_status(kind, name).unwrap();
            }
        }
        run.until("it is Ready again", Run::is_ready).await;
        assert_eq!(uid(&run), before);
    });
}

#[test]
fn a_worker_that_has_not_joined_is_waited_for_before_anything_changes() {
    in_time(async {
        let run = Run::begun("Snapshot", 1, 1, false).await;
        // As if it had only just begun to join: nobody can say how far it is.
        run.world.host().machines.set_mute("default.demo-w0-0", true);
        run.world.lose_status("DevMachine", "demo-w0-0").unwrap();
        run.until("it is preloaded", |run| run.phase() == "Preload").await;
        sleep(Duration::from_mins(20)).await;
        assert_eq!(run.phase(), "Preload");
        let told = run.said("Progressing").2;
        assert!(
            told.contains("demo-w0-0: it has not joined the cluster yet"),
            "{told}"
        );
        run.world.host().machines.set_mute("default.demo-w0-0", false);
        run.until("it is done", |run| run.phase() == "Done").await;
        run.is_of_one_version(NEW, &[]).await;
    });
}
