//! Which ranges are in use on a host, known for a moment.

use std::time::Duration;

use ipnet::Ipv4Net;
use kube::ResourceExt;
use seedbed_crds::{DevCluster, HypervisorHost};
use seedbed_hypervisor::Hypervisor;
use seedbed_planner::{address, names};

use crate::client::LATE;
use crate::controllers::allocations::{self, Stored};
use crate::controllers::owned;
use crate::controllers::turns::Turns;
use crate::controllers::world::World;
use crate::errors::Error;

/// How long the ranges on a host are known without another look: a cluster that is allotted one is added at once, and what others
/// make there is seen after that time.
const KEPT: Duration = Duration::from_secs(5);

/// The ranges on all hosts. Whoever looks at those of a host, or allots one, holds them: what was listed before somebody allotted a
/// range would be taken for the present otherwise, and the range be allotted again.
pub type Ranges = Turns<OnHost>;

/// The ranges on one host.
#[derive(Debug, Default)]
pub struct OnHost {
    known: Option<Known>,
    allotted: Vec<Allotted>,
}

#[derive(Debug)]
struct Known {
    /// When they were listed.
    at: Duration,
    /// Each with the UID of the cluster that has it, where it is one's.
    used: Vec<(Option<String>, Ipv4Net)>,
}

/// A range that a cluster was given.
#[derive(Debug)]
struct Allotted {
    cluster_uid: String,
    range: Ipv4Net,
    at: Duration,
}

impl OnHost {
    /// The ranges that others than this cluster use: other clusters, and every network on the host.
    pub async fn of_others(
        &mut self,
        cluster_uid: &str,
        host: &HypervisorHost,
        hypervisor: &dyn Hypervisor,
        world: &World,
    ) -> Result<Vec<Ipv4Net>, Error> {
        let now = world.context.clock.elapsed();
        if self
            .known
            .as_ref()
            .is_none_or(|known| now.saturating_sub(known.at) > KEPT)
        {
            self.known = None;
            let mut used = allocations::ranges_on_host(&world.context.client, &host.name_any())
                .await
                .map_err(|e| Error::step("allocation", e))?;
            let inventory = hypervisor.inventory().await?;
            used.extend(inventory.networks.into_iter().filter_map(|network| {
                let uid = network.owner.map(|owner| owner.cluster_uid);
                Some((uid, network.cidr?))
            }));
            self.known = Some(Known { at: now, used });
            // One that no list has may be written down yet.
            self.allotted
                .retain(|allotted| now.saturating_sub(allotted.at) < LATE);
        }
        let used = self.known.iter().flat_map(|known| &known.used);
        let used = used
            .filter(|(uid, _)| uid.as_deref() != Some(cluster_uid))
            .map(|(_, range)| *range);
        let allotted = self.allotted.iter();
        let allotted = allotted
            .filter(|allotted| allotted.cluster_uid != cluster_uid)
            .map(|allotted| allotted.range);
        Ok(used.chain(allotted).collect())
    }

    /// Lets go of what was listed: somebody was given a range that it does not have.
    pub fn look_again(&mut self) {
        self.known = None;
    }

    /// The cluster is given that range, whether or not that comes to be written down.
    pub fn allot(&mut self, cluster_uid: &str, range: Ipv4Net, now: Duration) {
        self.allotted.push(Allotted {
            cluster_uid: cluster_uid.to_owned(),
            range,
            at: now,
        });
    }
}

/// Whether another cluster was given the range that this one was, of which nothing was made here yet. What an operator before this one
/// asked for may be written down after this one looked, and chose. So each cluster looks once more, after its own range is written down
/// and before anything is made of it: of two that have the same, at least one sees the other.
pub async fn is_contested(
    cluster: &DevCluster,
    stored: &Stored,
    host: &HypervisorHost,
    hypervisor: &dyn Hypervisor,
    world: &World,
) -> Result<bool, Error> {
    if !stored.allocations.machines.is_empty() {
        return Ok(false);
    }
    let uid = owned::uid(cluster);
    let all = allocations::ranges_on_host(&world.context.client, &host.name_any())
        .await
        .map_err(|e| Error::step("allocation", e))?;
    let is_of_two = all
        .iter()
        .filter(|(of, _)| of.as_deref() != Some(&uid))
        .any(|(_, range)| address::overlap(range, &stored.allocations.node_cidr));
    if !is_of_two {
        return Ok(false);
    }
    let network = names::network(&owned::namespace(cluster), &owned::name(cluster));
    let network = hypervisor.network(&network).await?;
    Ok(!network.is_some_and(|network| network.is_of(&uid)))
}
