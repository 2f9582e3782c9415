//! Draining: which pods have to go, and asking them to.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1 as policy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::ResourceExt;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::Value;

use super::{ChildError, ChildKey};
use crate::errors::{api_message, status_code};

/// Annotation by which a kubelet marks pods that it made from files: the API cannot evict them.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: another pod of the same name is left alone.
    pub uid: String,
    /// Whether it is on its way out already.
    pub terminating: bool,
}

/// What came of asking for an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eviction {
    /// The pod is on its way out.
    Started,
    /// The pod is gone, or another one has its name.
    Gone,
    /// A disruption budget does not allow it now: the API server's words, which name the budget.
    Blocked {
        /// The API server's words.
        message: String,
    },
}

pub(super) async fn evictable(
    client: &Client,
    cluster: &ChildKey,
    node: &str,
) -> Result<Vec<PodRef>, ChildError> {
    let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = Api::<Pod>::all(client.clone())
        .list(&on_node)
        .await
        .map_err(|error| ChildError::of(cluster, format!("list the pods of node {node}"), &error))?;
    Ok(pods.iter().filter(|pod| has_to_go(pod)).map(reference).collect())
}

pub(super) async fn evict(client: &Client, cluster: &ChildKey, pod: &PodRef) -> Result<Eviction, ChildError> {
    // Written by hand: kube's own `evict` misspells `deleteOptions`, and the API server would evict whatever has the name.
    let eviction = policy::Eviction {
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions {
                uid: Some(pod.uid.clone()),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        }),
    };
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace);
    let params = PostParams::default();
    match api
        .create_subresource::<_, Value>("eviction", &pod.name, &params, &eviction)
        .await
    {
        Ok(_) => Ok(Eviction::Started),
        Err(error) => match status_code(&error) {
            Some(404 | 409) => Ok(Eviction::Gone),
            // 500: more than one budget covers the pod, and the API server evicts no such pod.
            Some(429 | 500) => Ok(Eviction::Blocked {
                message: blocked_message(&error),
            }),
            _ => Err(ChildError::of(
                cluster,
                format!("evict pod {}/{}", pod.namespace, pod.name),
                &error,
            )),
        },
    }
}

/// The API server's words about a budget: its causes name the budget, its message alone does not.
fn blocked_message(error: &kube::Error) -> String {
    let mut message = api_message(error);
    if let kube::Error::Api(status) = error {
        for cause in status.details.iter().flat_map(|details| &details.causes) {
            message.push_str(": ");
            message.push_str(&cause.message);
        }
    }
    message
}

fn has_to_go(pod: &Pod) -> bool {
    let mirror = pod.annotations().contains_key(MIRROR);
    let of_daemon_set = pod
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "DaemonSet" && owner.controller == Some(true));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let finished = matches!(phase, Some("Succeeded" | "Failed"));
    !(mirror || of_daemon_set || finished)
}

fn reference(pod: &Pod) -> PodRef {
    PodRef {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
    }
}
