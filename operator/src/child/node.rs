//! The form that a node is given: labels, and the range of its pods.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Map, Value, json};

use super::{ChildError, ChildKey};
use crate::deletion;
use crate::names::FIELD_MANAGER;

/// Annotation of a node that lists, with commas between them, the keys of the labels that the operator set: a key that is
/// listed and not wanted any more is removed, and every other label is somebody else's.
pub const NODE_LABELS_ANNOTATION: &str = "seedbed.dev/node-labels";

/// Annotation of a node that says who closed it for new pods, and so may open it again.
pub const CLOSED_BY_ANNOTATION: &str = "seedbed.dev/closed-by";

/// The form that a node is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeShape {
    /// Labels that the node has to have.
    pub labels: BTreeMap<String, String>,
    /// Range of its pods' addresses, written where the node has none: it cannot be changed.
    pub pod_cidr: Option<String>,
}

impl NodeShape {
    /// Whether the node has this form already.
    pub fn fits(&self, node: &Node) -> bool {
        difference(node, self).is_none()
    }
}

pub(super) async fn shape(
    client: &Client,
    cluster: &ChildKey,
    name: &str,
    shape: &NodeShape,
) -> Result<bool, ChildError> {
    write(client, cluster, name, "label node", |node| {
        difference(node, shape)
    })
    .await
}

pub(super) async fn cordon(client: &Client, cluster: &ChildKey, name: &str) -> Result<bool, ChildError> {
    write(client, cluster, name, "cordon node", |node| {
        (!is_closed(node)).then(|| json!({"spec": {"unschedulable": true}}))
    })
    .await
}

/// Closes the node for new pods on behalf of `who`; one that is closed already is left to whoever closed it.
pub(super) async fn close(
    client: &Client,
    cluster: &ChildKey,
    name: &str,
    who: &str,
) -> Result<bool, ChildError> {
    write(client, cluster, name, "cordon node", |node| {
        (!is_closed(node)).then(|| {
            json!({"metadata": {"annotations": {CLOSED_BY_ANNOTATION: who}}, "spec": {"unschedulable": true}})
        })
    })
    .await
}

/// Opens the node again where `who` closed it.
pub(super) async fn open(
    client: &Client,
    cluster: &ChildKey,
    name: &str,
    who: &str,
) -> Result<bool, ChildError> {
    write(client, cluster, name, "uncordon node", |node| {
        let ours = node.annotations().get(CLOSED_BY_ANNOTATION).is_some_and(|by| by == who);
        ours.then(|| json!({"metadata": {"annotations": {CLOSED_BY_ANNOTATION: null}}, "spec": {"unschedulable": null}}))
    })
    .await
}

fn is_closed(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

pub(super) async fn delete(
    client: &Client,
    cluster: &ChildKey,
    name: &str,
    uid: &str,
) -> Result<(), ChildError> {
    let nodes = Api::<Node>::all(client.clone());
    deletion::delete(&nodes, name, Some(uid.to_owned()))
        .await
        .map_err(|error| ChildError::of(cluster, format!("delete node {name}"), &error))
}

/// The node of that name, as the API server has it now.
pub(super) async fn get(client: &Client, cluster: &ChildKey, name: &str) -> Result<Option<Node>, ChildError> {
    Api::<Node>::all(client.clone())
        .get_opt(name)
        .await
        .map_err(|error| ChildError::of(cluster, format!("look at node {name}"), &error))
}

/// Reads the node, and writes what `change` finds missing, to the node as it was read. A write that is carried out when nobody waits for
/// it any more is refused then: it could close a node again that was opened since, or be meant for another one of that name.
async fn write(
    client: &Client,
    cluster: &ChildKey,
    name: &str,
    what: &str,
    change: impl FnOnce(&Node) -> Option<Value>,
) -> Result<bool, ChildError> {
    let told = |error: kube::Error| ChildError::of(cluster, format!("{what} {name}"), &error);
    let api = Api::<Node>::all(client.clone());
    let node = api.get(name).await.map_err(told)?;
    let Some(mut patch) = change(&node) else {
        return Ok(false);
    };
    patch["metadata"]["uid"] = json!(node.uid());
    patch["metadata"]["resourceVersion"] = json!(node.resource_version());
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &params, &Patch::Merge(&patch))
        .await
        .map_err(told)?;
    Ok(true)
}

/// What has to be merged into the node to give it that form; none where it has it.
fn difference(node: &Node, shape: &NodeShape) -> Option<Value> {
    let mut labels = Map::new();
    let listed = node.annotations().get(NODE_LABELS_ANNOTATION);
    let ours: BTreeSet<&str> = listed
        .into_iter()
        .flat_map(|keys| keys.split(','))
        .filter(|k| !k.is_empty())
        .collect();
    for key in ours {
        if !shape.labels.contains_key(key) && node.labels().contains_key(key) {
            labels.insert(key.to_owned(), Value::Null);
        }
    }
    for (key, value) in &shape.labels {
        if node.labels().get(key) != Some(value) {
            labels.insert(key.clone(), json!(value));
        }
    }

    let mut patch = Map::new();
    let mut metadata = Map::new();
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), Value::Object(labels));
    }
    let keys = shape
        .labels
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(",");
    if listed.map_or("", String::as_str) != keys {
        let value = if keys.is_empty() { Value::Null } else { json!(keys) };
        metadata.insert("annotations".to_owned(), json!({ NODE_LABELS_ANNOTATION: value }));
    }
    if !metadata.is_empty() {
        patch.insert("metadata".to_owned(), Value::Object(metadata));
    }
    let has_range = node
        .spec
        .as_ref()
        .and_then(|spec| spec.pod_cidr.as_ref())
        .is_some_and(|cidr| !cidr.is_empty());
    if let Some(cidr) = shape.pod_cidr.as_ref().filter(|_| !has_range) {
        patch.insert("spec".to_owned(), json!({"podCIDR": cidr, "podCIDRs": [cidr]}));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    fn shape_of(labels: &[(&str, &str)], pod_cidr: Option<&str>) -> NodeShape {
        NodeShape {
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            pod_cidr: pod_cidr.map(str::to_owned),
        }
    }

    #[test]
    fn a_new_node_gets_labels_and_range() {
        let found = node(json!({"metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux"}}}));
        let patch = difference(&found, &shape_of(&[("tier", "web")], Some("10.244.1.0/24"))).unwrap();
        assert_eq!(
            patch,
            json!({
                "metadata": {"labels": {"tier": "web"}, "annotations": {NODE_LABELS_ANNOTATION: "tier"}},
                "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
            })
        );
    }

    #[test]
    fn a_node_that_has_its_form_is_left_alone() {
        let found = node(json!({
            "metadata": {"name": "n", "labels": {"tier": "web"}, "annotations": {NODE_LABELS_ANNOTATION: "tier"}},
            "spec": {"podCIDR": "10.244.1.0/24"},
        }));
        assert_eq!(
            difference(&found, &shape_of(&[("tier", "web")], Some("10.244.9.0/24"))),
            None
        );
    }

    #[test]
    fn only_labels_of_our_own_are_removed() {
        let found = node(json!({
            "metadata": {
                "name": "n",
                "labels": {"tier": "web", "theirs": "yes"},
                "annotations": {NODE_LABELS_ANNOTATION: "tier"},
            },
        }));
        let patch = difference(&found, &shape_of(&[], None)).unwrap();
        assert_eq!(
            patch,
            json!({"metadata": {"labels": {"tier": null}, "annotations": {NODE_LABELS_ANNOTATION: null}}})
        );
    }
}
