//! An upgrade of which nothing is recorded any more, neither in its status nor in the journal. Its finalizer says that it was begun, the
//! cluster how far it was, and the guests by its tokens what was done.

use seedbed_crds::ClusterUpgrade;
use seedbed_planner::Observed;
use seedbed_planner::upgrade::Version;
use seedbed_planner::upgrade::saga::Saga;
use seedbed_planner::upgrade::traces::{self, Traces};

use super::journal::Entry;
use super::observe;
use crate::child::ChildApi;
use crate::controllers::world::World;
use crate::controllers::{access, cluster, owned};
use crate::errors::Error;

/// What was found of an upgrade whose records are lost.
pub enum Lost {
    /// It was under way: what is written down of it anew.
    UnderWay(Box<Entry>),
    /// What would tell cannot be seen: why.
    Unknown(String),
    /// Nothing speaks of it.
    Nothing,
}

/// Looks for the upgrade in its cluster.
pub async fn find(upgrade: &ClusterUpgrade, world: &World) -> Result<Lost, Error> {
    let cluster = world.cluster(&owned::namespace(upgrade), &upgrade.spec.cluster_ref.name);
    let Some(cluster) = cluster.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
        return Ok(Lost::Nothing);
    };
    let Some(to) = Version::parse(&upgrade.spec.version) else {
        return Ok(Lost::Nothing);
    };
    let stored = world.allocations(&cluster).await?;
    if !cluster::is_initialized(&cluster, stored.as_ref()) {
        return Ok(Lost::Nothing);
    }
    let Some(child) = access::child(world, &cluster, stored.as_ref()).await? else {
        return Ok(Lost::Unknown(
            "the address of its API server is not known yet".to_owned(),
        ));
    };
    let traces = match look(child.as_ref()).await {
        Ok(traces) => traces,
        Err(why) => {
            return Ok(Lost::Unknown(format!(
                "what was recorded of this upgrade is lost, and the cluster cannot be asked how far it was: {why}"
            )));
        }
    };
    let progress = traces::progress(&traces, to);
    Ok(progress
        .and_then(|progress| {
            let plan = observe::planned(&cluster, progress.from, to, world)?;
            let now = world.context.clock.now();
            let saga = Saga::rebuilt(owned::uid(upgrade), plan.steps, progress.passed, now);
            let entry = Entry::new(upgrade, owned::uid(&cluster), (progress.from, to), saga);
            Some(Lost::UnderWay(Box::new(entry)))
        })
        .unwrap_or(Lost::Nothing))
}

async fn look(child: &dyn ChildApi) -> Result<Traces, String> {
    let serving = child.serving().await.map_err(|error| error.to_string())?;
    let configuration = child
        .cluster_configuration()
        .await
        .map_err(|error| error.to_string())?;
    let (configured, emulates) =
        seedbed_kubeadm::upgrade::version(&configuration).map_err(|error| error.to_string())?;
    let kubelets = match child.view().nodes {
        Observed::Unknown(why) => return Err(why),
        Observed::Known(nodes) => nodes
            .iter()
            .map(|node| observe::node(node).kubelet)
            .collect::<Vec<_>>(),
    };
    let version = |text: &str| Version::parse(text).ok_or_else(|| format!("{text} is no version"));
    Ok(Traces {
        serves: version(&serving.version)?,
        behaves_like: serving.behaves_like,
        configured: version(&configured)?,
        emulates,
        kubelets: kubelets.iter().filter_map(|text| Version::parse(text)).collect(),
    })
}
