//! What happens to clusters, so that every effect is carried out in one scenario at least.

use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use seedbed_hypervisor::{Hypervisor, Reservation};
use seedbed_simulated_api::{ApiServer, Selector, Subresource};
use seedbed_simulation::objects::{carried_out, cluster, job_check, pool, release};
use seedbed_simulation::{NAMESPACE, Settings, World};
use seedbed_simulator::Failure;
use serde_json::{Value, json};

use crate::run::Stage;

/// The Kubernetes version of all clusters.
pub const VERSION: &str = "v1.35.4";
/// What some of them are upgraded to.
const NEXT: &str = "v1.36.3";

/// The first range that a cluster is given.
const RANGE: &str = "10.64.0.0/24";

/// What happens in a world.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Changes what the world is made of.
    pub prepare: fn(&mut Settings),
    /// Does it.
    pub perform: for<'a> fn(&'a mut Stage) -> LocalBoxFuture<'a, ()>,
}

/// A cluster is made.
pub const MADE: Scenario = Scenario {
    name: "made",
    prepare: |_| {},
    perform: |stage| made(stage).boxed_local(),
};

/// Another cluster was given the range of one of which nothing is made yet.
pub const CONTESTED: Scenario = Scenario {
    name: "contested",
    prepare: |_| {},
    perform: |stage| contested(stage).boxed_local(),
};

/// A pool gets a worker less, on which something runs.
pub const SHRUNK: Scenario = Scenario {
    name: "shrunk",
    prepare: |_| {},
    perform: |stage| shrunk(stage).boxed_local(),
};

/// A cluster is deleted.
pub const DELETED: Scenario = Scenario {
    name: "deleted",
    prepare: |_| {},
    perform: |stage| deleted(stage).boxed_local(),
};

/// A cluster is deleted, and its machines stay.
pub const RETAINED: Scenario = Scenario {
    name: "retained",
    prepare: |_| {},
    perform: |stage| retained(stage).boxed_local(),
};

/// The spec of a control plane is changed before it comes up.
pub const REPLACED: Scenario = Scenario {
    name: "replaced",
    prepare: |_| {},
    perform: |stage| replaced(stage).boxed_local(),
};

/// A worker's first attempt to join fails.
pub const FAILED: Scenario = Scenario {
    name: "failed",
    prepare: |_| {},
    perform: |stage| failed(stage).boxed_local(),
};

/// The control plane's first attempt fails when its API answers already, and a worker joins meanwhile.
pub const BEGUN_ANEW: Scenario = Scenario {
    name: "begun anew",
    prepare: |settings| settings.timing.join = Duration::from_mins(1),
    perform: |stage| begun_anew(stage).boxed_local(),
};

/// An address is reserved for a machine that is gone.
pub const RESERVED: Scenario = Scenario {
    name: "reserved",
    prepare: |_| {},
    perform: |stage| reserved(stage).boxed_local(),
};

/// The address of a machine that runs is not reserved any more.
pub const LOST: Scenario = Scenario {
    name: "lost",
    prepare: |_| {},
    perform: |stage| lost(stage).boxed_local(),
};

/// A node is there whose machine went while the cluster's API could not be reached.
pub const STRAYED: Scenario = Scenario {
    name: "strayed",
    prepare: |_| {},
    perform: |stage| strayed(stage).boxed_local(),
};

/// Somebody takes the finalizers off, and the host's policy is to remove what is left then.
pub const ORPHANED: Scenario = Scenario {
    name: "orphaned",
    prepare: |_| {},
    perform: |stage| orphaned(stage).boxed_local(),
};

/// A cluster is upgraded, with a pod on its worker and a check of its own.
pub const UPGRADED: Scenario = Scenario {
    name: "upgraded",
    prepare: |_| {},
    perform: |stage| upgraded(stage).boxed_local(),
};

