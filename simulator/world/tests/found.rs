//! What the simulation found, each by itself.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "found/hosts.rs"]
mod hosts;
#[path = "found/keys.rs"]
mod keys;
#[path = "found/nodes.rs"]
mod nodes;
#[path = "found/pools.rs"]
mod pools;
#[path = "found/ranges.rs"]
mod ranges;
#[path = "found/specs.rs"]
mod specs;
#[path = "found/upgrades.rs"]
mod upgrades;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use seedbed_simulated_api::{ApiServer, Kind, Preconditions, Selector, Store};
use seedbed_simulation::objects::{cluster, pool};
use seedbed_simulation::{
    Boundary, Delivery, Director, End, Fate, Refusal, Settings, Step, Undisturbed, World,
};
use serde_json::{Value, json};
use tokio::time::sleep;

const VERSION: &str = "v1.35.4";
const NEXT: &str = "v1.36.3";

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

/// The address of the child cluster's API.
fn address(world: &World) -> Ipv4Addr {
    let cluster = world.get("DevCluster", "demo").unwrap();
    let endpoint = cluster["status"]["endpoint"].as_str().unwrap_or_default();
    let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
    address.parse().unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// The API of the child cluster.
fn child(world: &World) -> Option<ApiServer> {
    world.host().machines.api(address(world))
}

/// Names of the objects of that kind in the child cluster.
fn in_child(world: &World, plural: &str) -> Vec<String> {
    let Some(api) = child(world) else {
        return Vec::new();
    };
    api.with(|store| {
        let kind = store.kinds().of_plural(plural).cloned().unwrap();
        let all = Selector::default();
        let names = store
            .list(&kind, "", &all)
            .map(|object| object["metadata"]["name"].to_string());
        names.map(|name| name.trim_matches('"').to_owned()).collect()
    })
}

/// Does something with the child cluster's nodes.
fn with_nodes<T>(world: &World, work: impl FnOnce(&mut Store, &Kind) -> T) -> T {
    child(world).unwrap().with(|store| {
        let kind = store.kinds().of_plural("nodes").cloned().unwrap();
        work(store, &kind)
    })
}

fn has_node(world: &World, name: &str) -> bool {
    in_child(world, "nodes").iter().any(|node| node == name)
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

#[tokio::test(start_paused = true)]
async fn a_worker_whose_node_somebody_removed_joins_again() {
    let world = world();
    let _operator = world.operator();
    ready_with(&world, 1).await;
    sleep(Duration::from_mins(10)).await;
    let now = world.now();
    with_nodes(&world, |nodes, kind| {
        nodes
            .delete(kind, "", "demo-workers-0", &Preconditions::default(), now)
            .unwrap();
    });
    until(&world, "joined again", async |w| has_node(w, "demo-workers-0")).await;
    until(&world, "Ready again", async |w| is_ready(w, "demo")).await;
    let machine = world.get("DevMachine", "demo-workers-0").unwrap();
    assert_eq!(machine["status"]["bootstrap"]["attempt"], 2, "{machine}");
    assert_eq!(world.boots(), 2, "the machine stays as it is");
}

/// A cluster with so many workers, all of which have joined.
async fn ready_with(world: &World, workers: u64) {
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", workers)).unwrap();
    let last = format!("demo-workers-{}", workers - 1);
    until(world, "Ready", async |w| {
        is_ready(w, "demo") && has_node(w, &last)
    })
    .await;
}

/// The object as somebody would make it again.
fn made_again(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        metadata.remove(field);
    }
    object
}

#[tokio::test(start_paused = true)]
async fn machines_that_are_made_when_their_cluster_is_gone_do_not_stay() {
    let world = world();
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    until(&world, "Ready", async |w| {
        is_ready(w, "demo") && w.all("DevMachine").len() == 2
    })
    .await;
    let machines = world.all("DevMachine");
    world.delete("DevCluster", "demo").unwrap();
    until(&world, "gone", async |w| w.all("DevCluster").is_empty()).await;
    // As by requests that are carried out long after they were sent.
    for machine in machines {
        world.create(made_again(machine)).unwrap();
    }
    until(&world, "no machines", async |w| w.all("DevMachine").is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_made_when_its_pool_is_gone_does_not_stay() {
    let world = world();
    let _operator = world.operator();
    ready_with(&world, 1).await;
    let worker = world.get("DevMachine", "demo-workers-0").unwrap();
    world.delete("NodePool", "demo-workers").unwrap();
    until(&world, "gone", async |w| w.all("NodePool").is_empty()).await;
    // The garbage collector takes off a reference to what is gone, where another one leads to what is there.
    let mut without = made_again(worker.clone());
    without["metadata"]["name"] = "demo-workers-1".into();
    let owners = without["metadata"]["ownerReferences"].as_array_mut().unwrap();
    owners.retain(|owner| owner["kind"] != "NodePool");
    world.create(made_again(worker)).unwrap();
    world.create(without).unwrap();
    until(&world, "no workers", async |w| w.all("DevMachine").len() == 1).await;
    assert_eq!(world.inventory().await.domains.len(), 1);
    assert!(world.events().iter().any(|event| event["reason"] == "PoolGone"));
}

/// Counts machines that are made. Watches of one kind are late from some moment on.
struct Makers {
    kind: &'static str,
    late: AtomicBool,
    made: AtomicU64,
}

impl Makers {
    fn of(kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            late: AtomicBool::new(false),
            made: AtomicU64::new(0),
        })
    }
}

impl Director for Makers {
    fn done(&self, step: &Step, answer: &str) {
        if step.verb == "POST" && step.object.ends_with("/devmachines") && answer == "201" {
            self.made.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn delivery(&self, watch: &Step) -> Delivery {
        if watch.object.ends_with(self.kind) && self.late.load(Ordering::SeqCst) {
            Delivery::After(Duration::from_mins(2))
        } else {
            Delivery::Now
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_workers_are_made_for_a_cluster_that_goes_whatever_the_cache_says() {
    let director = Makers::of("devclusters");
    let world = World::new(Settings::new(VERSION), director.clone());
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    sleep(Duration::from_mins(5)).await;
    director.late.store(true, Ordering::SeqCst);
    world.delete("DevCluster", "demo").unwrap();
    until(&world, "gone", async |w| w.all("DevCluster").is_empty()).await;
    assert_eq!(director.made.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_let_go_is_not_made_again_whatever_the_cache_says() {
    let director = Makers::of("devmachines");
    let world = World::new(Settings::new(VERSION), director.clone());
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo") && w.boots() == 2).await;
    sleep(Duration::from_mins(5)).await;
    director.late.store(true, Ordering::SeqCst);
    world
        .change("NodePool", "demo-workers", &json!({"replicas": 0}))
        .unwrap();
    until(&world, "let go", async |w| w.all("DevMachine").len() == 1).await;
    world.host().simulated.reboot(true);
    sleep(Duration::from_mins(5)).await;
    let domains = world.inventory().await.domains;
    assert_eq!(domains.len(), 1, "{domains:?}");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_nobody_owns_is_told_and_left() {
    let world = world();
    let _operator = world.operator();
    let name = "default.demo-w-0.0f9c0a5e-0000-4000-8000-000000000001.root.qcow2";
    world.host().simulated.make_foreign_volume(name);
    let policy = json!({"orphanPolicy": "Delete", "orphanGracePeriodSeconds": 60});
    world.change("HypervisorHost", "local", &policy).unwrap();
    until(&world, "told", async |w| {
        let host = w.get("HypervisorHost", "local").unwrap();
        host["status"]["orphans"][0]["kind"] == "Volume" && host["status"]["orphans"][0]["name"] == name
    })
    .await;
    sleep(Duration::from_mins(5)).await;
    assert!(
        world
            .inventory()
            .await
            .volumes
            .iter()
            .any(|volume| volume.name == name)
    );
}

/// Some calls end otherwise.
struct Ending {
    which: fn(&Step) -> bool,
    /// How they end, by how many of them there were before.
    ends: fn(u64) -> End,
    begun: AtomicBool,
    count: AtomicU64,
}

impl Ending {
    /// From the beginning on.
    fn of(which: fn(&Step) -> bool, ends: fn(u64) -> End) -> Arc<Self> {
        let it = Self::later(which, ends);
        it.begin();
        it
    }

    /// From when it is begun.
    fn later(which: fn(&Step) -> bool, ends: fn(u64) -> End) -> Arc<Self> {
        Arc::new(Self {
            which,
            ends,
            begun: AtomicBool::new(false),
            count: AtomicU64::new(0),
        })
    }

    fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
    }

    /// How many such calls there were.
    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

impl Director for Ending {
    fn fate(&self, step: &Step) -> Fate {
        if !self.begun.load(Ordering::SeqCst) || !(self.which)(step) {
            return Fate::default();
        }
        Fate {
            end: (self.ends)(self.count.fetch_add(1, Ordering::SeqCst)),
            ..Fate::default()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_join_token_whose_deletion_meets_another_write_is_deleted_all_the_same() {
    // Somebody wrote to each token at the moment at which it was to be deleted first.
    let tokens = |step: &Step| step.verb == "DELETE" && step.object.contains("/bootstrap-token-");
    let every_other = |before: u64| match before % 2 {
        0 => End::Refused(Refusal::Answered(409)),
        _ => End::Done,
    };
    let world = World::new(Settings::new(VERSION), Ending::of(tokens, every_other));
    let _operator = world.operator();
    ready_with(&world, 1).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(in_child(&world, "secrets"), Vec::<String>::new());
}
