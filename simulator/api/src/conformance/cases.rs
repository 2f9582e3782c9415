//! The requests.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::Case;
use super::calls::{Ask, Calls};

macro_rules! cases {
    ($($function:ident),+ $(,)?) => {
        /// All cases.
        pub const CASES: &[Case] = &[$(Case {
            name: concat!("calibration-", stringify!($function)),
            recorded: include_str!(concat!("../../answers/", stringify!($function), ".txt")),
            run: |calls| $function(calls).boxed() as BoxFuture<'_, ()>,
        }),+];
    };
}

cases!(
    created,
    replaced,
    merged,
    applied,
    deleted,
    finalized,
    status,
    generations,
    nodes,
    leases,
    events,
    lists,
    selectors,
    watched,
    filtered,
    expired,
    evicted,
    surveyed,
    unknown,
);

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "1"}})
}

fn labelled(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}})
}

/// A machine of a cluster that there is not, so that an operator leaves it alone.
fn machine(name: &str) -> Value {
    json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "DevMachine", "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": "nothing"}, "hostRef": {"name": "nothing"}, "role": "Worker", "version": "v1.35.4",
            "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"}, "templateHash": "0123456789",
        },
    })
}

const MACHINES: &str = "seedbed.dev/v1alpha1 devmachines";

/// The object at that version.
fn at(mut object: Value, version: &str) -> Value {
    object["metadata"]["resourceVersion"] = version.into();
    object
}

async fn created(calls: &mut Calls) {
    calls.ask(Ask::post("v1 configmaps", &config_map("a"))).await;
    calls.ask(Ask::post("v1 configmaps", &config_map("a"))).await;
    calls.ask(Ask::get("v1 configmaps/a")).await;
    calls.ask(Ask::get("v1 configmaps/b")).await;
    calls
        .ask(Ask::post("v1 configmaps", &at(config_map("c"), "1")))
        .await;
    let mut elsewhere = config_map("d");
    elsewhere["metadata"]["namespace"] = "another".into();
    calls.ask(Ask::post("v1 configmaps", &elsewhere)).await;
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    calls.ask(Ask::post("v1 configmaps", &nameless)).await;
    let given = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "e", "uid": "mine", "generation": 7, "creationTimestamp": "2020-01-01T00:00:00Z",
    }});
    calls.ask(Ask::post("v1 configmaps", &given)).await;
    calls
        .ask(Ask::post("v1 configmaps", &Value::Null).with_text("{"))
        .await;
}

async fn replaced(calls: &mut Calls) {
    calls.ask(Ask::post("v1 configmaps", &config_map("a"))).await;
    let first = calls.version();
    let mut changed = at(config_map("a"), &first);
    changed["data"]["k"] = "2".into();
    calls.ask(Ask::put("v1 configmaps/a", &changed)).await;
    let second = calls.version();
    calls.ask(Ask::put("v1 configmaps/a", &changed)).await;
    // Nothing is changed.
    calls
        .ask(Ask::put("v1 configmaps/a", &at(changed.clone(), &second)))
        .await;
    // Without a version.
    calls.ask(Ask::put("v1 configmaps/a", &config_map("a"))).await;
    calls.ask(Ask::put("v1 configmaps/b", &config_map("b"))).await;
    calls
        .ask(Ask::put("v1 configmaps/b", &at(config_map("b"), &second)))
        .await;
    calls.ask(Ask::put("v1 configmaps/a", &config_map("b"))).await;
    let mut another = config_map("a");
    another["metadata"]["uid"] = "another".into();
    calls.ask(Ask::put("v1 configmaps/a", &another)).await;
}

async fn merged(calls: &mut Calls) {
    calls.ask(Ask::post("v1 configmaps", &config_map("a"))).await;
    let version = calls.version();
    calls
        .ask(Ask::merge(
            "v1 configmaps/a",
            &json!({"data": {"k": null, "l": "2"}}),
        ))
        .await;
    calls
        .ask(Ask::merge("v1 configmaps/a", &json!({"data": {"l": "2"}})))
        .await;
    calls
        .ask(Ask::merge(
            "v1 configmaps/a",
            &json!({"metadata": {"resourceVersion": version}, "data": {"l": "3"}}),
        ))
        .await;
    calls
        .ask(Ask::merge("v1 configmaps/b", &json!({"data": {"l": "2"}})))
        .await;
    calls
        .ask(Ask::merge(
            "v1 configmaps/a",
            &json!({"metadata": {"uid": "another"}}),
        ))
        .await;
    calls
        .ask(Ask::merge(
            "v1 configmaps/a",
            &json!({"metadata": {"annotations": {"a": "b"}}}),
        ))
        .await;
    calls
        .ask(Ask::merge(
            "v1 configmaps/a",
            &json!({"metadata": {"annotations": null}}),
        ))
        .await;
    calls
        .ask(Ask::merge("v1 configmaps/a", &Value::Null).with_text("{"))
        .await;
}

