//! What seeds found of upgrades, each by itself.

use std::sync::Arc;

use seedbed_simulation::objects::{cluster, pool, release};
use seedbed_simulation::{Settings, Undisturbed, World};
use serde_json::json;

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

#[test]
fn a_worker_that_never_joined_is_made_anew_for_another_version() {
    in_time(async {
        let world = World::new(Settings::new(OLD), Arc::new(Undisturbed));
        let run = Run {
            operator: Some(world.operator()),
            world,
            name: String::new(),
            workers: 1,
            pools: 1,
        };
        run.world.create(release(NEW)).unwrap();
        run.world.create(cluster("demo", "local", OLD)).unwrap();
        run.world.create(pool("demo-w0", "demo", 1)).unwrap();
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
        run.until("all are of the new version", |run| {
            run.is_ready()
                && run
                    .world
                    .all("DevMachine")
                    .iter()
                    .all(|m| m["spec"]["version"] == NEW)
        })
        .await;
    });
}
