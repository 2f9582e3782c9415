//! Upgrades that are planned and checked, on the whole operator.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seedbed_simulated_api::ApiServer;
use seedbed_simulation::objects::{carried_out, cluster, pool, release, upgrade};
use seedbed_simulation::{Boundary, Director, Settings, Step, World};
use seedbed_simulator::Facts;
use serde_json::{Value, json};
use tokio::time::sleep;

const VERSION: &str = "v1.35.4";
const NEXT: &str = "v1.36.3";

/// Writes down what changes something in a child cluster or on a host, and what is asked of child clusters.
#[derive(Default)]
struct Noting {
    changes: Mutex<Vec<String>>,
    asked: Mutex<Vec<String>>,
}

impl Director for Noting {
    fn doing(&self, step: &Step) {
        if step.verb == "agent" && step.detail.starts_with("guest-exec") {
            // What is run there is asked of the guests themselves.
            return;
        }
        let is_child = matches!(step.boundary, Boundary::Child(_));
        if step.changes && !matches!(step.boundary, Boundary::Seed) {
            self.changes.lock().unwrap().push(step.to_string());
        } else if is_child {
            self.asked.lock().unwrap().push(step.object.clone());
        }
    }
}

impl Noting {
    fn taken(&self) -> (Vec<String>, Vec<String>) {
        (
            std::mem::take(&mut self.changes.lock().unwrap()),
            std::mem::take(&mut self.asked.lock().unwrap()),
        )
    }
}

fn world() -> (World, Arc<Noting>) {
    let noting = Arc::new(Noting::default());
    (World::new(Settings::new(VERSION), noting.clone()), noting)
}

async fn until(world: &World, what: &str, is_so: impl AsyncFnMut(&World) -> bool) {
    let so = world.within(Duration::from_mins(30), is_so).await;
    let told = world.get("ClusterUpgrade", "next").unwrap_or_default();
    assert!(
        so,
        "{what}: not so after half an hour; found {}{told:#}",
        world.told()
    );
}

/// A cluster with a worker that is Ready, and a release of the next version.
async fn ready(world: &World) {
    world.create(release(NEXT)).unwrap();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    until(world, "Ready", async |w| {
        ["DevCluster", "NodePool"].iter().all(|kind| {
            let name = if *kind == "NodePool" {
                "demo-workers"
            } else {
                "demo"
            };
            w.condition(kind, name, "Ready").as_deref() == Some("True")
        })
    })
    .await;
}

