//! The whole operator on simulated everything: what a person would see, in virtual time.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod setting;

use std::time::Duration;

use serde_json::{Value, json};
use setting::Setting;
use tokio::time::{Instant, sleep};

const VERSION: &str = "v1.35.4";

fn machine() -> Value {
    json!({"cpus": 2, "memory": "2Gi", "disk": "20Gi"})
}

/// A cluster as the API server hands it on, with the defaults of its schema.
fn cluster(name: &str) -> Value {
    let given = json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "DevCluster", "metadata": {"name": name},
        "spec": {"version": VERSION, "hostRef": {"name": "local"}, "controlPlane": {"replicas": 1, "machine": machine()}},
    });
    let cluster: seedbed_crds::DevCluster = serde_json::from_value(given).unwrap();
    serde_json::to_value(cluster).unwrap()
}

fn pool(name: &str, cluster: &str, replicas: i32) -> Value {
    let given = json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "NodePool", "metadata": {"name": name},
        "spec": {"clusterRef": {"name": cluster}, "replicas": replicas, "machine": machine()},
    });
    let pool: seedbed_crds::NodePool = serde_json::from_value(given).unwrap();
    serde_json::to_value(pool).unwrap()
}

fn is_ready(setting: &Setting, cluster: &str) -> bool {
    setting.condition("DevCluster", cluster, "Ready").as_deref() == Some("True")
}

/// Nothing is left of any cluster, on the host or in the API.
async fn nothing_is_left(setting: &Setting) -> bool {
    let left = setting.inventory().await;
    let objects = ["DevCluster", "DevMachine", "Secret", "ConfigMap"];
    left.domains.is_empty()
        && left.networks.is_empty()
        && left.volumes.iter().all(|v| v.complete)
        && objects.iter().all(|kind| setting.all(kind).is_empty())
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_made_scaled_and_deleted_and_an_idle_operator_writes_nothing() {
    let setting = Setting::new(VERSION);
    let _operator = setting.operator();
    setting.create(cluster("demo"));
    setting.create(pool("demo-workers", "demo", 1));
    setting.until("Ready", async |s| is_ready(s, "demo")).await;
    assert_eq!(setting.inventory().await.domains.len(), 2);

    setting.change("NodePool", "demo-workers", &json!({"replicas": 3}));
    setting
        .until("three workers", async |s| {
            s.all("DevMachine").len() == 4 && is_ready(s, "demo")
        })
        .await;
    setting.change("NodePool", "demo-workers", &json!({"replicas": 1}));
    setting
        .until("one worker", async |s| {
            s.inventory().await.domains.len() == 2 && is_ready(s, "demo")
        })
        .await;

    sleep(Duration::from_mins(5)).await;
    let before = setting.api.with(|store| store.revision());
    sleep(Duration::from_hours(1)).await;
    assert_eq!(
        setting.api.with(|store| store.revision()),
        before,
        "an idle operator wrote something"
    );

    setting.delete("NodePool", "demo-workers");
    setting.delete("DevCluster", "demo");
    setting.until("gone", nothing_is_left).await;
}

/// Whenever the operator is killed, the next one goes on where it was: no machine is started twice, nothing is begun again.
#[tokio::test(start_paused = true)]
async fn an_operator_that_is_killed_at_any_moment_of_a_creation_is_followed_by_one_that_goes_on() {
    let undisturbed = {
        let setting = Setting::new(VERSION);
        let _operator = setting.operator();
        created(&setting).await
    };
    let mut moment = Duration::ZERO;
    while moment < undisturbed {
        let setting = Setting::new(VERSION);
        let operator = setting.operator();
        setting.create(cluster("demo"));
        setting.create(pool("demo-workers", "demo", 2));
        sleep(moment).await;
        drop(operator);
        sleep(Duration::from_secs(1)).await;
        let _next = setting.operator();
        setting.until("Ready", async |s| is_ready(s, "demo")).await;
        assert_eq!(setting.machines.boots(), 3, "killed after {moment:?}");
        for machine in setting.all("DevMachine") {
            assert_eq!(
                machine["status"]["bootstrap"]["attempt"], 1,
                "killed after {moment:?}"
            );
        }
        moment += Duration::from_millis(700);
    }
}

/// Makes a cluster of three machines; how long that takes.
async fn created(setting: &Setting) -> Duration {
    let began = Instant::now();
    setting.create(cluster("demo"));
    setting.create(pool("demo-workers", "demo", 2));
    setting.until("Ready", async |s| is_ready(s, "demo")).await;
    assert_eq!(setting.machines.boots(), 3);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_lost_its_power_comes_back_as_the_same_node() {
    let setting = Setting::new(VERSION);
    let _operator = setting.operator();
    created(&setting).await;
    let domains = setting.inventory().await.domains;
    for domain in &domains {
        setting.host.lose_power(&domain.name);
    }
    setting
        .until("switched on again", async |s| s.machines.boots() == 6)
        .await;
    sleep(Duration::from_mins(3)).await;
    assert!(is_ready(&setting, "demo"));
    for machine in setting.all("DevMachine") {
        let name = machine["metadata"]["name"].as_str().unwrap();
        assert_eq!(
            setting.condition("DevMachine", name, "Ready").as_deref(),
            Some("True"),
            "{name}"
        );
    }
    assert_eq!(setting.machines.boots(), 6);
    assert_eq!(setting.inventory().await.domains.len(), domains.len());
}
