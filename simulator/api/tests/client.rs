//! The server through the clients and watches that controllers use.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::pin::pin;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
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

#[tokio::test]
async fn an_object_is_made_once_read_and_changed_at_its_latest_version_only() {
    let server = server();
    let api = Api::<ConfigMap>::namespaced(client(&server), "default");
    let new = config_map(json!({"metadata": {"name": "a"}, "data": {"k": "1"}}));
    let made = api.create(&PostParams::default(), &new).await.unwrap();
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    let again = api.create(&PostParams::default(), &new).await.unwrap_err();
    assert_eq!(code(&again), 409);
    assert_eq!(api.get("a").await.unwrap(), made);
    assert_eq!(api.get_opt("b").await.unwrap(), None);

    let mut first = made.clone();
    first
        .data
        .as_mut()
        .unwrap()
        .insert("k".to_owned(), "2".to_owned());
    let changed = api.replace("a", &PostParams::default(), &first).await.unwrap();
    assert_ne!(changed.resource_version(), made.resource_version());
    let stale = api
        .replace("a", &PostParams::default(), &first)
        .await
        .unwrap_err();
    assert_eq!(code(&stale), 409);
    let same = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(
        same.resource_version(),
        changed.resource_version(),
        "nothing was changed"
    );
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let server = server();
    let api = Api::<Deployment>::namespaced(client(&server), "kube-system");
    let new: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "coredns"},
        "spec": {"replicas": 1, "selector": {}, "template": {}},
        "status": {"readyReplicas": 7},
    }))
    .unwrap();
    let made = api.create(&PostParams::default(), &new).await.unwrap();
    assert_eq!((made.status.as_ref(), made.metadata.generation), (None, Some(1)));
    let status = json!({"status": {"readyReplicas": 2}, "spec": {"replicas": 9}});
    let params = PatchParams::default();
    let shown = api
        .patch_status("coredns", &params, &Patch::Merge(&status))
        .await
        .unwrap();
    assert_eq!(shown.status.unwrap().ready_replicas, Some(2));
    assert_eq!(shown.spec.unwrap().replicas, Some(1));
    let spec = json!({"status": {"readyReplicas": 9}, "spec": {"replicas": 3}});
    let shown = api.patch("coredns", &params, &Patch::Merge(&spec)).await.unwrap();
    assert_eq!(shown.status.unwrap().ready_replicas, Some(2));
    assert_eq!(
        (shown.spec.unwrap().replicas, shown.metadata.generation),
        (Some(3), Some(2))
    );
}

#[tokio::test]
async fn an_object_with_finalizers_goes_with_the_last_of_them_and_no_other_is_deleted() {
    let server = server();
    let api = Api::<ConfigMap>::namespaced(client(&server), "default");
    let new = config_map(json!({"metadata": {"name": "a", "finalizers": ["seedbed.dev/x"]}}));
    let made = api.create(&PostParams::default(), &new).await.unwrap();
    let other = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some("another".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    assert_eq!(code(&api.delete("a", &other).await.unwrap_err()), 409);
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let marked = api.get("a").await.unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    assert_eq!(marked.uid(), made.uid());
    let none = json!({"metadata": {"finalizers": null}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(&none))
        .await
        .unwrap();
    assert_eq!(api.get_opt("a").await.unwrap(), None);
    assert_eq!(
        code(&api.delete("a", &DeleteParams::default()).await.unwrap_err()),
        404
    );
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
async fn lists_are_of_what_is_asked_for() {
    let server = server();
    let client = client(&server);
    for (namespace, name, label) in [("one", "a", "x"), ("one", "b", "y"), ("two", "c", "x")] {
        let new = config_map(json!({"metadata": {"name": name, "labels": {"l": label}}, "data": {"k": "v"}}));
        Api::<ConfigMap>::namespaced(client.clone(), namespace)
            .create(&PostParams::default(), &new)
            .await
            .unwrap();
    }
    let all = Api::<ConfigMap>::all(client.clone());
    let names = |list: Vec<String>| list.join(" ");
    let of = async |params: ListParams| {
        let list = all.list(&params).await.unwrap();
        names(list.iter().map(ResourceExt::name_any).collect())
    };
    assert_eq!(of(ListParams::default()).await, "a b c");
    assert_eq!(of(ListParams::default().labels("l=x")).await, "a c");
    assert_eq!(of(ListParams::default().labels("l!=x")).await, "b");
    assert_eq!(of(ListParams::default().fields("metadata.name=b")).await, "b");
    let one = Api::<ConfigMap>::namespaced(client, "one");
    let metadata = one.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(metadata.items.len(), 2);
    assert_eq!(metadata.items[0].metadata.labels.as_ref().unwrap()["l"], "x");
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
