//! What an upgrade watches in `Soak`: whatever is not well there takes it back, and nothing that it made is left.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use seedbed_simulated_api::{ApiServer, Selector, Subresource};
use seedbed_simulation::objects::{carried_out, cluster, job_check, release};
use seedbed_simulation::{Operator, Settings, Undisturbed, World};
use serde_json::{Value, json};
use tokio::time::sleep;

const OLD: &str = "v1.35.4";
const NEW: &str = "v1.36.3";

/// A cluster of one machine that is Ready, and the operator.
struct Run {
    world: World,
    _operator: Operator,
}

impl Run {
    async fn ready() -> Self {
        let world = World::new(Settings::new(OLD), Arc::new(Undisturbed));
        let run = Self {
            _operator: world.operator(),
            world,
        };
        run.world.create(release(NEW)).unwrap();
        run.world.create(cluster("demo", "local", OLD)).unwrap();
        run.until("Ready", |world| {
            world.condition("DevCluster", "demo", "Ready").as_deref() == Some("True")
        })
        .await;
        run
    }

    /// The same with the upgrade that watches these checks for two minutes, in `Soak`.
    async fn watched(checks: Value) -> Self {
        let run = Self::ready().await;
        run.upgrade(checks, "2m");
        run.until("Soak", |world| phase(world) == "Soak").await;
        sleep(Duration::from_secs(20)).await;
        run
    }

    fn upgrade(&self, checks: Value, soak: &str) {
        let mut upgrade = carried_out("next", "demo", NEW);
        upgrade["spec"]["checks"] = checks;
        upgrade["spec"]["soak"] = soak.into();
        self.world.create(upgrade).unwrap();
    }

    async fn until(&self, what: &str, is_so: impl Fn(&World) -> bool) {
        let so = self
            .world
            .within(Duration::from_mins(90), async |w| is_so(w))
            .await;
        let told = self.world.get("ClusterUpgrade", "next").unwrap_or_default();
        assert!(so, "{what}: not so; found {}{told:#}", self.world.told());
    }

    fn child(&self) -> ApiServer {
        let cluster = self.world.get("DevCluster", "demo").unwrap();
        let endpoint = cluster["status"]["endpoint"].as_str().unwrap();
        let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
        self.world.host().machines.api(address.parse().unwrap()).unwrap()
    }

    fn put(&self, plural: &str, namespace: &str, object: Value) {
        let now = self.world.now();
        self.child().with(|store| {
            let kind = store.kinds().of_plural(plural).cloned().unwrap();
            store.create(&kind, namespace, object, now).unwrap();
        });
    }

    fn jobs(&self) -> Vec<Value> {
        self.child().with(|store| {
            let kind = store.kinds().of_plural("jobs").cloned().unwrap();
            store.list(&kind, "", Selector::all()).cloned().collect()
        })
    }

    fn web_answers(&self, code: u16) {
        self.child().set_service("shop", "web:80", code);
    }

    /// A container of that component was restarted that often, and runs.
    fn restarted(&self, component: &str, times: i64) {
        let status = json!({"containerStatuses": [
            {"name": component, "image": "", "imageID": "", "ready": true, "restartCount": times},
        ]});
        self.child().with(|store| {
            let kind = store.kinds().of_plural("pods").cloned().unwrap();
            let (name, patch) = (format!("{component}-demo-cp-0"), json!({"status": status}));
            store
                .merge(&kind, "kube-system", &name, &patch, Subresource::Status)
                .unwrap();
        });
    }

