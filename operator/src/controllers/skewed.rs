//! Workers whose version no upgrade makes that of their cluster. Older ones: their pool was held back when the cluster was upgraded, or its
//! machines are to be replaced afterwards, or their control plane was made anew after they had joined it. Newer ones: that was made anew of
//! an older version, which no kubelet may be newer than, and no upgrade begins while one is.

use std::collections::BTreeSet;

use kube::ResourceExt;
use seedbed_crds::{DevCluster, DevMachine, NodePool};
use seedbed_planner::upgrade::Version;
use seedbed_planner::upgrade::running;

use super::world::World;
use super::{access, machine, nodes, owned, pool, upgrade};
use crate::child::ChildApi;
use crate::errors::Error;

/// UIDs of the pool's workers that have to be replaced for their version, as their nodes say now: what is written down of a worker may be
/// from before the end of an upgrade. What cannot be seen is not among them.
pub async fn skewed(
    pool: &NodePool,
    cluster: &DevCluster,
    machines: &[DevMachine],
    world: &World,
) -> Result<BTreeSet<String>, Error> {
    let none = Ok(BTreeSet::new());
    if world.upgrade_under_way(cluster).is_some() {
        return none;
    }
    let all = world.machines_of_cluster(cluster);
    let Some(control_plane) = machine::control_plane(&all) else {
        return none;
    };
    let asked = (!pool.spec.hold_version).then_some(cluster.spec.version.as_str());
    let told = pool::kubelet(control_plane);
    let candidates: Vec<&DevMachine> = machines
        .iter()
        .filter(|m| m.metadata.deletion_timestamp.is_none())
        .filter(|m| running::is_skewed(asked, told, pool::kubelet(m)))
        .collect();
    if candidates.is_empty() || upgrade::has_turn(&world.context.client, cluster).await? {
        return none;
    }
    let stored = world.allocations(cluster).await?;
    let Some(child) = access::child(world, cluster, stored.as_ref()).await? else {
        return none;
    };
    let newest = kubelet_now(child.as_ref(), control_plane).await;
    let serving = child.serving().await;
    let is_whole = |kubelet| serving.is_ok_and(|serving| serving.is_wholly(kubelet));
    if !newest.as_deref().and_then(Version::parse).is_some_and(is_whole) {
        return none;
    }
    let mut skewed = BTreeSet::new();
    for machine in candidates {
        let now = kubelet_now(child.as_ref(), machine).await;
        if running::is_skewed(asked, newest.as_deref(), now.as_deref()) {
            skewed.insert(owned::uid(machine));
        }
    }
    Ok(skewed)
}

async fn kubelet_now(child: &dyn ChildApi, machine: &DevMachine) -> Option<String> {
    let node = child.node_now(&machine.name_any()).await.ok()??;
    Some(nodes::kubelet(&node).to_owned())
}
