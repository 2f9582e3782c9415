//! What stays of a cluster whose policy is Retain.

use seedbed_tests::inputs::{cluster, setting, settled, with};
use seedbed_tests::{Case, Cases, LIMIT};
use serde_json::{Value, json};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "retained: network and keys stay, and are nobody's",
        retained,
    )]
}

async fn retained(cases: Cases) {
    let objects = setting(&cases, "retained", "10.228.0.0/16").await;
    let retain = json!({"spec": {"deletionPolicy": "Retain"}});
    objects
        .create(with(cluster("a", "retained"), &retain))
        .await
        .unwrap();
    settled(&objects, "a").await;
    let before = objects.list("Secret", "").await;
    objects.delete("DevCluster", "a").await;
    objects.gone(LIMIT, "DevCluster", "a").await;
    let after = objects.list("Secret", "").await;
    let data = |all: &[Value]| all.iter().map(|s| s["data"].clone()).collect::<Vec<_>>();
    assert_eq!(data(&after), data(&before), "the keys are the same");
    assert!(!after.is_empty());
    for secret in &after {
        assert!(
            secret["metadata"]["ownerReferences"].is_null(),
            "{}",
            secret["metadata"]
        );
    }
    let network = cases.seed.virsh(&["net-dumpxml", "retained.a"]).unwrap();
    assert!(!network.contains("seedbed.dev"), "nobody's: {network}");
}