/// An upgrade fails after its point of no return, and the snapshot that it is restored from is damaged.
pub const REVERTED: Scenario = Scenario {
    name: "reverted",
    prepare: |_| {},
    perform: |stage| reverted(stage).boxed_local(),
};

/// A version is edited and set back before anything was begun.
pub const SET_BACK: Scenario = Scenario {
    name: "set back",
    prepare: |_| {},
    perform: |stage| set_back(stage).boxed_local(),
};

fn make(stage: &mut Stage, workers: u64) {
    stage.world.create(cluster("demo", "local", VERSION)).unwrap();
    stage.world.create(pool("demo-w", "demo", workers)).unwrap();
}

fn is_ready(world: &World, machines: usize) -> bool {
    let ready = |kind, name| world.condition(kind, name, "Ready").as_deref() == Some("True");
    ready("DevCluster", "demo") && ready("NodePool", "demo-w") && world.all("DevMachine").len() == machines
}

async fn until_ready(stage: &mut Stage, machines: usize) {
    stage
        .until(&format!("{machines} machines, Ready"), async |world| {
            is_ready(world, machines)
        })
        .await;
}

async fn made(stage: &mut Stage) {
    make(stage, 1);
    until_ready(stage, 2).await;
}

async fn contested(stage: &mut Stage) {
    let mut demo = cluster("demo", "local", VERSION);
    demo["spec"]["paused"] = json!(true);
    let demo = stage.world.create(demo).unwrap();
    let owner = json!([{
        "apiVersion": demo["apiVersion"], "kind": "DevCluster", "name": "demo", "uid": demo["metadata"]["uid"],
    }]);
    for (name, owners) in [("demo", owner), ("other", json!([]))] {
        let allocations = json!({"nodeCIDR": RANGE, "bridge": "sb0"}).to_string();
        let labels = json!({"seedbed.dev/cluster": name, "seedbed.dev/host": "local"});
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("{name}-allocations"), "labels": labels, "ownerReferences": owners},
            "data": {"allocations.json": allocations},
        });
        stage.world.create(object).unwrap();
    }
    change(stage, "DevCluster", "demo", &json!({"paused": false}));
    stage.world.create(pool("demo-w", "demo", 1)).unwrap();
    until_ready(stage, 2).await;
    let kept = stage.world.get("ConfigMap", "demo-allocations").unwrap();
    assert!(!kept["data"].to_string().contains(RANGE), "{kept}");
}

async fn shrunk(stage: &mut Stage) {
    made(stage).await;
    run_pods(&stage.world, &["demo-w-0"]);
    change(stage, "NodePool", "demo-w", &json!({"replicas": 0}));
    until_ready(stage, 1).await;
}

async fn deleted(stage: &mut Stage) {
    made(stage).await;
    // What is gone already is as good.
    let _ = stage.world.delete("NodePool", "demo-w");
    let _ = stage.world.delete("DevCluster", "demo");
    let kinds = ["DevCluster", "NodePool", "DevMachine", "ConfigMap", "Secret"];
    stage
        .until("gone", async |world| {
            kinds.iter().all(|kind| world.all(kind).is_empty())
        })
        .await;
}

async fn retained(stage: &mut Stage) {
    make(stage, 1);
    until_ready(stage, 2).await;
    change(stage, "DevCluster", "demo", &json!({"deletionPolicy": "Retain"}));
    stage.world.delete("DevCluster", "demo").unwrap();
    stage
        .until("let go", async |world| {
            world.all("DevCluster").is_empty() && world.all("DevMachine").is_empty()
        })
        .await;
}

async fn replaced(stage: &mut Stage) {
    make(stage, 1);
    stage
        .until("the control plane's machine runs", async |world| {
            !world.inventory().await.domains.is_empty()
        })
        .await;
    let machine = json!({"controlPlane": {"machine": {"memory": "3Gi"}}});
    change(stage, "DevCluster", "demo", &machine);
    stage
        .until("replaced", async |world| {
            let machine = world.get("DevMachine", "demo-cp-0");
            machine.is_some_and(|m| m["spec"]["machine"]["memory"] == "3Gi")
        })
        .await;
    until_ready(stage, 2).await;
}

