//! Objects as a user writes and reads them: plain documents, so that also wrong ones can be sent.

use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::{eventually, eventually_within};

/// A condition as it stands in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// Generation of the spec that it speaks of.
    pub observed_generation: i64,
}

/// Objects in one namespace, and those that have none.
#[derive(Clone)]
pub struct Objects {
    /// The API.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

/// Group, version and plural of a kind, and whether it is in a namespace.
fn kind_of(kind: &str) -> (&'static str, &'static str, &'static str, bool) {
    match kind {
        "DevCluster" => ("seedbed.dev", "v1alpha1", "devclusters", true),
        "NodePool" => ("seedbed.dev", "v1alpha1", "nodepools", true),
        "ClusterUpgrade" => ("seedbed.dev", "v1alpha1", "clusterupgrades", true),
        "DevMachine" => ("seedbed.dev", "v1alpha1", "devmachines", true),
        "HypervisorHost" => ("seedbed.dev", "v1alpha1", "hypervisorhosts", false),
        "KubernetesRelease" => ("seedbed.dev", "v1alpha1", "kubernetesreleases", false),
        "Namespace" => ("", "v1", "namespaces", false),
        "Node" => ("", "v1", "nodes", false),
        "Pod" => ("", "v1", "pods", true),
        "Service" => ("", "v1", "services", true),
        "ServiceAccount" => ("", "v1", "serviceaccounts", true),
        "Secret" => ("", "v1", "secrets", true),
        "ConfigMap" => ("", "v1", "configmaps", true),
        "Deployment" => ("apps", "v1", "deployments", true),
        "Job" => ("batch", "v1", "jobs", true),
        "NetworkPolicy" => ("networking.k8s.io", "v1", "networkpolicies", true),
        "Event" => ("events.k8s.io", "v1", "events", true),
        "Lease" => ("coordination.k8s.io", "v1", "leases", true),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1", "customresourcedefinitions", false),
        other => panic!("the tests do not know the kind {other}"),
    }
}

impl Objects {
    /// Objects in that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// Makes the namespace where it is missing.
    pub async fn ensure_namespace(&self) {
        if self.find("Namespace", &self.namespace).await.is_none() {
            let namespace = json!({"kind": "Namespace", "metadata": {"name": self.namespace}});
            self.create(namespace).await.unwrap();
        }
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let (group, version, plural, namespaced) = kind_of(kind);
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        if namespaced {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    /// Creates an object; an error is the API server's message.
    pub async fn create(&self, object: Value) -> Result<Value, String> {
        self.post(object, false).await
    }

    /// Asks whether an object would be created; an error is the API server's message.
    pub async fn try_create(&self, object: Value) -> Result<Value, String> {
        self.post(object, true).await
    }

    async fn post(&self, mut object: Value, dry_run: bool) -> Result<Value, String> {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let (group, version, ..) = kind_of(&kind);
        object["apiVersion"] = if group.is_empty() {
            json!(version)
        } else {
            json!(format!("{group}/{version}"))
        };
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let params = PostParams {
            dry_run,
            ..PostParams::default()
        };
        document(self.api(&kind).create(&params, &object).await)
    }

    /// The object; none where there is none.
    pub async fn find(&self, kind: &str, name: &str) -> Option<Value> {
        let found = self.api(kind).get_opt(name).await.unwrap();
        found.map(|object| serde_json::to_value(object).unwrap())
    }

    /// The object, which has to be there.
    pub async fn get(&self, kind: &str, name: &str) -> Value {
        self.find(kind, name)
            .await
            .unwrap_or_else(|| panic!("{kind} {}/{name} is not there", self.namespace))
    }

    /// All objects of the kind, as far as they have that label or all of them where it is empty.
    pub async fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let list = self
            .api(kind)
            .list(&ListParams::default().labels(selector))
            .await
            .unwrap();
        list.items
            .iter()
            .map(|object| serde_json::to_value(object).unwrap())
            .collect()
    }

    /// Merges a change into an object; an error is the API server's message.
    pub async fn change(&self, kind: &str, name: &str, change: &Value) -> Result<Value, String> {
        document(
            self.api(kind)
                .patch(name, &PatchParams::default(), &Patch::Merge(change))
                .await,
        )
    }

    /// Merges a change into an object's status.
    pub async fn change_status(&self, kind: &str, name: &str, change: &Value) -> Result<Value, String> {
        document(
            self.api(kind)
                .patch_status(name, &PatchParams::default(), &Patch::Merge(change))
                .await,
        )
    }

    /// Asks for an object's deletion.
    pub async fn delete(&self, kind: &str, name: &str) {
        self.api(kind)
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, limit: std::time::Duration, kind: &str, name: &str) {
        let what = format!("{kind} {}/{name} is gone", self.namespace);
        eventually_within(limit, &what, async || match self.find(kind, name).await {
            None => Ok(()),
            Some(object) => Err(told(&object)),
        })
        .await;
    }

    /// Waits until an object's condition has this status, for the present generation, and its reason and message have all these
    /// parts.
    pub async fn told(&self, kind: &str, name: &str, type_: &str, status: &str, parts: &[&str]) -> Condition {
        let what = format!(
            "{kind} {}/{name}: {type_} is {status} and says {parts:?}",
            self.namespace
        );
        eventually(&what, async || {
            let object = self.find(kind, name).await.ok_or("nothing of that name")?;
            match condition(&object, type_) {
                Some(found)
                    if found.status == status
                        && found.observed_generation
                            == object["metadata"]["generation"].as_i64().unwrap_or(0)
                        && parts
                            .iter()
                            .all(|p| found.reason == *p || found.message.contains(p)) =>
                {
                    Ok(found)
                }
                _ => Err(told(&object)),
            }
        })
        .await
    }

    /// Waits until an object's condition is there with another reason.
    pub async fn mended(&self, kind: &str, name: &str, type_: &str, reason: &str) -> Condition {
        let what = format!(
            "{kind} {}/{name}: {type_} is not {reason} any more",
            self.namespace
        );
        eventually(&what, async || {
            let object = self.find(kind, name).await.ok_or("nothing of that name")?;
            match condition(&object, type_) {
                Some(found) if found.reason != reason => Ok(found),
                _ => Err(told(&object)),
            }
        })
        .await
    }
}

fn document(answer: kube::Result<DynamicObject>) -> Result<Value, String> {
    match answer {
        Ok(object) => Ok(serde_json::to_value(object).unwrap()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("the API server was not reached: {error}"),
    }
}

/// The condition of that type.
pub fn condition(object: &Value, type_: &str) -> Option<Condition> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|c| c["type"] == type_)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some(Condition {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
        observed_generation: found["observedGeneration"].as_i64().unwrap_or(0),
    })
}

/// What an object's conditions say, in lines for people.
pub fn told(object: &Value) -> String {
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if conditions.is_empty() {
        return "no conditions".to_owned();
    }
    let line = |c: &Value| {
        let text = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
        format!(
            "\n  {}={} ({}) {}",
            text("type"),
            text("status"),
            text("reason"),
            text("message")
        )
    };
    conditions.iter().map(line).collect()
}