async fn applied(calls: &mut Calls) {
    let path = "v1 secrets/s?fieldManager=tests&force=true";
    let secret = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque", "data": {"k": value},
        })
    };
    calls.ask(Ask::apply(path, &secret("YQ=="))).await;
    calls.ask(Ask::apply(path, &secret("YQ=="))).await;
    calls.ask(Ask::apply(path, &secret("Yg=="))).await;
    calls.ask(Ask::apply("v1 secrets/s", &secret("Yg=="))).await;
}

async fn deleted(calls: &mut Calls) {
    calls.ask(Ask::post("v1 configmaps", &config_map("a"))).await;
    let version = calls.version();
    calls
        .ask(Ask::delete("v1 configmaps/a").with(&json!({"preconditions": {"uid": "another"}})))
        .await;
    calls
        .ask(Ask::delete("v1 configmaps/a").with(&json!({"preconditions": {"resourceVersion": "1"}})))
        .await;
    calls.ask(Ask::get("v1 configmaps/a")).await;
    let uid = calls.uid();
    calls
        .ask(
            Ask::delete("v1 configmaps/a")
                .with(&json!({"preconditions": {"uid": uid, "resourceVersion": version}})),
        )
        .await;
    calls.ask(Ask::delete("v1 configmaps/a")).await;
    calls.ask(Ask::post(MACHINES, &machine("m"))).await;
    calls
        .ask(
            Ask::delete("seedbed.dev/v1alpha1 devmachines/m")
                .with(&json!({"preconditions": {"uid": "another"}})),
        )
        .await;
    calls.ask(Ask::delete("seedbed.dev/v1alpha1 devmachines/m")).await;
    calls.ask(Ask::delete("seedbed.dev/v1alpha1 devmachines/m")).await;
}

async fn finalized(calls: &mut Calls) {
    let path = "seedbed.dev/v1alpha1 devmachines/m";
    let mut kept = machine("m");
    kept["metadata"]["finalizers"] = json!(["example.com/one", "example.com/two"]);
    calls.ask(Ask::post(MACHINES, &kept)).await;
    let version = calls.version();
    calls.ask(Ask::delete(path)).await;
    calls.ask(Ask::delete(path)).await;
    let finalizers = |names: &Value| json!({"metadata": {"finalizers": names}});
    calls
        .ask(Ask::merge(
            path,
            &finalizers(&json!([
                "example.com/one",
                "example.com/two",
                "example.com/three"
            ])),
        ))
        .await;
    let mut stale = finalizers(&json!(["example.com/two"]));
    stale["metadata"]["resourceVersion"] = version.into();
    calls.ask(Ask::merge(path, &stale)).await;
    calls
        .ask(Ask::merge(path, &finalizers(&json!(["example.com/two"]))))
        .await;
    calls
        .ask(Ask::merge(path, &json!({"metadata": {"labels": {"a": "b"}}})))
        .await;
    calls
        .ask(Ask::merge(
            path,
            &json!({"metadata": {"deletionTimestamp": null}}),
        ))
        .await;
    calls.ask(Ask::merge(path, &finalizers(&Value::Null))).await;
    calls.ask(Ask::get(path)).await;
    calls.ask(Ask::merge(path, &finalizers(&Value::Null))).await;
    calls.ask(Ask::post(MACHINES, &machine("m"))).await;
    calls.ask(Ask::delete(path)).await;
}

