//! The API of a child cluster, asked of a real kube-apiserver: any that no cluster runs on, such as a seed's.

// Helpers of tests may fail as tests do.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Config, Resource, ResourceExt};
use seedbed_kubeadm::token::BootstrapToken;
use seedbed_operator::child::{
    ChildAccess, ChildApi, ChildKeeper, ChildKey, Children, Eviction, NODE_LABELS_ANNOTATION, NodeShape,
    ObjectName, connect,
};
use seedbed_operator::context::{SystemClock, TokioTasks};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Names an administrator's kubeconfig with a client certificate.
const KUBECONFIG: &str = "SEEDBED_TEST_KUBECONFIG";
/// How long the API server may take to tell a watch of a change.
const SOON: Duration = Duration::from_secs(20);

struct Setting {
    children: ChildKeeper,
    key: ChildKey,
    child: Arc<dyn ChildApi>,
    client: Client,
}

async fn setting() -> Setting {
    let path = std::env::var(KUBECONFIG).unwrap_or_else(|_| panic!("{KUBECONFIG} is not set"));
    let kubeconfig = Kubeconfig::read_from(&path).unwrap();
    let text: Value = serde_json::to_value(&kubeconfig).unwrap();
    let pem = |pointer: &str| {
        let data = text
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{path}: no {pointer}"));
        String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
    };
    let access = ChildAccess {
        endpoint: text
            .pointer("/clusters/0/cluster/server")
            .and_then(Value::as_str)
            .unwrap()
            .to_owned(),
        ca_pem: pem("/clusters/0/cluster/certificate-authority-data"),
        certificate_pem: pem("/users/0/user/client-certificate-data"),
        key_pem: pem("/users/0/user/client-key-data"),
    };
    let key = ChildKey {
        namespace: "default".into(),
        name: "demo".into(),
    };
    let children = ChildKeeper::new(
        Arc::new(SystemClock::new()),
        Arc::new(TokioTasks),
        |key, access| connect(key, access, Duration::from_secs(10)),
    );
    let child = children.api(&key, &access).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .unwrap();
    Setting {
        children,
        key,
        child,
        client: Client::try_from(config).unwrap(),
    }
}

/// Waits for a change of the child until the condition holds.
async fn until(setting: &Setting, what: &str, holds: impl Fn(&dyn ChildApi) -> bool) {
    let mut triggers = setting.children.triggers();
    let wait = async {
        while !holds(&*setting.child) {
            triggers.next().await.unwrap();
        }
    };
    let came = tokio::time::timeout(SOON, wait).await.is_ok();
    assert!(
        came,
        "{what}: not within {SOON:?}; the view is {:?}",
        setting.child.view()
    );
}

fn of<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

async fn apply<K>(setting: &Setting, object: &K)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(setting.client.clone(), &object.namespace().unwrap());
    api.patch(
        &object.name_any(),
        &PatchParams::apply("test").force(),
        &Patch::Apply(object),
    )
    .await
    .unwrap();
}

fn token(id: &str) -> BootstrapToken {
    BootstrapToken::parse(&format!("{id}.0123456789abcdef")).unwrap()
}