    /// Waits for its end, after which nothing of it is left; what is said of it.
    async fn ended(&self, phase_at_end: &str) -> String {
        self.until(phase_at_end, |world| {
            let upgrade = world.get("ClusterUpgrade", "next").unwrap_or_default();
            let let_go = upgrade["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty);
            let_go && phase(world) == phase_at_end
        })
        .await;
        assert_eq!(self.jobs(), Vec::<Value>::new());
        let version = if phase_at_end == "Done" { NEW } else { OLD };
        self.until("Ready again", |world| {
            let cluster = world.get("DevCluster", "demo").unwrap_or_default();
            cluster["status"]["version"] == version
        })
        .await;
        said(&self.world)
    }
}

fn phase(world: &World) -> String {
    let upgrade = world.get("ClusterUpgrade", "next").unwrap_or_default();
    upgrade["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

fn said(world: &World) -> String {
    let upgrade = world.get("ClusterUpgrade", "next").unwrap_or_default();
    let conditions = upgrade["status"]["conditions"].as_array().cloned();
    let succeeded = conditions
        .unwrap_or_default()
        .into_iter()
        .find(|c| c["type"] == "Succeeded");
    let succeeded = succeeded.unwrap_or_default();
    succeeded["message"].as_str().unwrap_or_default().to_owned()
}

fn web() -> Value {
    json!({"name": "web", "httpGet": {"service": {"namespace": "shop", "name": "web", "port": 80}, "path": "/healthz"}})
}

/// A Service that is answered.
fn with_web(run: &Run) {
    run.put(
        "services",
        "shop",
        json!({"metadata": {"name": "web"}, "spec": {}}),
    );
    run.web_answers(204);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_which_all_is_well_is_upgraded_and_keeps_no_job() {
    let run = Run::ready().await;
    with_web(&run);
    run.upgrade(
        json!([
            web(),
            job_check("smoke", &["true"]),
            job_check("long", &["sleep", "300"])
        ]),
        "1m",
    );
    run.until("Soak", |world| phase(world) == "Soak").await;
    sleep(Duration::from_mins(2)).await;
    assert_eq!(run.jobs().len(), 2);
    // Its own time is over, and a Job is not.
    let message = said(&run.world);
    assert!(
        message.contains("the Jobs of these checks run: long"),
        "{message}"
    );
    run.ended("Done").await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_manager_that_does_not_stay_up_takes_it_back() {
    let run = Run::watched(json!([])).await;
    run.restarted("kube-controller-manager", 2);
    sleep(Duration::from_secs(40)).await;
    assert_eq!(phase(&run.world), "Soak", "that may happen");
    run.restarted("kube-controller-manager", 3);
    let message = run.ended("RolledBack").await;
    assert!(
        message.contains("kube-controller-manager-demo-cp-0 restarted 3 times"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_takes_it_back() {
    let run = Run::watched(json!([])).await;
    run.child().count_requests(900, 100);
    let message = run.ended("RolledBack").await;
    assert!(message.contains("with an error of its own (5xx)"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_answered_any_more_takes_it_back() {
    let run = Run::ready().await;
    with_web(&run);
    run.upgrade(json!([web()]), "2m");
    run.until("Soak", |world| phase(world) == "Soak").await;
    run.web_answers(503);
    sleep(Duration::from_mins(1)).await;
    run.web_answers(301);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(phase(&run.world), "Soak", "that was but a moment");
    run.web_answers(500);
    let message = run.ended("RolledBack").await;
    assert!(
        message.contains("check web: port 80 of Service shop/web, path /healthz answered 500"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_takes_it_back_at_once() {
    let run = Run::watched(json!([job_check("smoke", &["false"])])).await;
    let message = run.ended("RolledBack").await;
    assert!(
        message.contains("the Job of check smoke failed: BackoffLimitExceeded"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cancelled_while_a_job_runs_leaves_none() {
    let run = Run::watched(json!([job_check("long", &["sleep", "9000"])])).await;
    assert_eq!(run.jobs().len(), 1);
    let cancel = json!({"cancel": true});
    run.world.change("ClusterUpgrade", "next", &cancel).unwrap();
    run.ended("Cancelled").await;
}

#[tokio::test(start_paused = true)]
async fn a_job_of_somebody_else_stays() {
    let run = Run::watched(json!([job_check("long", &["sleep", "9000"])])).await;
    let mut copy = run.jobs().remove(0);
    copy["metadata"] = json!({"name": "copy", "labels": copy["metadata"]["labels"]});
    run.put("jobs", "default", copy);
    let cancel = json!({"cancel": true});
    run.world.change("ClusterUpgrade", "next", &cancel).unwrap();
    run.until("Cancelled", |world| phase(world) == "Cancelled").await;
    sleep(Duration::from_mins(1)).await;
    let left: Vec<_> = run
        .jobs()
        .iter()
        .map(|job| job["metadata"]["name"].clone())
        .collect();
    assert_eq!(left, ["copy"]);
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_in_any_case_is_found_before_anything_is_begun() {
    let run = Run::ready().await;
    let mut wrong = job_check("smoke", &["true"]);
    wrong["job"]["template"]["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    run.upgrade(json!([web(), wrong]), "1m");
    run.until("PreflightFailed", |world| phase(world) == "Stalled")
        .await;
    let message = said(&run.world);
    for part in [
        "Checks: check smoke: the cluster's API does not take its Job",
        "restartPolicy: Required value",
        "Checks: check web: port 80 of Service shop/web, path /healthz answered 404",
        "services \"web\" not found",
    ] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    assert_eq!(run.jobs(), Vec::<Value>::new(), "nothing was stored");
    // Mending it is enough.
    with_web(&run);
    let checks = json!({"checks": [web(), job_check("smoke", &["true"])]});
    run.world.change("ClusterUpgrade", "next", &checks).unwrap();
    run.ended("Done").await;
}