async fn status(calls: &mut Calls) {
    let (path, sub) = (
        "seedbed.dev/v1alpha1 devmachines/m",
        "seedbed.dev/v1alpha1 devmachines/m/status",
    );
    let mut with_status = machine("m");
    with_status["status"] = json!({"phase": "Ready"});
    calls.ask(Ask::post(MACHINES, &with_status)).await;
    let first = calls.version();
    calls.ask(Ask::put(sub, &at(with_status.clone(), &first))).await;
    let second = calls.version();
    calls.ask(Ask::put(sub, &at(with_status.clone(), &first))).await;
    calls.ask(Ask::put(sub, &at(with_status.clone(), &second))).await;
    calls.ask(Ask::put(sub, &with_status)).await;
    // A write to the one leaves the other as it is.
    let both = json!({"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Other"}});
    calls.ask(Ask::merge(sub, &both)).await;
    calls
        .ask(Ask::merge(
            path,
            &json!({"metadata": {"labels": {"c": "d"}}, "status": {"phase": "Third"}}),
        ))
        .await;
    calls.ask(Ask::get(sub)).await;
    calls.ask(Ask::put(path, &machine("m"))).await;
    calls
        .ask(Ask::merge("seedbed.dev/v1alpha1 devmachines/n/status", &both))
        .await;
    calls
        .ask(Ask::put(
            "seedbed.dev/v1alpha1 devmachines/n/status",
            &at(machine("n"), &second),
        ))
        .await;
    calls.ask(Ask::delete(path)).await;
    calls.ask(Ask::put(sub, &at(with_status, &second))).await;
}

async fn generations(calls: &mut Calls) {
    let path = "apps/v1 deployments/d";
    let labels = json!({"app": "d"});
    let pod = json!({"containers": [{"name": "c", "image": "i"}]});
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        "status": {"readyReplicas": 7},
    });
    calls.ask(Ask::post("apps/v1 deployments", &deployment)).await;
    let status = json!({"status": {"replicas": 2, "readyReplicas": 2}, "spec": {"replicas": 9}});
    calls
        .ask(Ask::merge("apps/v1 deployments/d/status", &status))
        .await;
    let spec = json!({"status": {"readyReplicas": 9}, "spec": {"replicas": 3}});
    calls.ask(Ask::merge(path, &spec)).await;
    for metadata in [
        json!({"labels": {"a": "b"}}),
        json!({"annotations": {"a": "b"}}),
        json!({"generation": 9}),
    ] {
        calls.ask(Ask::merge(path, &json!({"metadata": metadata}))).await;
    }
    let object = |version: &str, kind: &str, spec: &Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "o"}, "spec": spec});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    calls.quietly(Ask::post("v1 serviceaccounts", &account)).await;
    let daemons = json!({"selector": {"matchLabels": labels}, "template": template});
    let budget = json!({"minAvailable": 1, "selector": {"matchLabels": labels}});
    for (version, kind, plural, spec) in [
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "networkpolicies",
            json!({"podSelector": {}}),
        ),
        ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", budget),
        ("v1", "Service", "services", json!({"ports": [{"port": 80}]})),
        ("v1", "Pod", "pods", pod),
        ("apps/v1", "DaemonSet", "daemonsets", daemons),
    ] {
        let new = object(version, kind, &spec);
        calls
            .ask(Ask::post(format!("{version} {plural}"), &new).metadata())
            .await;
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        calls
            .ask(Ask::merge(format!("{version} {plural}/o"), &label).metadata())
            .await;
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque"});
    calls.ask(Ask::post("v1 secrets", &secret)).await;
}

async fn nodes(calls: &mut Calls) {
    let path = "/api/v1/nodes/calibration-node";
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "calibration-node"}});
    calls.ask(Ask::post("/api/v1/nodes", &node)).await;
    let range = |range: &str| json!({"podCIDR": range, "podCIDRs": [range]});
    let shape = json!({"metadata": {"labels": {"a": "b"}}, "spec": range("10.1.2.0/24")});
    calls.ask(Ask::merge(path, &shape)).await;
    calls
        .ask(Ask::merge(path, &json!({"spec": {"unschedulable": true}})))
        .await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    calls.ask(Ask::merge(format!("{path}/status"), &ready)).await;
    calls
        .ask(Ask::merge(path, &json!({"spec": range("10.1.3.0/24")})))
        .await;
    let other = json!({"preconditions": {"uid": "another"}});
    calls.ask(Ask::delete(path).with(&other)).await;
    calls.ask(Ask::delete(path)).await;
    calls.ask(Ask::get(path)).await;
}

async fn leases(calls: &mut Calls) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
    });
    calls
        .ask(Ask::post("coordination.k8s.io/v1 leases", &lease))
        .await;
    let first = calls.version();
    let mut other = at(lease.clone(), &first);
    other["spec"]["holderIdentity"] = "b".into();
    calls
        .ask(Ask::put("coordination.k8s.io/v1 leases/l", &other))
        .await;
    calls
        .ask(Ask::put("coordination.k8s.io/v1 leases/l", &other))
        .await;
    let mut new = lease;
    new["metadata"]["name"] = "m".into();
    calls.ask(Ask::put("coordination.k8s.io/v1 leases/m", &new)).await;
}