#[tokio::test]
#[ignore = "needs a real kube-apiserver: SEEDBED_TEST_KUBECONFIG"]
async fn it_tells_the_version_that_the_api_server_runs() {
    let setting = setting().await;
    let version = setting.client.apiserver_version().await.unwrap().git_version;
    until(&setting, "the version", |child| {
        child.view().api_version.known() == Some(&version)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a real kube-apiserver: SEEDBED_TEST_KUBECONFIG"]
async fn cluster_info_is_found_once_it_is_there() {
    let setting = setting().await;
    let api = Api::<ConfigMap>::namespaced(setting.client.clone(), "kube-public");
    let _ = api.delete("cluster-info", &DeleteParams::default()).await;
    assert!(!setting.child.cluster_info_ready().await.unwrap());
    let info = of(json!({"metadata": {"name": "cluster-info", "namespace": "kube-public"}}));
    apply::<ConfigMap>(&setting, &info).await;
    assert!(setting.child.cluster_info_ready().await.unwrap());
    api.delete("cluster-info", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
#[ignore = "needs a real kube-apiserver: SEEDBED_TEST_KUBECONFIG"]
async fn a_token_is_made_made_again_and_deleted() {
    let setting = setting().await;
    let secrets = Api::<Secret>::namespaced(setting.client.clone(), "kube-system");
    let expires = "2030-01-01T00:00:00.5Z".parse().unwrap();
    for _ in 0..2 {
        setting
            .child
            .ensure_token(&token("abcdef"), expires, "for a test")
            .await
            .unwrap();
    }
    let found = secrets.get("bootstrap-token-abcdef").await.unwrap();
    let data: BTreeMap<String, String> = found
        .data
        .unwrap()
        .into_iter()
        .map(|(key, value)| (key, String::from_utf8(value.0).unwrap()))
        .collect();
    assert_eq!(found.type_.as_deref(), Some("bootstrap.kubernetes.io/token"));
    assert_eq!(data["expiration"], "2030-01-01T00:00:00Z");
    assert_eq!(data["token-secret"], "0123456789abcdef");
    assert!(setting.child.has_token("abcdef").await.unwrap());
    for _ in 0..2 {
        setting.child.delete_token("abcdef").await.unwrap();
    }
    assert!(!setting.child.has_token("abcdef").await.unwrap());
    assert!(secrets.get_opt("bootstrap-token-abcdef").await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a real kube-apiserver: SEEDBED_TEST_KUBECONFIG"]
async fn a_node_is_seen_shaped_cordoned_and_deleted_by_its_uid() {
    let setting = setting().await;
    let child = &*setting.child;
    let nodes = Api::<Node>::all(setting.client.clone());
    let _ = nodes.delete("shaped", &DeleteParams::default()).await;
    let node: Node = of(json!({"metadata": {"name": "shaped", "labels": {"theirs": "yes"}}}));
    let uid = nodes
        .create(&PostParams::default(), &node)
        .await
        .unwrap()
        .uid()
        .unwrap();
    let seen = |name: &'static str| {
        move |child: &dyn ChildApi| {
            child
                .view()
                .nodes
                .known()
                .is_some_and(|n| n.iter().any(|n| n.name_any() == name))
        }
    };
    until(&setting, "the node", seen("shaped")).await;

    let mut shape = NodeShape {
        labels: BTreeMap::from([("tier".into(), "web".into())]),
        pod_cidr: Some("10.244.7.0/24".into()),
    };
    assert!(child.shape_node("shaped", &shape).await.unwrap());
    assert!(
        !child.shape_node("shaped", &shape).await.unwrap(),
        "it has that form already"
    );
    let found = nodes.get("shaped").await.unwrap();
    assert_eq!(found.labels()["tier"], "web");
    assert_eq!(found.annotations()[NODE_LABELS_ANNOTATION], "tier");
    assert_eq!(
        found.spec.unwrap().pod_cidrs,
        Some(vec!["10.244.7.0/24".to_owned()])
    );
    shape.labels.clear();
    assert!(child.shape_node("shaped", &shape).await.unwrap());
    let found = nodes.get("shaped").await.unwrap();
    assert_eq!(
        (found.labels().get("tier"), found.labels()["theirs"].as_str()),
        (None, "yes")
    );

    assert!(child.cordon("shaped").await.unwrap());
    assert!(!child.cordon("shaped").await.unwrap());

    child
        .delete_node("shaped", "00000000-0000-0000-0000-000000000000")
        .await
        .unwrap();
    assert!(
        nodes.get_opt("shaped").await.unwrap().is_some(),
        "a node of another UID was deleted"
    );
    for _ in 0..2 {
        child.delete_node("shaped", &uid).await.unwrap();
    }
    assert!(nodes.get_opt("shaped").await.unwrap().is_none());
    assert!(
        child
            .shape_node("shaped", &shape)
            .await
            .unwrap_err()
            .is_not_found()
    );
    let gone = move |child: &dyn ChildApi| !seen("shaped")(child);
    until(&setting, "the node's end", gone).await;
}

#[tokio::test]
#[ignore = "needs a real kube-apiserver: SEEDBED_TEST_KUBECONFIG"]
async fn pods_are_evicted_as_their_budgets_allow() {
    let setting = setting().await;
    let namespace = "drained";
    let _ = Api::<Namespace>::all(setting.client.clone())
        .create(
            &PostParams::default(),
            &of(json!({"metadata": {"name": namespace}})),
        )
        .await;
    let pods = Api::<Pod>::namespaced(setting.client.clone(), namespace);
    let pod = |name: &str, metadata: Value| {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {
                "nodeName": "drained", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "i"}],
            },
        });
        for (key, value) in metadata.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        of::<Pod>(pod)
    };
    for name in ["free", "guarded", "daemon"] {
        let _ = pods.delete(name, &DeleteParams::default().grace_period(0)).await;
    }
    let daemon_set = json!({"ownerReferences": [{
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "1", "controller": true,
    }]});
    for (name, metadata) in [
        ("free", json!({})),
        ("guarded", json!({})),
        ("daemon", daemon_set),
    ] {
        pods.create(&PostParams::default(), &pod(name, metadata))
            .await
            .unwrap();
    }
    let running =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status("guarded", &PatchParams::default(), &Patch::Merge(running))
        .await
        .unwrap();
    let budget: PodDisruptionBudget = of(json!({
        "metadata": {"name": "always-one", "namespace": namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
    }));
    apply(&setting, &budget).await;
    let budgets = Api::<PodDisruptionBudget>::namespaced(setting.client.clone(), namespace);
    let generation = budgets.get("always-one").await.unwrap().metadata.generation;
    let status = json!({"status": {
        "observedGeneration": generation, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1,
        "expectedPods": 1,
    }});
    budgets
        .patch_status("always-one", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();

    let found = setting.child.evictable_pods("drained").await.unwrap();
    let names: Vec<&str> = found.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["free", "guarded"]);
    let (free, guarded) = (&found[0], &found[1]);
    assert_eq!(setting.child.evict(free).await.unwrap(), Eviction::Started);
    assert_eq!(setting.child.evict(free).await.unwrap(), Eviction::Gone);
    // The API server evicts by what its own caches say: a pod of another UID is what can be asked for without an effect.
    let mut another = guarded.clone();
    another.uid = "00000000-0000-0000-0000-000000000000".into();
    while setting.child.evict(&another).await.unwrap() == Eviction::Gone {
        tokio::task::yield_now().await;
    }
    match setting.child.evict(guarded).await.unwrap() {
        Eviction::Blocked { message } => assert!(message.contains("always-one"), "{message}"),
        other => panic!("{other:?}"),
    }
    budgets
        .delete("always-one", &DeleteParams::default())
        .await
        .unwrap();
    while setting.child.evict(&another).await.unwrap() != Eviction::Gone {
        tokio::task::yield_now().await;
    }
    assert!(
        pods.get_opt("guarded").await.unwrap().is_some(),
        "a pod of another UID was evicted"
    );
    assert_eq!(setting.child.evict(guarded).await.unwrap(), Eviction::Started);
}

#[tokio::test]
#[ignore = "needs a real kube-apiserver: SEEDBED_TEST_KUBECONFIG"]
async fn what_is_in_the_way_of_an_upgrade_is_read_from_a_real_api_server() {
    let setting = setting().await;
    // Called for a group that nobody has, so that nobody waits for it.
    let webhook: ValidatingWebhookConfiguration = of(json!({
        "metadata": {"name": "survey"}, "webhooks": [{
            "name": "survey.example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"namespace": "default", "name": "survey"}},
            "rules": [{"apiGroups": ["survey.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["*"]}],
        }],
    }));
    let webhooks = Api::<ValidatingWebhookConfiguration>::all(setting.client.clone());
    let _ = webhooks.delete("survey", &DeleteParams::default()).await;
    webhooks.create(&PostParams::default(), &webhook).await.unwrap();
    let budget: PodDisruptionBudget = of(json!({
        "metadata": {"name": "survey", "namespace": "default"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "survey"}}},
    }));
    apply(&setting, &budget).await;

    let seen = setting.child.survey().await;
    let gates = seen
        .gates
        .known()
        .expect("its feature gates are told at /metrics");
    assert!(gates.alpha.is_empty(), "{gates:?}");
    assert_eq!(seen.requested.known().map(Vec::len), Some(0), "{seen:?}");
    assert_eq!(seen.custom_kinds.known().map(Vec::len), Some(0), "{seen:?}");
    assert!(seen.pods.known().is_some(), "{seen:?}");
    let budgets = seen.budgets.known().unwrap();
    let found = budgets.iter().find(|budget| budget.name == "survey").unwrap();
    assert_eq!((found.asks.as_str(), found.spare), ("maxUnavailable: 0", 0));
    let hooks = seen.webhooks.known().unwrap();
    let found = hooks
        .iter()
        .find(|hook| hook.name == "survey.example.com")
        .unwrap();
    assert_eq!(found.has_endpoint.known(), Some(&false));

    webhooks.delete("survey", &DeleteParams::default()).await.unwrap();
    let budgets = Api::<PodDisruptionBudget>::namespaced(setting.client.clone(), "default");
    budgets.delete("survey", &DeleteParams::default()).await.unwrap();
    setting.children.forget(&setting.key);
}

#[tokio::test]
#[ignore = "needs a real kube-apiserver: SEEDBED_TEST_KUBECONFIG"]
async fn network_policies_are_seen_by_name() {
    let setting = setting().await;
    until(&setting, "the list", |child| {
        child.view().network_policies.known().is_some()
    })
    .await;
    let name = ObjectName {
        namespace: "default".into(),
        name: "deny".into(),
    };
    let policy: NetworkPolicy = of(json!({
        "metadata": {"name": "deny", "namespace": "default"}, "spec": {"podSelector": {}},
    }));
    let there = |child: &dyn ChildApi| {
        child
            .view()
            .network_policies
            .known()
            .is_some_and(|found| found.contains(&name))
    };
    apply(&setting, &policy).await;
    until(&setting, "the policy", there).await;
    let api = Api::<NetworkPolicy>::namespaced(setting.client.clone(), "default");
    api.delete("deny", &DeleteParams::default()).await.unwrap();
    until(&setting, "the policy's end", |child| !there(child)).await;
    setting.children.forget(&setting.key);
}