fn succeeded(world: &World) -> (String, String, String) {
    let object = world.get("ClusterUpgrade", "next").unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().cloned();
    let found = conditions
        .unwrap_or_default()
        .into_iter()
        .find(|c| c["type"] == "Succeeded")
        .unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

async fn until_said(world: &World, status: &str, reason: &str) -> String {
    let what = format!("Succeeded is {status}, {reason}");
    until(world, &what, async |w| {
        let (found, why, _) = succeeded(w);
        (found.as_str(), why.as_str()) == (status, reason)
    })
    .await;
    succeeded(world).2
}

fn address_of(world: &World) -> Ipv4Addr {
    let cluster = world.get("DevCluster", "demo").unwrap();
    let endpoint = cluster["status"]["endpoint"].as_str().unwrap();
    let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
    address.parse().unwrap()
}

fn api_of(world: &World) -> ApiServer {
    world.host().machines.api(address_of(world)).unwrap()
}

fn put(world: &World, plural: &str, namespace: &str, object: Value) {
    let now = world.now();
    api_of(world).with(|store| {
        let kind = store.kinds().of_plural(plural).cloned().unwrap();
        store.create(&kind, namespace, object, now).unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_is_planned_and_nothing_but_its_status_is_written() {
    let (world, noting) = world();
    let _operator = world.operator();
    ready(&world).await;
    sleep(Duration::from_mins(1)).await;
    noting.taken();
    let jobs = world.host().machines.begun();

    world.create(upgrade("next", "demo", NEXT)).unwrap();
    let message = until_said(&world, "True", "PreflightPassed").await;
    assert!(
        message.contains("from v1.35.4 to v1.36.3 has 11 steps") && message.contains("no warnings"),
        "{message}"
    );
    let status = world.get("ClusterUpgrade", "next").unwrap()["status"].clone();
    assert_eq!(status["phase"], "Planned");
    assert_eq!(status["from"], VERSION);
    assert_eq!(status["pointOfNoReturn"], "Commit");
    let ids: Vec<&str> = status["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        [
            "Preflight",
            "Snapshot/DevMachine/demo-cp-0",
            "Preload/DevMachine/demo-cp-0",
            "Preload/NodePool/demo-workers",
            "ControlPlane/DevMachine/demo-cp-0",
            "Soak",
            "Commit",
            "Nodes/DevMachine/demo-cp-0",
            "Nodes/NodePool/demo-workers",
            "Addons",
            "Verify",
        ],
        "both releases have the same etcd"
    );

    // Looked at again and again, and nothing is written that says the same.
    sleep(Duration::from_mins(10)).await;
    let before = world.api().with(|store| store.revision());
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.api().with(|store| store.revision()), before);
    let (changes, asked) = noting.taken();
    assert_eq!(changes, Vec::<String>::new());
    let looks = asked.iter().filter(|path| *path == "/metrics").count();
    assert!((10..30).contains(&looks), "{looks} looks");
    assert_eq!(world.host().machines.begun(), jobs, "no job was begun");

    world.delete("ClusterUpgrade", "next").unwrap();
    until(&world, "gone", async |w| {
        w.get("ClusterUpgrade", "next").is_none()
    })
    .await;
    noting.taken();
    sleep(Duration::from_mins(20)).await;
    let (changes, asked) = noting.taken();
    assert_eq!(changes, Vec::<String>::new());
    assert!(
        !asked.iter().any(|path| path == "/metrics"),
        "nobody asks for it any more"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_way_is_told_and_mending_it_is_enough() {
    let (world, _) = world();
    let _operator = world.operator();
    world.create(upgrade("next", "demo", NEXT)).unwrap();
    let message = until_said(&world, "False", "ClusterNotFound").await;
    assert!(message.contains("no DevCluster named demo"), "{message}");
    assert_eq!(
        world.condition("ClusterUpgrade", "next", "Stalled").as_deref(),
        Some("True")
    );

    world.create(cluster("demo", "local", VERSION)).unwrap();
    until_said(&world, "False", "NotInitialized").await;
    let message = until_said(&world, "False", "PreflightFailed").await;
    assert!(!message.is_empty());
    until(&world, "only the release is missing", async |w| {
        let (_, _, message) = succeeded(w);
        message.starts_with("Release: KubernetesRelease v1.36.3: there is no such release")
    })
    .await;

    world.create(release(NEXT)).unwrap();
    until_said(&world, "True", "PreflightPassed").await;

    world
        .change("DevCluster", "demo", &json!({"paused": true}))
        .unwrap();
    let message = until_said(&world, "False", "PreflightFailed").await;
    assert!(message.starts_with("Paused: DevCluster demo"), "{message}");
    world
        .change("DevCluster", "demo", &json!({"paused": false}))
        .unwrap();
    until_said(&world, "True", "PreflightPassed").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_found_in_the_cluster_is_told_with_what_to_do() {
    let (world, _) = world();
    let _operator = world.operator();
    ready(&world).await;
    put(
        &world,
        "validatingwebhookconfigurations",
        "",
        json!({"metadata": {"name": "policy"}, "webhooks": [{
            "name": "policy.example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "policy", "name": "server"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }]}),
    );
    put(
        &world,
        "customresourcedefinitions",
        "",
        json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {"versions": [{"name": "v1", "served": true}, {"name": "v1alpha1", "served": false}]},
        }),
    );
    world.create(upgrade("next", "demo", NEXT)).unwrap();
    let message = until_said(&world, "False", "PreflightFailed").await;
    assert!(
        message.starts_with("Webhooks: ValidatingWebhookConfiguration policy")
            && message.contains("policy/server"),
        "{message}"
    );
    put(
        &world,
        "endpointslices",
        "policy",
        json!({
            "metadata": {"name": "server-1", "labels": {"kubernetes.io/service-name": "server"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}],
        }),
    );
    until_said(&world, "True", "PreflightPassed").await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_reached_is_not_known_to_be_right() {
    let (world, _) = world();
    let _operator = world.operator();
    ready(&world).await;
    world.create(upgrade("next", "demo", NEXT)).unwrap();
    until_said(&world, "True", "PreflightPassed").await;
    let address = address_of(&world);
    world.set_cut(address, true);
    let message = until_said(&world, "Unknown", "PreflightUnknown").await;
    assert!(message.contains("could not be seen"), "{message}");
    world.set_cut(address, false);
    until_said(&world, "True", "PreflightPassed").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_in_the_guests_is_told_and_mending_it_is_enough() {
    let (world, _) = world();
    let _operator = world.operator();
    ready(&world).await;
    world.create(upgrade("next", "demo", NEXT)).unwrap();
    until_said(&world, "True", "PreflightPassed").await;
    let machines = &world.host().machines;
    let (control_plane, worker) = ("default.demo-cp-0", "default.demo-workers-0");
    let well = Facts::default();
    let tomorrow = world.now() + jiff::SignedDuration::from_hours(20);
    let wrong = [
        (
            control_plane,
            Facts {
                alarm: Some("NOSPACE".to_owned()),
                ..well.clone()
            },
            "Etcd: DevMachine demo-cp-0: etcd has raised the alarm NOSPACE",
        ),
        (
            control_plane,
            Facts {
                certificates_end: Some(tomorrow),
                ..well.clone()
            },
            "Certificates: DevMachine demo-cp-0: /etc/kubernetes/pki/apiserver.crt (",
        ),
        (
            worker,
            Facts {
                disk_left: 1 << 20,
                ..well.clone()
            },
            "GuestResources: DevMachine demo-workers-0: less than 100Mi of its file system / is left",
        ),
    ];
    for (domain, facts, told) in wrong {
        machines.set_facts(domain, facts);
        let message = until_said(&world, "False", "PreflightFailed").await;
        assert!(message.starts_with(told), "{message}");
        machines.set_facts(domain, well.clone());
        until_said(&world, "True", "PreflightPassed").await;
    }

    let nearly = Facts {
        memory: 200 << 20,
        database: 1900 << 20,
        certificates_end: Some(tomorrow + jiff::SignedDuration::from_hours(24 * 20)),
        ..well.clone()
    };
    machines.set_facts(control_plane, nearly);
    let told = async |w: &World| {
        let status = w.get("ClusterUpgrade", "next").unwrap_or_default()["status"].clone();
        let findings = status["findings"].as_array().cloned().unwrap_or_default();
        findings
            .iter()
            .map(|f| {
                format!(
                    "{} {}",
                    f["severity"].as_str().unwrap(),
                    f["check"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    until(&world, "three warnings", async |w| {
        told(w).await == ["Warning Etcd", "Warning Certificates", "Warning GuestResources"]
    })
    .await;
    assert_eq!(succeeded(&world).1, "PreflightPassed", "warnings do not stop it");
    machines.set_facts(control_plane, well);

    machines.set_mute(worker, true);
    let message = until_said(&world, "Unknown", "PreflightUnknown").await;
    assert!(
        message.contains("GuestResources") && message.contains("demo-workers-0"),
        "{message}"
    );
    machines.set_mute(worker, false);
    until_said(&world, "True", "PreflightPassed").await;
}

#[tokio::test(start_paused = true)]
async fn no_more_upgrades_are_kept_than_the_cluster_says_and_those_of_persons_stay() {
    let (world, _) = world();
    let _operator = world.operator();
    ready(&world).await;
    world.create(carried_out("by-hand", "demo", NEXT)).unwrap();
    world
        .change("ClusterUpgrade", "by-hand", &json!({"cancel": true}))
        .unwrap();
    let change = json!({"version": NEXT, "upgradeHistoryLimit": 0});
    world.change("DevCluster", "demo", &change).unwrap();
    let made = format!("demo-{NEXT}");
    until(&world, "made", async |w| w.get("ClusterUpgrade", &made).is_some()).await;
    until(&world, "gone", async |w| w.get("ClusterUpgrade", &made).is_none()).await;
    let runs = |w: &World| w.get("DevCluster", "demo").unwrap_or_default()["status"]["version"] == NEXT;
    assert!(runs(&world), "it goes when it has ended");
    sleep(Duration::from_hours(1)).await;
    let all = world.all("ClusterUpgrade");
    let names: Vec<_> = all.iter().map(|upgrade| &upgrade["metadata"]["name"]).collect();
    assert_eq!(
        names,
        ["by-hand"],
        "none is made anew for want of the one that ended"
    );
}

fn kubelet(world: &World, machine: &str) -> String {
    let found = world.get("DevMachine", machine).unwrap_or_default();
    let version = found["status"]["node"]["kubeletVersion"].as_str();
    version.unwrap_or_default().to_owned()
}

fn runs_as_asked(world: &World, version: &str) -> bool {
    let drift = world.condition("DevCluster", "demo", "VersionDrift");
    let cluster = world.get("DevCluster", "demo").unwrap_or_default();
    drift.as_deref() == Some("False") && cluster["status"]["version"] == version
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_held_back_keeps_its_version_and_follows_with_the_next_upgrade() {
    const THIRD: &str = "v1.37.0";
    let (world, _) = world();
    let _operator = world.operator();
    ready(&world).await;
    world.create(release(THIRD)).unwrap();
    let pool = |world: &World| world.get("NodePool", "demo-workers").unwrap();
    world
        .change("NodePool", "demo-workers", &json!({"holdVersion": true}))
        .unwrap();
    world
        .change("DevCluster", "demo", &json!({"version": NEXT}))
        .unwrap();
    until(&world, "upgraded", async |w| runs_as_asked(w, NEXT)).await;
    assert_eq!(kubelet(&world, "demo-cp-0"), NEXT);
    assert_eq!(kubelet(&world, "demo-workers-0"), VERSION);
    assert_eq!(pool(&world)["status"]["version"], VERSION);
    let made = world.get("ClusterUpgrade", &format!("demo-{NEXT}")).unwrap();
    assert_eq!(made["status"]["phase"], "Done");
    let finding = &made["status"]["findings"][0];
    assert_eq!(
        (&finding["check"], &finding["severity"]),
        (&json!("Skew"), &json!("Warning"))
    );
    assert_eq!(finding["object"], "Node demo-workers-0");

    world.create(upgrade("next", "demo", NEXT)).unwrap();
    sleep(Duration::from_mins(10)).await;
    world.delete("ClusterUpgrade", "next").unwrap();
    assert_eq!(
        kubelet(&world, "demo-workers-0"),
        VERSION,
        "nobody makes it follow"
    );

    world
        .change("NodePool", "demo-workers", &json!({"replicas": 2}))
        .unwrap();
    until(&world, "scaled up", async |w| {
        w.condition("NodePool", "demo-workers", "Ready").as_deref() == Some("True")
            && pool(w)["status"]["readyReplicas"] == 2
    })
    .await;
    let second = world.get("DevMachine", "demo-workers-1").unwrap();
    assert_eq!(second["spec"]["version"], VERSION, "as its nodes are");

    world
        .change("NodePool", "demo-workers", &json!({"holdVersion": false}))
        .unwrap();
    world
        .change("DevCluster", "demo", &json!({"version": THIRD}))
        .unwrap();
    until(&world, "upgraded again", async |w| runs_as_asked(w, THIRD)).await;
    for machine in ["demo-cp-0", "demo-workers-0", "demo-workers-1"] {
        assert_eq!(kubelet(&world, machine), THIRD, "{machine}");
    }
    assert_eq!(pool(&world)["status"]["version"], THIRD);
}

/// The versions that the workers were made of.
fn versions_of_workers(world: &World) -> Vec<String> {
    let workers = world
        .all("DevMachine")
        .into_iter()
        .filter(|m| m["spec"]["role"] == "Worker");
    let texts = workers.map(|m| m["spec"]["version"].as_str().unwrap().to_owned());
    texts.collect()
}

/// Whether the one worker is Ready, and was made of that version.
fn is_made_of(world: &World, version: &str) -> bool {
    let ready = world.condition("NodePool", "demo-workers", "Ready");
    versions_of_workers(world) == [version] && ready.as_deref() == Some("True")
}

#[tokio::test(start_paused = true)]
async fn the_machines_of_a_pool_are_replaced_when_the_upgrade_is_done_where_that_is_asked_for() {
    let (world, _) = world();
    let _operator = world.operator();
    ready(&world).await;
    let old = world.get("DevMachine", "demo-workers-0").unwrap();
    world
        .change("NodePool", "demo-workers", &json!({"upgradeStrategy": "Replace"}))
        .unwrap();
    sleep(Duration::from_mins(10)).await;
    assert_eq!(
        versions_of_workers(&world),
        [VERSION],
        "that alone replaces nothing"
    );
    world
        .change("DevCluster", "demo", &json!({"version": NEXT}))
        .unwrap();
    let upgrade = |w: &World| w.get("ClusterUpgrade", &format!("demo-{NEXT}"));
    until(&world, "Done", async |w| {
        let seen = upgrade(w).unwrap_or_default();
        if seen["status"]["phase"] != "Done" {
            assert_eq!(versions_of_workers(w), [VERSION], "not while it is under way");
        }
        seen["status"]["phase"] == "Done"
    })
    .await;
    let made = upgrade(&world).unwrap();
    let steps = made["status"]["steps"].as_array().unwrap();
    assert!(
        steps
            .iter()
            .all(|step| step["id"] != "Nodes/NodePool/demo-workers"),
        "{steps:?}"
    );
    assert!(made["status"]["findings"].as_array().is_none_or(Vec::is_empty));
    until(&world, "replaced", async |w| is_made_of(w, NEXT)).await;
    assert!(runs_as_asked(&world, NEXT));
    let new = world.all("DevMachine");
    assert!(new.iter().all(|m| m["metadata"]["uid"] != old["metadata"]["uid"]));
}

#[tokio::test(start_paused = true)]
async fn the_machines_of_a_pool_that_is_held_back_no_more_are_made_anew_of_the_clusters_version() {
    let (world, _) = world();
    let _operator = world.operator();
    ready(&world).await;
    let hold = |hold: bool| {
        world
            .change("NodePool", "demo-workers", &json!({"holdVersion": hold}))
            .unwrap();
    };
    hold(true);
    world
        .change("DevCluster", "demo", &json!({"version": NEXT}))
        .unwrap();
    until(&world, "upgraded", async |w| runs_as_asked(w, NEXT)).await;
    sleep(Duration::from_mins(10)).await;
    assert_eq!(versions_of_workers(&world), [VERSION]);
    hold(false);
    until(&world, "made anew", async |w| is_made_of(w, NEXT)).await;
    let pool = world.get("NodePool", "demo-workers").unwrap();
    assert_eq!(pool["status"]["version"], NEXT);
}
