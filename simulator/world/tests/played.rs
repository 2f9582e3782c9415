//! What child clusters show beside their nodes, as somebody sees it who looks at them with kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use seedbed_simulated_api::{ApiServer, Selector};
use seedbed_simulation::objects::{cluster, pool};
use seedbed_simulation::{Settings, Undisturbed, World};
use serde_json::Value;
use tokio::time::sleep;

const VERSION: &str = "v1.35.4";

/// A cluster with one worker, which is Ready, and its API.
async fn ready(renew: Option<Duration>) -> (World, ApiServer) {
    let mut settings = Settings::new(VERSION);
    settings.timing.renew = renew;
    let world = World::new(settings, Arc::new(Undisturbed));
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-w", "demo", 1)).unwrap();
    let is_ready = world
        .within(Duration::from_mins(10), async |world| {
            let all = world.all("DevMachine");
            all.len() == 2
                && all.iter().all(|m| {
                    let name = m["metadata"]["name"].as_str().unwrap();
                    world.condition("DevMachine", name, "Ready").as_deref() == Some("True")
                })
        })
        .await;
    assert!(is_ready, "{}", world.told());
    let found = world.get("DevCluster", "demo").unwrap();
    let url = found["status"]["endpoint"].as_str().unwrap();
    let address = url.trim_start_matches("https://").trim_end_matches(":6443");
    let api = world.host().machines.api(address.parse().unwrap()).unwrap();
    (world, api)
}

fn object(api: &ApiServer, plural: &str, namespace: &str, name: &str) -> Value {
    api.with(|store| {
        let kind = store.kinds().of_plural(plural).cloned().unwrap();
        store.get(&kind, namespace, name).unwrap().clone()
    })
}

/// How long ago the lease was renewed.
fn age(world: &World, api: &ApiServer, namespace: &str, name: &str) -> Duration {
    let lease = object(api, "leases", namespace, name);
    let renewed: Timestamp = lease["spec"]["renewTime"].as_str().unwrap().parse().unwrap();
    world.now().duration_since(renewed).unsigned_abs()
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_for_as_long_as_their_holders_run() {
    let (world, api) = ready(Some(Duration::from_secs(10))).await;
    sleep(Duration::from_mins(5)).await;
    let fresh = Duration::from_secs(15);
    for (namespace, name) in [
        ("kube-node-lease", "demo-cp-0"),
        ("kube-node-lease", "demo-w-0"),
        ("kube-system", "kube-controller-manager"),
        ("kube-system", "kube-scheduler"),
    ] {
        assert!(age(&world, &api, namespace, name) <= fresh, "{namespace}/{name}");
    }
    world.host().machines.set_isolated("default.demo-w-0", true);
    sleep(Duration::from_mins(5)).await;
    assert!(age(&world, &api, "kube-node-lease", "demo-w-0") >= Duration::from_mins(4));
    assert!(age(&world, &api, "kube-node-lease", "demo-cp-0") <= fresh);
}

#[tokio::test(start_paused = true)]
async fn etcd_says_which_member_it_is() {
    let (_world, api) = ready(None).await;
    let pod = object(&api, "pods", "kube-system", "etcd-demo-cp-0");
    let address = pod["status"]["podIP"].as_str().unwrap();
    assert_eq!(
        pod["metadata"]["annotations"]["kubeadm.kubernetes.io/etcd.advertise-client-urls"],
        format!("https://{address}:2379")
    );
    let command = pod["spec"]["containers"][0]["command"].as_array().unwrap();
    let member = format!("--initial-cluster=demo-cp-0=https://{address}:2380");
    assert!(command.contains(&member.into()), "{command:?}");
    let others = api.with(|store| {
        let kind = store.kinds().of_plural("pods").cloned().unwrap();
        let all = Selector::default();
        let pods = store.list(&kind, "kube-system", &all);
        pods.filter(|pod| pod["metadata"]["labels"]["component"] == "etcd")
            .count()
    });
    assert_eq!(others, 1);
}