async fn failed(stage: &mut Stage) {
    let machines = &stage.world.host().machines;
    machines.fail_jobs("default.demo-w-0", 1, Failure::Preflight);
    make(stage, 1);
    until_ready(stage, 2).await;
}

async fn begun_anew(stage: &mut Stage) {
    let machines = &stage.world.host().machines;
    machines.fail_jobs("default.demo-cp-0", 1, Failure::Late);
    make(stage, 1);
    until_ready(stage, 2).await;
}

async fn reserved(stage: &mut Stage) {
    make(stage, 1);
    until_ready(stage, 2).await;
    let network = stage.world.inventory().await.networks.remove(0);
    let late = Reservation {
        mac: "52:54:00:00:00:01".to_owned(),
        ip: "10.64.0.200".parse().unwrap(),
        hostname: "demo-w-9".to_owned(),
    };
    let host = &stage.world.host().simulated;
    let owner = network.owner.unwrap();
    host.reserve_address(&network.name, &owner, &late).await.unwrap();
    stage
        .until("released", async |world| {
            world.inventory().await.networks[0].reservations.len() == 2
        })
        .await;
}

async fn lost(stage: &mut Stage) {
    make(stage, 1);
    until_ready(stage, 2).await;
    let network = stage.world.inventory().await.networks.remove(0);
    let (mac, owner) = (&network.reservations[0].mac, network.owner.unwrap());
    let host = &stage.world.host().simulated;
    host.release_address(&network.name, &owner, mac).await.unwrap();
    stage
        .until("reserved again", async |world| {
            world.inventory().await.networks[0].reservations.len() == 2
        })
        .await;
}

async fn strayed(stage: &mut Stage) {
    make(stage, 1);
    until_ready(stage, 2).await;
    let strayed = json!({
        "metadata": {"name": "demo-w-9"},
        "spec": {"providerID": "seedbed://local/0f9c0a5e-0000-4000-8000-000000000001"},
    });
    put(&stage.world, "nodes", "", strayed);
    stage
        .until("removed", async |world| {
            child(world).is_some_and(|api| {
                api.with(|store| {
                    let kind = store.kinds().of_plural("nodes").cloned().unwrap();
                    store.list(&kind, "", &Selector::default()).count() == 2
                })
            })
        })
        .await;
}

async fn orphaned(stage: &mut Stage) {
    let policy = json!({"orphanPolicy": "Delete", "orphanGracePeriodSeconds": 60});
    change(stage, "HypervisorHost", "local", &policy);
    make(stage, 1);
    until_ready(stage, 2).await;
    for (kind, name) in [
        ("DevMachine", "demo-w-0"),
        ("DevMachine", "demo-cp-0"),
        ("NodePool", "demo-w"),
        ("DevCluster", "demo"),
    ] {
        let _ = stage.world.delete(kind, name);
        let kind = stage.world.kind(kind);
        let none = json!({"metadata": {"finalizers": null}});
        let _ = stage
            .world
            .api()
            .with(|store| store.merge(&kind, NAMESPACE, name, &none, Subresource::Main));
    }
    stage
        .until("removed", async |world| {
            let left = world.inventory().await;
            left.domains.is_empty() && left.networks.is_empty()
        })
        .await;
}

async fn upgraded(stage: &mut Stage) {
    stage.world.create(release(NEXT)).unwrap();
    made(stage).await;
    run_pods(&stage.world, &["demo-w-0"]);
    let mut upgrade = carried_out("next", "demo", NEXT);
    upgrade["spec"]["checks"] = json!([job_check("smoke", &["true"])]);
    stage.world.create(upgrade).unwrap();
    stage
        .until("upgraded", async |world| {
            phase(world, "next").as_deref() == Some("Done") && finalizers(world, "next") == 0
        })
        .await;
}

