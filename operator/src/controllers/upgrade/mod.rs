//! `ClusterUpgrade`: what an upgrade would do, and what is in its way. Nothing but its status is written.

mod observe;
mod status;

use std::time::Duration;

use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use seedbed_crds::reasons::condition;
use seedbed_crds::{ClusterUpgrade, Condition, DevCluster, KubernetesRelease, NodePool};

use super::world::World;
use super::{owned, transitions};
use crate::context::jittered;
use crate::errors::Error;
use crate::status::describe;

/// How soon to look again where nothing is told: most of what a preflight finds is in the child cluster, and is not watched there.
const LATER: Duration = Duration::from_mins(5);
/// How soon to look again at a cluster whose API nobody has looked at yet: what is well would be told as unknown for a moment.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// One pass over an upgrade: look, plan, check, say what is so.
pub async fn reconcile(cached: &ClusterUpgrade, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let api = Api::<ClusterUpgrade>::namespaced(context.client.clone(), &owned::namespace(cached));
    let found = api
        .get_opt(&cached.name_any())
        .await
        .map_err(|e| Error::api(describe(cached), e))?;
    let is_it =
        |found: &ClusterUpgrade| found.uid() == cached.uid() && found.metadata.deletion_timestamp.is_none();
    let Some(upgrade) = found.filter(is_it) else {
        return Ok(Action::await_change());
    };
    let Some(outlook) = observe::outlook(&upgrade, world).await? else {
        return Ok(Action::requeue(FIRST_LOOK));
    };
    let status = status::build(&upgrade, outlook, context.clock.now());
    let later = transitions::save_paced(world, &api, &upgrade, status).await?;
    let next = jittered(&*context.random, LATER);
    Ok(Action::requeue(later.map_or(next, |later| later.min(next))))
}

/// What of a cluster matters to its upgrades.
pub fn what_matters_of_cluster(cluster: &DevCluster) -> impl PartialEq + Send + use<> {
    let status = cluster.status.as_ref();
    (
        (cluster.uid(), cluster.metadata.generation),
        cluster.metadata.deletion_timestamp.clone(),
        status.map(|s| (s.observed_generation, s.initialized, s.version.clone())),
        status.and_then(|s| said(&s.conditions, condition::READY)),
    )
}

/// What of a pool matters to its cluster's upgrades.
pub fn what_matters_of_pool(pool: &NodePool) -> impl PartialEq + Send + use<> {
    let status = pool.status.as_ref();
    (
        (pool.uid(), pool.metadata.generation),
        pool.metadata.deletion_timestamp.clone(),
        status.and_then(|s| s.observed_generation),
        status.and_then(|s| said(&s.conditions, condition::PROGRESSING)),
    )
}

/// What of a release matters to upgrades to it.
pub fn what_matters_of_release(release: &KubernetesRelease) -> impl PartialEq + Send + use<> {
    let status = release.status.as_ref();
    (
        (release.uid(), release.metadata.generation),
        status.map(|s| s.hosts.clone()),
    )
}

fn said(conditions: &[Condition], type_: &str) -> Option<(String, String, String)> {
    let found = observe::of_type(conditions, type_)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}
