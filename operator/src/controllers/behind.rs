//! Workers that are left behind: older than their cluster, with no upgrade that brings them along. Their pool was held back when it was
//! upgraded, or its machines are to be replaced afterwards, or their control plane was made anew of another version after they had joined
//! it.

use std::collections::BTreeSet;

use kube::ResourceExt;
use seedbed_crds::{DevCluster, DevMachine, NodePool};
use seedbed_planner::upgrade::Version;
use seedbed_planner::upgrade::running;

use super::world::World;
use super::{access, machine, nodes, owned, pool, upgrade};
use crate::child::ChildApi;
use crate::errors::Error;

/// UIDs of the pool's workers that are left behind, as their nodes say now: what is written down of a worker may be from before the end
/// of an upgrade. What cannot be seen is not behind.
pub async fn behind(
    pool: &NodePool,
    cluster: &DevCluster,
    machines: &[DevMachine],
    world: &World,
) -> Result<BTreeSet<String>, Error> {
    let none = Ok(BTreeSet::new());
    if pool.spec.hold_version || world.upgrade_under_way(cluster).is_some() {
        return none;
    }
    let all = world.machines_of_cluster(cluster);
    let Some(control_plane) = machine::control_plane(&all) else {
        return none;
    };
    let asked = &cluster.spec.version;
    let told = pool::kubelet(control_plane);
    let candidates: Vec<&DevMachine> = machines
        .iter()
        .filter(|m| m.metadata.deletion_timestamp.is_none())
        .filter(|m| running::is_behind(asked, told, pool::kubelet(m)))
        .collect();
    if candidates.is_empty() || upgrade::has_turn(&world.context.client, cluster).await? {
        return none;
    }
    let stored = world.allocations(cluster).await?;
    let Some(child) = access::child(world, cluster, stored.as_ref()).await? else {
        return none;
    };
    let serving = child.serving().await;
    if !serving.is_ok_and(|serving| Version::parse(asked).is_some_and(|asked| serving.is_wholly(asked))) {
        return none;
    }
    let newest = kubelet_now(child.as_ref(), control_plane).await;
    let mut behind = BTreeSet::new();
    for machine in candidates {
        let now = kubelet_now(child.as_ref(), machine).await;
        if running::is_behind(asked, newest.as_deref(), now.as_deref()) {
            behind.insert(owned::uid(machine));
        }
    }
    Ok(behind)
}

async fn kubelet_now(child: &dyn ChildApi, machine: &DevMachine) -> Option<String> {
    let node = child.node_now(&machine.name_any()).await.ok()??;
    Some(nodes::kubelet(&node).to_owned())
}
