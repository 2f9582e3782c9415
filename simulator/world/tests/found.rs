//! What the simulation found, each by itself.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seedbed_simulation::objects::{cluster, pool};
use seedbed_simulation::{Delivery, Director, Fate, Settings, Step, Undisturbed, World};
use serde_json::Value;
use tokio::time::sleep;

const VERSION: &str = "v1.35.4";

fn world() -> World {
    World::new(Settings::new(VERSION), Arc::new(Undisturbed))
}

async fn until(world: &World, what: &str, is_so: impl AsyncFnMut(&World) -> bool) {
    let told = world.within(Duration::from_mins(30), is_so).await;
    assert!(told, "{what}: not so after half an hour; found {}", world.told());
}

fn is_ready(world: &World, cluster: &str) -> bool {
    world.condition("DevCluster", cluster, "Ready").as_deref() == Some("True")
}

fn reason(world: &World, kind: &str, name: &str, type_: &str) -> Value {
    let object = world.get(kind, name).unwrap();
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|c| c["type"] == type_).unwrap()["reason"].clone()
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_deleted_while_kubeadm_runs_cost_the_control_plane_and_not_the_cluster() {
    let world = world();
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    let begun = async |w: &World| {
        w.get("DevMachine", "demo-cp-0")
            .is_some_and(|machine| machine["status"]["bootstrap"]["phase"] == "Started")
    };
    until(&world, "kubeadm begun", begun).await;
    world.delete("Secret", "demo-ca").unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    assert_eq!(world.inventory().await.domains.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_of_an_initialised_cluster_are_not_made_anew() {
    let world = world();
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    let lost = world.get("Secret", "demo-ca").unwrap();
    world.delete("Secret", "demo-ca").unwrap();
    until(&world, "told", async |w| {
        reason(w, "DevCluster", "demo", "Stalled") == "KeysLost"
    })
    .await;
    sleep(Duration::from_mins(10)).await;
    assert!(world.get("Secret", "demo-ca").is_none());

    let mut restored = lost;
    restored["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    world.create(restored).unwrap();
    until(&world, "Ready again", async |w| is_ready(w, "demo")).await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_crashed_and_is_kept_by_the_host_is_started_again_and_can_be_removed() {
    let world = world();
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    let host = &world.host().simulated;
    host.crash("default.demo-cp-0");
    until(&world, "started again", async |w| w.boots() == 2).await;
    host.crash("default.demo-cp-0");
    world.delete("DevCluster", "demo").unwrap();
    until(&world, "gone", async |w| w.all("DevCluster").is_empty()).await;
    assert!(world.inventory().await.domains.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_cluster_is_gone_tells_no_version() {
    let world = world();
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    assert_eq!(
        world.get("NodePool", "demo-workers").unwrap()["status"]["version"],
        VERSION
    );
    world.delete("DevCluster", "demo").unwrap();
    until(&world, "gone", async |w| w.all("DevCluster").is_empty()).await;
    sleep(Duration::from_mins(5)).await;
    let left = world.get("NodePool", "demo-workers").unwrap();
    assert!(left["status"]["version"].is_null(), "{left}");
}

/// Watches of one kind are late, and calls are counted.
struct LateWatches {
    kind: &'static str,
    by: Duration,
    calls: AtomicU64,
}

impl Director for LateWatches {
    fn fate(&self, _: &Step) -> Fate {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Fate::default()
    }

    fn delivery(&self, watch: &Step) -> Delivery {
        if watch.object.ends_with(self.kind) {
            Delivery::After(self.by)
        } else {
            Delivery::Now
        }
    }
}

/// Makes and deletes a cluster while those watches are late; how many calls that takes.
async fn calls_where_late(kind: &'static str) -> u64 {
    let director = Arc::new(LateWatches {
        kind,
        by: Duration::from_secs(5),
        calls: AtomicU64::new(0),
    });
    let world = World::new(Settings::new(VERSION), director.clone());
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    world.delete("NodePool", "demo-workers").unwrap();
    until(&world, "no worker", async |w| w.all("NodePool").is_empty()).await;
    world.delete("DevCluster", "demo").unwrap();
    until(&world, "gone", async |w| w.all("DevCluster").is_empty()).await;
    director.calls.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn an_operator_whose_watches_are_late_does_not_do_the_same_again_and_again() {
    let usual = calls_where_late("nothing").await;
    for kind in ["devmachines", "nodes"] {
        let late = calls_where_late(kind).await;
        assert!(
            late < 3 * usual,
            "{late} calls where {kind} are late, {usual} where nothing is"
        );
    }
}

/// Whether the child cluster has a node of that name.
fn has_node(world: &World, name: &str) -> bool {
    let cluster = world.get("DevCluster", "demo").unwrap();
    let endpoint = cluster["status"]["endpoint"].as_str().unwrap_or_default();
    let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
    let api = address
        .parse()
        .ok()
        .and_then(|address| world.host().machines.api(address));
    api.is_some_and(|api| {
        api.with(|store| {
            let kind = store.kinds().of_plural("nodes").cloned().unwrap();
            store.get(&kind, "", name).is_ok()
        })
    })
}

#[tokio::test(start_paused = true)]
async fn a_node_that_registers_while_its_machine_goes_does_not_outlast_it() {
    let director = LateWatches {
        kind: "nodes",
        by: Duration::from_mins(2),
        calls: AtomicU64::new(0),
    };
    let world = World::new(Settings::new(VERSION), Arc::new(director));
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    until(&world, "registered", async |w| has_node(w, "demo-workers-0")).await;
    world.delete("NodePool", "demo-workers").unwrap();
    until(&world, "gone", async |w| w.all("NodePool").is_empty()).await;
    sleep(Duration::from_mins(5)).await;
    assert!(!has_node(&world, "demo-workers-0"));
}
