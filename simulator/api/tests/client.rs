//! The server through the clients and watches that controllers use.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::pin::pin;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Error, ResourceExt};
use seedbed_simulated_api::{ApiServer, Kinds, Store};
use serde_json::json;

fn server() -> ApiServer {
    let now = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    ApiServer::new(Store::new(Kinds::builtin(), "test"), "v1.35.4", move || now)
}

fn client(server: &ApiServer) -> Client {
    Client::new(server.clone(), "default")
}

fn config_map(value: serde_json::Value) -> ConfigMap {
    serde_json::from_value(value).unwrap()
}

fn code(error: &Error) -> u16 {
    match error {
        Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

async fn version(server: &ApiServer) -> serde_json::Value {
    let request = http::Request::get("/version").body(Vec::new()).unwrap();
    client(server).request(request).await.unwrap()
}

#[tokio::test]
async fn a_restarted_server_has_the_same_objects_and_says_what_it_behaves_like() {
    let first = server();
    let own = version(&first).await;
    assert_eq!(
        (&own["gitVersion"], &own["emulationMinor"]),
        (&json!("v1.35.4"), &json!("35"))
    );
    assert_eq!(own["minCompatibilityMinor"], "34");
    let maps = Api::<ConfigMap>::namespaced(client(&first), "default");
    let made = config_map(json!({"metadata": {"name": "a"}}));
    maps.create(&PostParams::default(), &made).await.unwrap();

    let second = first.restarted("v1.36.3", Some("1.35"));
    let told = version(&second).await;
    for (field, expected) in [
        ("gitVersion", "v1.36.3"),
        ("major", "1"),
        ("minor", "36"),
        ("emulationMajor", "1"),
        ("emulationMinor", "35"),
        ("minCompatibilityMajor", "1"),
        ("minCompatibilityMinor", "34"),
    ] {
        assert_eq!(told[field], expected, "{field}");
    }
    let maps = Api::<ConfigMap>::namespaced(client(&second), "default");
    maps.get("a").await.unwrap();
    let plain = version(&second.restarted("v1.36.3", None)).await;
    assert_eq!(plain["emulationMinor"], "36");
}

#[tokio::test]
async fn what_has_lost_its_owner_is_collected() {
    let server = server();
    let client = client(&server);
    let nodes = Api::<Node>::all(client.clone());
    let secrets = Api::<Secret>::namespaced(client, "default");
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    let owner = nodes.create(&PostParams::default(), &node).await.unwrap();
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "s", "ownerReferences": [
        {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": owner.uid().unwrap()},
    ]}}))
    .unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let now = "2026-01-01T00:00:01Z".parse().unwrap();
    assert!(!server.with(|store| store.collect(now)));
    nodes.delete("n", &DeleteParams::default()).await.unwrap();
    // Another of its name is not its owner.
    nodes.create(&PostParams::default(), &node).await.unwrap();
    assert!(server.with(|store| store.collect(now)));
    assert!(!server.with(|store| store.collect(now)));
    assert_eq!(secrets.get_opt("s").await.unwrap(), None);
}

#[tokio::test]
async fn a_watch_tells_what_happens_and_can_be_resumed_until_its_place_is_gone() {
    let server = server();
    let api = Api::<ConfigMap>::namespaced(client(&server), "default");
    let new = config_map(json!({"metadata": {"name": "a", "labels": {"l": "x"}}}));
    let made = api.create(&PostParams::default(), &new).await.unwrap();
    let labelled = |label: &str| json!({"metadata": {"labels": {"l": label}}});
    let relabel = async |label: &str| {
        api.patch("a", &PatchParams::default(), &Patch::Merge(&labelled(label)))
            .await
            .unwrap();
    };
    let from = made.resource_version().unwrap();
    let watch = async || {
        let params = WatchParams::default().labels("l=x");
        api.watch(&params, &from).await.unwrap().boxed()
    };
    let mut events = watch().await;
    relabel("y").await;
    relabel("x").await;
    api.delete("a", &DeleteParams::default()).await.unwrap();
    for _ in 0..2 {
        let told: Vec<_> = events.by_ref().take(3).map(Result::unwrap).collect().await;
        assert!(
            matches!(
                told.as_slice(),
                [
                    WatchEvent::Deleted(_),
                    WatchEvent::Added(_),
                    WatchEvent::Deleted(_)
                ]
            ),
            "{told:?}"
        );
        // Begun again at the same place, it tells the same.
        events = watch().await;
    }
    server.with(Store::compact);
    let told = watch_error(&api, &from).await;
    assert_eq!(told, 410);
}

async fn watch_error(api: &Api<ConfigMap>, from: &str) -> u16 {
    match api.watch(&WatchParams::default(), from).await {
        Err(error) => code(&error),
        Ok(events) => match pin!(events).next().await {
            Some(Ok(WatchEvent::Error(status))) => status.code,
            other => panic!("{other:?}"),
        },
    }
}

#[tokio::test]
async fn a_watcher_lists_anew_after_its_place_is_gone_and_misses_nothing() {
    let server = server();
    let api = Api::<ConfigMap>::namespaced(client(&server), "default");
    let make = async |name: &str| {
        let new = config_map(json!({"metadata": {"name": name}}));
        api.create(&PostParams::default(), &new).await.unwrap();
    };
    make("a").await;
    let mut events = pin!(watcher::watcher(api.clone(), watcher::Config::default()));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "done") {
        match events.next().await.unwrap().unwrap() {
            Event::Init => {}
            Event::InitApply(object) => seen.push(object.name_any()),
            Event::InitDone => seen.push("done".to_owned()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["a", "done"]);
    make("b").await;
    match events.next().await.unwrap().unwrap() {
        Event::Apply(object) => assert_eq!(object.name_any(), "b"),
        other => panic!("{other:?}"),
    }
}