async fn events(calls: &mut Calls) {
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "action": "Reconcile", "reason": "Ready",
        "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "seedbed.dev/tests",
        "reportingInstance": "tests", "note": "all is well",
        "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "namespace": "calibration-events"},
    });
    calls
        .ask(Ask::post("events.k8s.io/v1 events", &event).metadata())
        .await;
    calls.ask(Ask::post("events.k8s.io/v1 events", &event)).await;
}

async fn lists(calls: &mut Calls) {
    calls.ask(Ask::get("v1 configmaps")).await;
    calls
        .ask(Ask::post("v1 configmaps", &labelled("b", &json!({"l": "x"}))))
        .await;
    calls
        .ask(Ask::post("v1 configmaps", &labelled("a", &json!({"l": "x"}))))
        .await;
    calls.ask(Ask::get("v1 configmaps")).await;
    calls
        .ask(Ask::get(
            "/api/v1/configmaps?labelSelector=l%3Dx&fieldSelector=metadata.namespace%3Dcalibration-lists",
        ))
        .await;
    calls.ask(Ask::get("v1 configmaps").metadata_list()).await;
    calls.ask(Ask::get("v1 configmaps/a").metadata()).await;
    calls.ask(Ask::get("v1 configmaps/c").metadata()).await;
    calls.ask(Ask::get(MACHINES)).await;
}

async fn selectors(calls: &mut Calls) {
    for (name, labels) in [
        ("a", json!({"l": "x"})),
        ("b", json!({"l": "y"})),
        ("c", json!({"m": ""})),
    ] {
        calls
            .quietly(Ask::post("v1 configmaps", &labelled(name, &labels)))
            .await;
    }
    for selector in [
        "labelSelector=l%3Dx",
        "labelSelector=l%3D%3Dx",
        "labelSelector=l!%3Dx",
        "labelSelector=l",
        "labelSelector=m",
        "labelSelector=!l",
        "labelSelector=l+in+(x,y)",
        "labelSelector=l+notin+(x)",
        "labelSelector=l%3Dx,m",
        "fieldSelector=metadata.name%3Db",
        "fieldSelector=metadata.name!%3Db",
        "fieldSelector=data.k%3Db",
    ] {
        calls
            .ask(Ask::get(format!("v1 configmaps?{selector}")).metadata_list())
            .await;
    }
}

