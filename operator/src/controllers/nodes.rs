//! What a node of a child cluster says, as far as decisions need it.

use k8s_openapi::api::core::v1::{Node, NodeCondition};

fn ready(node: &Node) -> Option<&NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|c| c.type_ == "Ready")
}

/// Whether the node says that it is Ready. "Unknown" is what the control plane says of a kubelet that fell silent.
pub fn is_ready(node: &Node) -> bool {
    ready(node).is_some_and(|c| c.status == "True")
}

/// Why the node is not Ready, in the kubelet's words.
pub fn not_ready_message(node: &Node) -> String {
    match ready(node) {
        None => "the kubelet has not said yet whether the node is Ready".to_owned(),
        Some(condition) => condition
            .message
            .clone()
            .filter(|m| !m.is_empty())
            .or_else(|| condition.reason.clone())
            .unwrap_or_else(|| format!("the node's Ready condition is {}", condition.status)),
    }
}

/// Whether the node takes no new pods.
pub fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false)
}

/// The version of the node's kubelet, such as `v1.36.3`; empty before it told.
pub fn kubelet(node: &Node) -> &str {
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    info.map_or("", |info| &info.kubelet_version)
}