async fn reverted(stage: &mut Stage) {
    stage.world.create(release(NEXT)).unwrap();
    made(stage).await;
    let mut upgrade = carried_out("next", "demo", NEXT);
    upgrade["spec"]["onFailureAfterCommit"] = json!("RestoreSnapshot");
    stage.world.create(upgrade).unwrap();
    stage
        .until("past its point of no return", async |world| {
            let upgrade = world.get("ClusterUpgrade", "next").unwrap_or_default();
            upgrade["status"]["undoable"] == "No"
        })
        .await;
    let machines = &stage.world.host().machines;
    machines.damage_snapshots("default.demo-cp-0");
    machines.fail_jobs("default.demo-w-0", 99, Failure::Preflight);
    stage
        .until("undone", async |world| {
            let upgrade = world.get("ClusterUpgrade", "next").unwrap_or_default();
            !upgrade["status"]["undo"].is_null()
        })
        .await;
    stage.world.host().machines.fail_no_jobs();
    stage
        .until("restored", async |world| {
            phase(world, "next").as_deref() == Some("RolledBack") && finalizers(world, "next") == 0
        })
        .await;
}

async fn set_back(stage: &mut Stage) {
    stage.world.create(release(NEXT)).unwrap();
    made(stage).await;
    // Nothing is begun with this one.
    let webhook = json!({"metadata": {"name": "policy"}, "webhooks": [{
        "name": "policy.example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "policy", "name": "server"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }]});
    put(&stage.world, "validatingwebhookconfigurations", "", webhook);
    change(stage, "DevCluster", "demo", &json!({"version": NEXT}));
    let name = format!("demo-{NEXT}");
    stage
        .until("planned", async |world| {
            world.condition("ClusterUpgrade", &name, "Stalled").as_deref() == Some("True")
        })
        .await;
    change(stage, "DevCluster", "demo", &json!({"version": VERSION}));
    stage
        .until("forgotten", async |world| world.all("ClusterUpgrade").is_empty())
        .await;
}

fn phase(world: &World, upgrade: &str) -> Option<String> {
    let found = world.get("ClusterUpgrade", upgrade)?;
    found["status"]["phase"].as_str().map(str::to_owned)
}

fn finalizers(world: &World, upgrade: &str) -> usize {
    let found = world.get("ClusterUpgrade", upgrade).unwrap_or_default();
    found["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

fn change(stage: &mut Stage, kind: &str, name: &str, spec: &Value) {
    if stage.problem.is_none() {
        stage.world.change(kind, name, spec).unwrap();
    }
}

/// The API of the cluster, if it answers.
fn child(world: &World) -> Option<ApiServer> {
    let cluster = world.get("DevCluster", "demo").unwrap_or_default();
    let endpoint = cluster["status"]["endpoint"].as_str().unwrap_or_default();
    let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
    address.parse().ok().and_then(|a| world.host().machines.api(a))
}

fn put(world: &World, plural: &str, namespace: &str, object: Value) {
    let Some(api) = child(world) else { return };
    let now = world.now();
    api.with(|store| {
        let kind = store.kinds().of_plural(plural).cloned().unwrap();
        // A run with a kill may have come here before.
        let _ = store.create(&kind, namespace, object, now);
    });
}

/// A pod runs on each of those nodes.
fn run_pods(world: &World, nodes: &[&str]) {
    let Some(api) = child(world) else { return };
    let now = world.now();
    api.with(|store| {
        let kind = store.kinds().of_plural("pods").cloned().unwrap();
        for node in nodes {
            let pod = json!({"metadata": {"name": format!("on-{node}")}, "spec": {"nodeName": node, "containers": []}});
            let _ = store.create(&kind, NAMESPACE, pod, now);
        }
        assert!(store.list(&kind, NAMESPACE, &Selector::default()).count() > 0);
    });
}