async fn watched(calls: &mut Calls) {
    calls.ask(Ask::post("v1 configmaps", &config_map("a"))).await;
    let from = calls.version();
    calls
        .ask(Ask::merge("v1 configmaps/a", &json!({"data": {"k": "2"}})))
        .await;
    calls.ask(Ask::delete("v1 configmaps/a")).await;
    calls.ask(Ask::post("v1 configmaps", &config_map("b"))).await;
    calls
        .watch(
            Ask::get(format!("v1 configmaps?watch=true&resourceVersion={from}")),
            3,
        )
        .await;
    calls.watch(Ask::get("v1 configmaps?watch=true"), 1).await;
    calls
        .watch(Ask::get("v1 configmaps?watch=true&resourceVersion=0"), 1)
        .await;
    calls
        .watch(
            Ask::get(format!("v1 configmaps?watch=true&resourceVersion={from}")).metadata(),
            3,
        )
        .await;
    calls
        .watch(
            Ask::get(
                "v1 configmaps?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            ),
            2,
        )
        .await;
    let mut kept = config_map("c");
    kept["metadata"]["finalizers"] = json!(["example.com/one"]);
    calls.ask(Ask::post("v1 configmaps", &kept)).await;
    let from = calls.version();
    calls.ask(Ask::delete("v1 configmaps/c")).await;
    calls
        .ask(Ask::merge(
            "v1 configmaps/c",
            &json!({"metadata": {"finalizers": null}}),
        ))
        .await;
    calls
        .watch(
            Ask::get(format!("v1 configmaps?watch=true&resourceVersion={from}")),
            2,
        )
        .await;
}

async fn filtered(calls: &mut Calls) {
    calls
        .ask(Ask::post("v1 configmaps", &labelled("a", &json!({"l": "x"}))))
        .await;
    let from = calls.version();
    for label in ["y", "z", "x"] {
        calls
            .ask(Ask::merge(
                "v1 configmaps/a",
                &json!({"metadata": {"labels": {"l": label}}}),
            ))
            .await;
    }
    calls.ask(Ask::delete("v1 configmaps/a")).await;
    calls
        .watch(
            Ask::get(format!(
                "v1 configmaps?watch=true&resourceVersion={from}&labelSelector=l%3Dx"
            )),
            3,
        )
        .await;
    calls
        .watch(
            Ask::get(format!(
                "v1 configmaps?watch=true&resourceVersion={from}&fieldSelector=metadata.name%3Da"
            )),
            4,
        )
        .await;
}

async fn expired(calls: &mut Calls) {
    calls.ask(Ask::post(MACHINES, &machine("m"))).await;
    calls.forget();
    calls
        .watch(Ask::get(format!("{MACHINES}?watch=true&resourceVersion=1")), 1)
        .await;
    calls.ask(Ask::delete("seedbed.dev/v1alpha1 devmachines/m")).await;
}

async fn evicted(calls: &mut Calls) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    calls.quietly(Ask::post("v1 serviceaccounts", &account)).await;
    let labels = json!({"app": "p"});
    let pod = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        })
    };
    let eviction = |name: &str, options: &Value| {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options});
        Ask::post(format!("v1 pods/{name}/eviction"), &body)
    };
    calls.quietly(Ask::post("v1 pods", &pod("p"))).await;
    calls
        .ask(eviction("p", &json!({"preconditions": {"uid": "another"}})))
        .await;
    calls.ask(eviction("p", &Value::Null)).await;
    calls.ask(eviction("p", &Value::Null)).await;
    calls.quietly(Ask::post("v1 pods", &pod("q"))).await;
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    calls.quietly(Ask::merge("v1 pods/q/status", &ready)).await;
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}},
    });
    calls
        .quietly(Ask::post("policy/v1 poddisruptionbudgets", &budget))
        .await;
    let counted = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
    }});
    calls
        .quietly(Ask::merge("policy/v1 poddisruptionbudgets/b/status", &counted))
        .await;
    calls.ask(eviction("q", &Value::Null)).await;
    calls
        .quietly(Ask::merge(
            "policy/v1 poddisruptionbudgets/b/status",
            &json!({"status": {"disruptionsAllowed": 1}}),
        ))
        .await;
    calls.ask(eviction("q", &Value::Null)).await;
    calls.ask(Ask::get("v1 pods/q")).await;
    // One that a kubelet runs has some time.
    let mut placed = pod("r");
    placed["spec"]["nodeName"] = "calibration-none".into();
    calls.quietly(Ask::post("v1 pods", &placed)).await;
    calls.ask(eviction("r", &Value::Null)).await;
    calls.ask(Ask::get("v1 pods/r")).await;
    calls.ask(eviction("r", &Value::Null)).await;
    let at_once = Ask::delete("v1 pods/r").with(&json!({"gracePeriodSeconds": 0}));
    calls.quietly(at_once).await;
    calls.ask(Ask::get("v1 pods/r")).await;
}

/// What is looked at before an upgrade.
async fn surveyed(calls: &mut Calls) {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}],
        "ports": [{"name": "https", "port": 443, "protocol": "TCP"}],
    });
    calls
        .ask(Ask::post("discovery.k8s.io/v1 endpointslices", &slice))
        .await;
    for service in ["s", "t"] {
        let path = format!(
            "discovery.k8s.io/v1 endpointslices?limit=100&labelSelector=kubernetes.io%2Fservice-name%3D{service}"
        );
        calls.ask(Ask::get(path)).await;
    }
    calls
        .ask(Ask::get("policy/v1 poddisruptionbudgets?limit=100"))
        .await;
    let hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let rule = json!({
        "apiGroups": ["calibration.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["*"],
        "scope": "*",
    });
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "calibration"},
        "webhooks": [{
            "name": "calibration.example.com", "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "matchPolicy": "Equivalent", "timeoutSeconds": 10,
            "clientConfig": {"service": {"namespace": "default", "name": "s", "port": 443}},
            "namespaceSelector": {}, "objectSelector": {}, "rules": [rule],
        }],
    });
    calls.ask(Ask::post(hooks, &hook)).await;
    calls.ask(Ask::get(format!("{hooks}/calibration"))).await;
    calls.ask(Ask::delete(format!("{hooks}/calibration"))).await;
}

async fn unknown(calls: &mut Calls) {
    calls.ask(Ask::get("v1 nothings")).await;
    calls.ask(Ask::get("v1 nothings/a")).await;
    calls.ask(Ask::get("nothing.dev/v1 nothings")).await;
    calls.ask(Ask::get("v1 configmaps/a/status")).await;
    calls.ask(Ask::post("v1 configmaps/a", &config_map("a"))).await;
    calls.ask(Ask::get("/livez")).await;
}
