//! What the operator does in child clusters, tried on an API server on which no cluster runs: this seed's.

use seedbed_tests::{Case, Cases, said};
use serde_json::json;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "child: nodes, tokens, evictions and policies on a real kube-apiserver",
        child_api,
    )]
}

async fn child_api(cases: Cases) {
    // A child cluster has a controller that makes this for each namespace; a seed has none.
    let drained = cases.namespace("drained").await;
    drained
        .create(json!({"kind": "ServiceAccount", "metadata": {"name": "default"}}))
        .await
        .unwrap();
    let mut program = cases.seed.test_program("child_api");
    program
        .env(
            "SEEDBED_TEST_KUBECONFIG",
            cases.seed.instance().admin_kubeconfig(),
        )
        .arg("--ignored");
    let text = said(&mut program).unwrap();
    assert!(
        text.contains("test result: ok") && !text.contains(" 0 passed"),
        "{text}"
    );
}
