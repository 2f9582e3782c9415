//! Nodes that machines left behind: the machine went while the cluster's API could not be reached, or a snapshot of before that was
//! restored. Such a node would stay, `NotReady`, for as long as the cluster does.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use seedbed_crds::DevMachine;
use seedbed_planner::names;

use super::observe::{self, Subject};
use crate::controllers::world::World;
use crate::controllers::{access, nodes};
use crate::errors::Error;
use crate::events::EventType;

/// Whether there are such nodes, as far as the cluster's API tells.
pub fn seen(subject: &Subject) -> bool {
    let mut nodes = subject.view.nodes.known().into_iter().flatten();
    nodes.any(|node| is_left(node, &subject.machines, subject))
}

/// Removes them, as both API servers have it now: a cache that lags may not know a machine that was made a moment ago, or a kubelet that
/// answers again.
pub async fn delete(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some(child) = access::child(world, &subject.cluster, subject.stored.as_ref()).await? else {
        return Ok(());
    };
    let machines = observe::listed_machines(&subject.cluster, world).await?;
    for seen in subject.view.nodes.known().into_iter().flatten() {
        if !is_left(seen, &machines, subject) {
            continue;
        }
        let name = seen.name_any();
        let Some(node) = child.node_now(&name).await? else {
            continue;
        };
        if !is_left(&node, &machines, subject) {
            continue;
        }
        child.delete_node(&name, &node.uid().unwrap_or_default()).await?;
        let told = format!("removed node {name} from the cluster: its DevMachine is gone");
        let events = &world.context.events;
        events
            .publish(
                &subject.cluster,
                EventType::Normal,
                "NodeRemoved",
                "Delete",
                &told,
            )
            .await;
    }
    Ok(())
}

/// Whether the node was one of ours, as its provider ID says, none of these machines is it, and its kubelet is not heard of. What a person
/// had join is left alone.
fn is_left(node: &Node, machines: &[DevMachine], subject: &Subject) -> bool {
    let provider_id = node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref());
    provider_id.is_some_and(|id| names::is_of_host(id, &subject.cluster.spec.host_ref.name))
        && !nodes::is_ready(node)
        && !machines
            .iter()
            .any(|machine| machine.name_any() == node.name_any())
}
