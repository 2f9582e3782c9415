//! What the API server alone takes for the operator's requests: a bare client sends the same number of each kind, with bodies like the
//! operator's, as fast as they are answered.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt;
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::requests::Requests;
use crate::say;
use crate::setting::Setting;

/// How many requests are under way at once.
const AT_ONCE: usize = 16;
const NAMESPACE: &str = "floor";

/// One request of a cluster's life, with its object's name replaced by the cluster's number.
#[derive(Clone, Debug)]
struct Step {
    verb: String,
    resource: String,
    suffix: String,
}

impl Setting {
    /// Sends the requests that one typical cluster had, once for each cluster.
    pub async fn floor(&self, requests: &Requests) -> Value {
        self.stop_operator();
        let steps = typical(requests);
        let client = self.client().await;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        send(&client, "POST", "/api/v1/namespaces", &namespace)
            .await
            .unwrap();
        let before = self.spent().seed();
        let began = Instant::now();
        futures::stream::iter(0..self.sizes.clusters)
            .for_each_concurrent(AT_ONCE, |number| {
                let (client, steps) = (client.clone(), steps.clone());
                async move {
                    for step in &steps {
                        step.carry_out(&client, number).await;
                    }
                }
            })
            .await;
        let seconds = began.elapsed().as_secs_f64();
        let apiserver = self.spent().seed() - before;
        say(&format!(
            "a bare client takes {seconds:.1} s for {} requests a cluster",
            steps.len()
        ));
        json!({
            "seconds": seconds, "requests_per_cluster": steps.len(), "clusters": self.sizes.clusters,
            "apiserver_cpu_seconds": apiserver,
        })
    }
}

/// The requests to the objects of the cluster in the middle by their number.
fn typical(requests: &Requests) -> Vec<Step> {
    let mut of: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for entry in &requests.entries {
        let name = entry.object.rsplit_once('/').map_or("", |(_, name)| name);
        // c0042, c0042-cp-0, c0042-ca, c0042.18bd…
        let Some(cluster) = name
            .get(..5)
            .filter(|n| n.starts_with('c') && n[1..].parse::<usize>().is_ok())
        else {
            continue;
        };
        of.entry(cluster.to_owned()).or_default().push(Step {
            verb: entry.verb.clone(),
            resource: entry.resource.clone(),
            suffix: name[5..].to_owned(),
        });
    }
    let mut all: Vec<Vec<Step>> = of.into_values().collect();
    all.sort_by_key(Vec::len);
    all.get(all.len() / 2).cloned().unwrap_or_default()
}

impl Step {
    async fn carry_out(&self, client: &Client, number: usize) {
        let (plural, sub) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        let name = format!("f{number:04}{}", self.suffix);
        let (kind, version, base) = match plural {
            "secrets" => ("Secret", "v1", "/api/v1"),
            "configmaps" => ("ConfigMap", "v1", "/api/v1"),
            "events" => ("Event", "events.k8s.io/v1", "/apis/events.k8s.io/v1"),
            "devclusters" => ("DevCluster", "seedbed.dev/v1alpha1", "/apis/seedbed.dev/v1alpha1"),
            "nodepools" => ("NodePool", "seedbed.dev/v1alpha1", "/apis/seedbed.dev/v1alpha1"),
            "devmachines" => ("DevMachine", "seedbed.dev/v1alpha1", "/apis/seedbed.dev/v1alpha1"),
            _ => return,
        };
        let all = format!("{base}/namespaces/{NAMESPACE}/{plural}");
        let sub = if sub.is_empty() {
            String::new()
        } else {
            format!("/{sub}")
        };
        let one = format!("{all}/{name}{sub}");
        let mut object = json!({
            "apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE},
        });
        fill(&mut object, kind, number);
        let method = match self.verb.as_str() {
            "get" => "GET",
            "create" => "POST",
            "update" => "PUT",
            "patch" => "PATCH",
            "delete" => "DELETE",
            "list" => {
                let _ = send(
                    client,
                    "GET",
                    &format!("{all}?labelSelector=seedbed.dev%2Fcluster%3D{name}"),
                    &Value::Null,
                )
                .await;
                return;
            }
            _ => return,
        };
        // The user makes the cluster itself.
        let is_first = self.verb != "create" && matches!(kind, "DevCluster" | "NodePool");
        let body = if method == "GET" {
            Value::Null
        } else {
            object.clone()
        };
        let target = if method == "POST" { &all } else { &one };
        // An answer of "not found" takes no less than one with the object did in the operator's own run.
        if send(client, method, target, &body).await.is_err() && is_first {
            object["metadata"] = json!({"name": name, "namespace": NAMESPACE});
            let _ = send(client, "POST", &all, &object).await;
        }
    }
}

/// Contents about as large as the operator's.
fn fill(object: &mut Value, kind: &str, number: usize) {
    let machine = json!({"cpus": 2, "memory": "3Gi", "disk": "20Gi"});
    let stamp = format!("{:?}", Instant::now());
    match kind {
        "Secret" => object["stringData"] = json!({"tls.crt": "x".repeat(600), "tls.key": "x".repeat(250)}),
        "ConfigMap" => object["data"] = json!({"allocations": "x".repeat(500)}),
        "Event" => {
            object["eventTime"] = json!("2026-01-01T00:00:00.000000Z");
            object["reportingController"] = json!("seedbed.dev/floor");
            object["reportingInstance"] = json!("floor");
            object["action"] = json!("Observe");
            object["reason"] = json!("Floor");
            object["type"] = json!("Normal");
            object["note"] = json!("x".repeat(60));
        }
        "DevCluster" => {
            object["spec"] = json!({
                "version": "v1.35.4", "hostRef": {"name": "none"}, "controlPlane": {"replicas": 1, "machine": machine},
            });
        }
        "NodePool" => {
            object["spec"] = json!({"clusterRef": {"name": "none"}, "replicas": 1, "machine": machine});
        }
        _ => {
            object["spec"] = json!({
                "clusterRef": {"name": "none"}, "hostRef": {"name": "none"}, "role": "ControlPlane",
                "version": "v1.35.4", "machine": machine, "templateHash": format!("{number:016x}"),
            });
        }
    }
    if matches!(kind, "DevCluster" | "NodePool" | "DevMachine") {
        let condition = |type_: &str| {
            json!({
                "type": type_, "status": "True", "reason": "Floor", "message": stamp.clone(),
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
            })
        };
        let conditions: Vec<Value> = ["Ready", "Progressing", "Stalled", "A", "B", "C", "D"]
            .iter()
            .map(|t| condition(t))
            .collect();
        object["status"] = json!({"conditions": conditions, "observedGeneration": 1});
        if kind == "NodePool" {
            object["status"]["replicas"] = json!(1);
            object["status"]["readyReplicas"] = json!(1);
            object["status"]["upToDateReplicas"] = json!(1);
        }
    }
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body).unwrap()
    };
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(bytes)
        .unwrap();
    client.request(request).await
}
