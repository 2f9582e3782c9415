//! The whole operator on simulated everything: what a person would see, in virtual time.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seedbed_simulated_api::Subresource;
use seedbed_simulation::objects::{cluster, pool};
use seedbed_simulation::{Director, Settings, Step, Undisturbed, World};
use serde_json::json;
use tokio::time::{Instant, sleep};

const VERSION: &str = "v1.35.4";
/// How long anything may take, in virtual time.
const LIMIT: Duration = Duration::from_mins(30);

fn world() -> World {
    World::new(Settings::new(VERSION), Arc::new(Undisturbed))
}

fn make(world: &World, workers: u64) {
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", workers)).unwrap();
}

fn is_ready(world: &World, cluster: &str) -> bool {
    world.condition("DevCluster", cluster, "Ready").as_deref() == Some("True")
}

/// Waits, in virtual time, until it is so.
async fn until(world: &World, what: &str, is_so: impl AsyncFnMut(&World) -> bool) {
    let told = world.within(LIMIT, is_so).await;
    assert!(
        told,
        "{what}: not so after {} s of virtual time; found {}",
        LIMIT.as_secs(),
        world.told()
    );
}

/// Nothing is left of any cluster, on the host or in the API.
async fn nothing_is_left(world: &World) -> bool {
    let left = world.inventory().await;
    let objects = ["DevCluster", "DevMachine", "Secret", "ConfigMap"];
    left.domains.is_empty()
        && left.networks.is_empty()
        && left.volumes.iter().all(|v| v.complete)
        && objects.iter().all(|kind| world.all(kind).is_empty())
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_made_scaled_and_deleted_and_an_idle_operator_writes_nothing() {
    let world = world();
    let _operator = world.operator();
    make(&world, 1);
    until(&world, "Ready", async |s| is_ready(s, "demo")).await;
    assert_eq!(world.inventory().await.domains.len(), 2);

    world
        .change("NodePool", "demo-workers", &json!({"replicas": 3}))
        .unwrap();
    until(&world, "three workers", async |s| {
        s.all("DevMachine").len() == 4 && is_ready(s, "demo")
    })
    .await;
    world
        .change("NodePool", "demo-workers", &json!({"replicas": 1}))
        .unwrap();
    until(&world, "one worker", async |s| {
        s.inventory().await.domains.len() == 2 && is_ready(s, "demo")
    })
    .await;

    sleep(Duration::from_mins(5)).await;
    let before = world.api().with(|store| store.revision());
    sleep(Duration::from_hours(1)).await;
    assert_eq!(
        world.api().with(|store| store.revision()),
        before,
        "an idle operator wrote something"
    );

    world.delete("NodePool", "demo-workers").unwrap();
    world.delete("DevCluster", "demo").unwrap();
    until(&world, "gone", nothing_is_left).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_takes_few_writes_and_an_operator_that_starts_anew_finds_nothing_to_write() {
    let world = world();
    let revision = || world.api().with(|store| store.revision());
    let operator = world.operator();
    sleep(Duration::from_mins(2)).await;
    let before = revision();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "Ready", async |s| is_ready(s, "demo")).await;
    let writes = revision() - before;
    assert!(writes <= 32, "{writes} writes for one cluster");

    sleep(Duration::from_mins(5)).await;
    let before = revision();
    drop(operator);
    let _next = world.operator();
    sleep(Duration::from_mins(20)).await;
    assert_eq!(
        revision(),
        before,
        "all was in place, and the next operator wrote something"
    );
}

/// Whenever the operator is killed, the next one goes on where it was: no machine is started twice, nothing is begun again.
#[tokio::test(start_paused = true)]
async fn an_operator_that_is_killed_at_any_moment_of_a_creation_is_followed_by_one_that_goes_on() {
    let undisturbed = {
        let world = world();
        let _operator = world.operator();
        created(&world).await
    };
    let mut moment = Duration::ZERO;
    while moment < undisturbed {
        let world = world();
        let operator = world.operator();
        make(&world, 2);
        sleep(moment).await;
        drop(operator);
        sleep(Duration::from_secs(1)).await;
        let _next = world.operator();
        until(&world, "Ready", async |s| is_ready(s, "demo")).await;
        assert_eq!(world.boots(), 3, "killed after {moment:?}");
        for machine in world.all("DevMachine") {
            assert_eq!(
                machine["status"]["bootstrap"]["attempt"], 1,
                "killed after {moment:?}"
            );
        }
        moment += Duration::from_millis(700);
    }
}

/// Makes a cluster of three machines; how long that takes.
async fn created(world: &World) -> Duration {
    let began = Instant::now();
    make(world, 2);
    until(world, "Ready", async |s| is_ready(s, "demo")).await;
    assert_eq!(world.boots(), 3);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_lost_its_power_comes_back_as_the_same_node() {
    let world = world();
    let _operator = world.operator();
    created(&world).await;
    let domains = world.inventory().await.domains;
    for domain in &domains {
        world.host().simulated.lose_power(&domain.name);
    }
    until(&world, "switched on again", async |s| s.boots() == 6).await;
    sleep(Duration::from_mins(3)).await;
    assert!(is_ready(&world, "demo"));
    for machine in world.all("DevMachine") {
        let name = machine["metadata"]["name"].as_str().unwrap();
        assert_eq!(
            world.condition("DevMachine", name, "Ready").as_deref(),
            Some("True"),
            "{name}"
        );
    }
    assert_eq!(world.boots(), 6);
    assert_eq!(world.inventory().await.domains.len(), domains.len());
}

/// Counts calls, and fails where there are more than a few in the same moment.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Director for Counting {
    fn doing(&self, step: &Step) {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(count < 5000, "it calls all the time: {step}");
    }
}

/// A pod may take half a minute to leave, and it is not asked all the time whether it is gone.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_its_pods_and_does_not_ask_for_them_all_the_time() {
    let calls = Arc::new(Counting::default());
    let world = World::new(Settings::new(VERSION), calls.clone());
    let _operator = world.operator();
    make(&world, 1);
    until(&world, "Ready", async |s| is_ready(s, "demo")).await;
    let endpoint = world.get("DevCluster", "demo").unwrap()["status"]["endpoint"].clone();
    let endpoint = endpoint.as_str().unwrap().trim_start_matches("https://");
    let address = endpoint.trim_end_matches(":6443").parse().unwrap();
    let api = world.host().machines.api(address).unwrap();
    let pods = api.with(|store| store.kinds().of_plural("pods").cloned().unwrap());
    let pod = json!({
        "metadata": {"name": "slow", "finalizers": ["example.com/slow"]},
        "spec": {"nodeName": "demo-workers-0", "containers": []},
    });
    let now = world.now();
    api.with(|store| store.create(&pods, "default", pod, now))
        .unwrap();

    calls.0.store(0, Ordering::Relaxed);
    world
        .change("NodePool", "demo-workers", &json!({"replicas": 0}))
        .unwrap();
    sleep(Duration::from_secs(30)).await;
    let leaving = api
        .with(|store| store.get(&pods, "default", "slow").cloned())
        .unwrap();
    assert!(leaving["metadata"]["deletionTimestamp"].is_string(), "{leaving}");
    assert_eq!(
        world.inventory().await.domains.len(),
        2,
        "it did not wait for the pod"
    );

    let none = json!({"metadata": {"finalizers": null}});
    api.with(|store| store.merge(&pods, "default", "slow", &none, Subresource::Main))
        .unwrap();
    until(&world, "gone", async |s| s.inventory().await.domains.len() == 1).await;
}
