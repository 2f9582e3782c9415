//! A release's files on their way to a host: what is wrong is told, is not kept, and is mended by mending the release.

use seedbed_tests::inputs::{disk, host, no_digest, release};
use seedbed_tests::objects::told;
use seedbed_tests::{Case, Cases, Objects, eventually};
use serde_json::json;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("mended: a disk whose digest is another", digest),
        Case::new("mended: a disk that cannot be read", unreadable),
    ]
}

/// Waits until the release is on the host of that name, and complete there.
async fn on_host(cases: &Cases, objects: &Objects, version: &str, host: &str, sha256: &str) {
    eventually(&format!("{version} is on host {host}"), async || {
        let object = objects.get("KubernetesRelease", version).await;
        let hosts = object["status"]["hosts"].as_array().cloned().unwrap_or_default();
        let here = hosts.iter().any(|h| h["name"] == host && h["present"] == true);
        if here { Ok(()) } else { Err(told(&object)) }
    })
    .await;
    objects
        .told("KubernetesRelease", version, "Ready", "True", &[])
        .await;
    let volumes = cases.seed.virsh(&["vol-list", "seedbed"]).unwrap();
    assert!(volumes.contains(sha256), "{volumes}");
}

async fn digest(cases: Cases) {
    let objects = cases.namespace("digest").await;
    objects.create(host("digest", "10.218.0.0/16")).await.unwrap();
    let (path, sha256) = disk(cases.seed, "digest.qcow2", "1M");
    let url = format!("file://{}", path.display());
    let wrong = no_digest(1);
    objects.create(release("v1.50.1", &url, &wrong)).await.unwrap();
    objects
        .told(
            "KubernetesRelease",
            "v1.50.1",
            "Stalled",
            "True",
            &["ReleaseBroken", &sha256, &wrong],
        )
        .await;
    let volumes = cases.seed.virsh(&["vol-list", "seedbed"]).unwrap();
    assert!(!volumes.contains(&wrong), "what is wrong is not kept: {volumes}");
    let right = json!({"spec": {"guestImage": {"disk": {"sha256": sha256}}}});
    objects
        .change("KubernetesRelease", "v1.50.1", &right)
        .await
        .unwrap();
    on_host(&cases, &objects, "v1.50.1", "digest", &sha256).await;
    objects.delete("KubernetesRelease", "v1.50.1").await;
    objects.delete("HypervisorHost", "digest").await;
}

async fn unreadable(cases: Cases) {
    let objects = cases.namespace("unreadable").await;
    objects.create(host("unreadable", "10.219.0.0/16")).await.unwrap();
    let (path, sha256) = disk(cases.seed, "unreadable.qcow2", "2M");
    let elsewhere = format!("file://{}.elsewhere", path.display());
    objects
        .create(release("v1.50.2", &elsewhere, &sha256))
        .await
        .unwrap();
    objects
        .told(
            "KubernetesRelease",
            "v1.50.2",
            "Stalled",
            "True",
            &["ReleaseBroken", "unreadable.qcow2.elsewhere"],
        )
        .await;
    let right = json!({"spec": {"guestImage": {"disk": {"url": format!("file://{}", path.display())}}}});
    objects
        .change("KubernetesRelease", "v1.50.2", &right)
        .await
        .unwrap();
    on_host(&cases, &objects, "v1.50.2", "unreadable", &sha256).await;
    objects.delete("KubernetesRelease", "v1.50.2").await;
    objects.delete("HypervisorHost", "unreadable").await;
}
