//! The server in memory answers what kube-apiserver answers.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use seedbed_simulated_api::conformance::{CASES, MEANT, text};
use seedbed_simulated_api::{ApiServer, Kinds, Store};
use serde_json::json;

fn server() -> ApiServer {
    let now = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let mut kinds = Kinds::builtin();
    kinds.add(Kinds::custom(
        "seedbed.dev",
        "v1alpha1",
        "DevMachine",
        "devmachines",
        true,
    ));
    ApiServer::new(Store::new(kinds, "test"), "v1.35.4", move || now)
}

#[tokio::test]
async fn it_answers_what_kube_apiserver_answers() {
    let mut told = Vec::new();
    for case in CASES {
        let answers = case.of_memory(&server()).await;
        told.extend(case.differences(&answers, true));
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn every_difference_that_is_meant_is_one_of_a_request_that_is_made() {
    for meant in MEANT {
        let case = CASES.iter().find(|case| case.name == meant.case);
        let case = case.unwrap_or_else(|| panic!("there is no case {}", meant.case));
        let requests = case
            .recorded
            .split("\n\n")
            .filter_map(|answer| answer.lines().next());
        assert!(
            requests.into_iter().any(|r| r == meant.request),
            "{}: {}",
            meant.case,
            meant.request
        );
    }
}

/// Writes `answers/` anew, from a kube-apiserver with Seedbed's CRDs and nothing else: what `kubectl proxy` shows of it.
#[tokio::test]
#[ignore = "writes down what the API server at SEEDBED_CALIBRATE (http://…) answers"]
async fn what_kube_apiserver_answers_is_written_down() {
    let url = std::env::var("SEEDBED_CALIBRATE").unwrap();
    let mut config = Config::new(url.parse().unwrap());
    config.default_retry = false;
    let client = Client::try_from(config).unwrap();
    for case in CASES {
        let namespace = serde_json::from_value(json!({"metadata": {"name": case.name}})).unwrap();
        let namespaces = Api::<Namespace>::all(client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let answers = case.of_real(client.clone()).await;
        let file = format!("answers/{}.txt", case.name.trim_start_matches("calibration-"));
        std::fs::write(file, text(&answers)).unwrap();
    }
}
