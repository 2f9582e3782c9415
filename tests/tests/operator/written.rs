//! What the operator asks the API server for, from the audit log.

use std::time::Duration;

use seedbed_seed::OPERATOR_USER;
use seedbed_tests::audit::{self, Entry};
use seedbed_tests::inputs::{VERSION, cluster, delete_clusters, disk, pool, setting, settled};
use seedbed_tests::{Case, Cases, quiet};
use serde_json::json;

/// The case of what the operator may do; before an API server is restarted, which forbids everything for a moment.
pub fn identity_case() -> Case {
    Case::new(
        "identity: its own, and nothing that it asked for was forbidden",
        identity,
    )
}

/// The case of an operator that has nothing to do.
pub fn idle_case() -> Case {
    Case::new("idle: no write but of its lease", idle)
}

/// How long nothing may be written.
const QUIET: Duration = Duration::from_secs(75);

async fn idle(cases: Cases) {
    let objects = setting(&cases, "idle", "10.225.0.0/16").await;
    // A release that cannot be read is tried again and again; this one has nothing wrong.
    let (path, sha256) = disk(cases.seed, "idle.qcow2", "3M");
    let right = json!({"spec": {"guestImage": {"disk": {"url": format!("file://{}", path.display()), "sha256": sha256}}}});
    objects
        .change("KubernetesRelease", VERSION, &right)
        .await
        .unwrap();
    objects.create(cluster("a", "idle")).await.unwrap();
    objects.create(pool("a-workers", "a")).await.unwrap();
    settled(&objects, "a").await;
    objects
        .told(
            "DevMachine",
            "a-workers-0",
            "Ready",
            "False",
            &["InsufficientCapacity"],
        )
        .await;
    quiet::operator(cases.seed, QUIET, QUIET * 3).await;
    delete_clusters(&objects, &["a"]).await;
}

async fn identity(cases: Cases) {
    let all = audit::of_user(&cases.seed.instance().audit_log(), OPERATOR_USER);
    assert!(
        all.iter().any(|e| e.resource == "devclusters/status"),
        "{} entries",
        all.len()
    );
    let forbidden: Vec<&Entry> = all.iter().filter(|e| e.code == 403 || e.code == 401).collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    let listed: Vec<&Entry> = all
        .iter()
        .filter(|e| e.resource == "secrets" && (e.verb == "list" || e.verb == "watch"))
        .collect();
    assert!(listed.is_empty(), "Secrets are read by name only: {listed:#?}");
    let specs: Vec<&Entry> = all
        .iter()
        .filter(|e| {
            e.verb == "update"
                && ["devclusters", "nodepools", "hypervisorhosts"].contains(&e.resource.as_str())
        })
        .collect();
    assert!(specs.is_empty(), "what a user wrote is left alone: {specs:#?}");
    let who = cases
        .seed
        .kubectl(&["auth", "can-i", "delete", "namespaces", "--as", OPERATOR_USER]);
    assert!(
        who.is_err_and(|said| said.contains("no")),
        "it is no administrator"
    );
}
