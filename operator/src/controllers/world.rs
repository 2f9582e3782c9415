//! The objects that every controller reads from shared caches, and the context that leads out of the process.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::core::{DeserializeGuard, NamespaceResourceScope, ObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use seedbed_crds::{
    ClusterUpgrade, DevCluster, DevMachine, HypervisorHost, KubernetesRelease, NodePool, RequestCounts,
};
use seedbed_hypervisor::Owner;
use seedbed_kubeadm::pki::ClusterPki;
use seedbed_planner::Observed;
use seedbed_planner::allocation::Allocations;
use seedbed_planner::upgrade::preflight::GuestFacts;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::access::Accesses;
use super::allocations::{AllocationsError, Stored};
use super::cluster::Ranges;
use super::index::{self, Index};
use super::inventories::Inventories;
use super::kept::Kept;
use super::said::Said;
use super::turns::Turns;
use super::upgrade::Settled;
use super::{allocations, owned, pki};
use crate::context::Context;
use crate::errors::Error;
use crate::status::describe;
use crate::triggers::Triggers;

/// An object as it is watched: one that does not fit its type blocks nobody but itself.
pub type Guarded<K> = DeserializeGuard<K>;

/// Caches of all kinds, and the context.
pub struct World {
    /// The only door to the API, the hosts, the child clusters, time and chance.
    pub context: Arc<Context>,
    /// Access to the child clusters.
    pub accesses: Accesses,
    /// Whether every cache had its first list.
    pub synced: watch::Receiver<bool>,
    /// Warnings about network policies.
    pub policies: Said,
    /// Allocations by their cluster's UID. A write over a version that is not the present one fails, and lets go of it.
    pub allocations: Kept<Stored>,
    /// Keys by their cluster's UID.
    pub keys: Kept<Arc<ClusterPki>>,
    /// Held while a cluster's keys are made, or read for the first time, by the cluster's UID: its machines would read what is made just now.
    /// Keys that were made and not wholly written are written by the next try, too: a Secret whose creation is carried out late has no others.
    pub key_turns: Turns<Option<Arc<ClusterPki>>>,
    /// The API server that the kubeconfig in a cluster's Secret leads to, by the cluster's UID.
    pub kubeconfigs: Kept<Ipv4Addr>,
    /// Ranges that are in use on the hosts; held while one is chosen.
    pub ranges: Ranges,
    /// The version of an object that this operator wrote last, by its UID.
    pub versions: Kept<u64>,
    /// When an object's status was last written, by its UID.
    pub written: Kept<Duration>,
    /// Jobs of upgrades that ended well, by their machine's UID and their token.
    pub jobs_done: Kept<()>,
    /// Upgrades that came to their end, by their UID.
    pub settled: Kept<Settled>,
    /// Workers whose deletion was asked for, for as long as no answer came and it may be carried out yet, by their UIDs.
    pub may_go: Kept<()>,
    /// What guests said of themselves to a preflight, by their machine's UID.
    pub guest_facts: Kept<GuestFacts>,
    /// What the API servers of clusters that are watched have answered, by their upgrade's UID.
    pub requests: Kept<Observed<RequestCounts>>,
    /// How the requests of checks were answered last, by their upgrade's UID and their names.
    pub probed: Kept<Result<(), String>>,
    /// What was on the hosts at the last look.
    pub inventories: Inventories,
    /// Whose things on a host changed since the look before.
    pub changed_on_host: Triggers<Owner>,
    /// All clusters.
    pub clusters: Store<Guarded<DevCluster>>,
    /// All pools.
    pub pools: Store<Guarded<NodePool>>,
    /// All machines.
    pub machines: Store<Guarded<DevMachine>>,
    /// All hosts.
    pub hosts: Store<Guarded<HypervisorHost>>,
    /// All releases.
    pub releases: Store<Guarded<KubernetesRelease>>,
    /// All upgrades.
    pub upgrades: Store<Guarded<ClusterUpgrade>>,
    /// Clusters by their host.
    pub cluster_index: Index,
    /// Pools by their cluster.
    pub pool_index: Index,
    /// Machines by their cluster, their pool and their host.
    pub machine_index: Index,
    /// Upgrades by their cluster and their target's release.
    pub upgrade_index: Index,
}

impl World {
    /// Returns once every cache had its first list. Before that, what is not in a cache may well exist.
    pub async fn synced(&self) -> Result<(), Error> {
        self.synced
            .clone()
            .wait_for(|synced| *synced)
            .await
            .map(drop)
            .map_err(|e| Error::step("cache", e))
    }

    /// Waits for the first list of every cache and says so to all who wait. Caches are waited for here alone: each wakes only one
    /// of those that wait for it.
    pub async fn wait_until_synced(&self, synced: watch::Sender<bool>) {
        let health = &self.context.health;
        let mut all = true;
        for (name, ready) in [
            ("devcluster", self.clusters.wait_until_ready().await.is_ok()),
            ("nodepool", self.pools.wait_until_ready().await.is_ok()),
            ("devmachine", self.machines.wait_until_ready().await.is_ok()),
            ("hypervisorhost", self.hosts.wait_until_ready().await.is_ok()),
            (
                "kubernetesrelease",
                self.releases.wait_until_ready().await.is_ok(),
            ),
            ("clusterupgrade", self.upgrades.wait_until_ready().await.is_ok()),
        ] {
            health.set_synced(name, ready);
            all &= ready;
        }
        synced.send_replace(all);
    }

    /// The cluster's allocations; none where nothing was written down yet.
    pub async fn allocations(&self, cluster: &DevCluster) -> Result<Option<Stored>, Error> {
        match self
            .allocations
            .get(&owned::uid(cluster), self.context.clock.elapsed())
        {
            Some(stored) => Ok(Some(stored)),
            None => self.present_allocations(cluster).await,
        }
    }

    /// The cluster's allocations as they are written down now; none where nothing was yet.
    pub async fn present_allocations(&self, cluster: &DevCluster) -> Result<Option<Stored>, Error> {
        let stored = allocations::load(&self.context.client, cluster)
            .await
            .map_err(|e| Error::step("allocation", e))?;
        Ok(stored.map(|stored| self.keep_allocations(&owned::uid(cluster), stored)))
    }

    /// Keeps the allocations as they were read or written, unless newer ones are known by now: requests overtake each other. The newest.
    pub fn keep_allocations(&self, cluster_uid: &str, stored: Stored) -> Stored {
        let now = self.context.clock.elapsed();
        match self.allocations.get(cluster_uid, now) {
            Some(known) if known.is_newer_than(&stored) => known,
            _ => {
                self.allocations.put(cluster_uid, stored.clone(), now);
                stored
            }
        }
    }

    /// Writes changed allocations over those that were read.
    pub async fn write_allocations(
        &self,
        cluster: &DevCluster,
        stored: &Stored,
        new: &Allocations,
    ) -> Result<(), Error> {
        let uid = owned::uid(cluster);
        match allocations::replace(&self.context.client, cluster, stored, new).await {
            Ok(stored) => {
                self.keep_allocations(&uid, stored);
                Ok(())
            }
            Err(error) => {
                // Whoever wrote meanwhile knows better, or nobody knows what was written: read again.
                self.allocations.forget(&uid);
                Err(not_written(cluster, error))
            }
        }
    }

    /// Gives back allocations that are still as they were read.
    pub async fn give_back_allocations(&self, cluster: &DevCluster, stored: &Stored) -> Result<(), Error> {
        let given = allocations::give_back(&self.context.client, cluster, stored).await;
        // Whether or not they are gone: read again.
        self.allocations.forget(&owned::uid(cluster));
        given.map_err(|error| not_written(cluster, error))
    }

    /// The cluster's keys; none where at least one of their Secrets is not there yet.
    pub async fn keys(&self, cluster: &DevCluster) -> Result<Option<Arc<ClusterPki>>, Error> {
        let uid = owned::uid(cluster);
        let known = || self.keys.get(&uid, self.context.clock.elapsed());
        if let Some(keys) = known() {
            return Ok(Some(keys));
        }
        let _turn = self.key_turns.hold(&uid).await;
        match known() {
            Some(keys) => Ok(Some(keys)),
            None => self.present_keys(cluster).await,
        }
    }

    /// The cluster's keys as they are in their Secrets now: for what will trust them as long as it lives.
    pub async fn present_keys(&self, cluster: &DevCluster) -> Result<Option<Arc<ClusterPki>>, Error> {
        let (uid, now) = (owned::uid(cluster), self.context.clock.elapsed());
        let keys = pki::load(
            &self.context.client,
            &owned::namespace(cluster),
            &owned::name(cluster),
        )
        .await
        .map_err(|e| Error::step("keys", e))?
        .map(Arc::new);
        match &keys {
            Some(keys) => self.keys.put(&uid, keys.clone(), now),
            None => self.keys.forget(&uid),
        }
        Ok(keys)
    }

    /// Forgets what is kept of a cluster that is gone.
    pub fn forget_cluster(&self, cluster: &DevCluster) {
        let uid = owned::uid(cluster);
        self.accesses.forget(&uid);
        self.policies.forget(cluster);
        self.allocations.forget(&uid);
        self.keys.forget(&uid);
        self.key_turns.forget(&uid);
        self.kubeconfigs.forget(&uid);
    }

    /// The cluster of that name.
    pub fn cluster(&self, namespace: &str, name: &str) -> Option<DevCluster> {
        find(&self.clusters, Some(namespace), name)
    }

    /// Metadata of the cluster of that name as the API server has them now: a cache may lag.
    pub async fn present_cluster(&self, namespace: &str, name: &str) -> Result<Option<ObjectMeta>, Error> {
        self.present::<DevCluster>(namespace, name).await
    }

    /// The same of the pool of that name.
    pub async fn present_pool(&self, namespace: &str, name: &str) -> Result<Option<ObjectMeta>, Error> {
        self.present::<NodePool>(namespace, name).await
    }

    async fn present<K>(&self, namespace: &str, name: &str) -> Result<Option<ObjectMeta>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let found = Api::<K>::namespaced(self.context.client.clone(), namespace)
            .get_metadata_opt(name)
            .await
            .map_err(|e| Error::api(format!("{} {namespace}/{name}: get", K::kind(&())), e))?;
        Ok(found.map(|found| found.metadata))
    }

    /// UID of the cluster of that name.
    pub fn cluster_uid(&self, namespace: &str, name: &str) -> Option<String> {
        uid_of(&self.clusters, namespace, name)
    }

    /// UID of the pool of that name.
    pub fn pool_uid(&self, namespace: &str, name: &str) -> Option<String> {
        uid_of(&self.pools, namespace, name)
    }

    /// UID of the machine of that name.
    pub fn machine_uid(&self, namespace: &str, name: &str) -> Option<String> {
        uid_of(&self.machines, namespace, name)
    }

    /// Whether there is a machine of that name on that host.
    pub fn is_on_host(&self, namespace: &str, name: &str, host: &str) -> bool {
        let reference = ObjectRef::new(name).within(namespace);
        self.machines
            .get(&reference)
            .is_some_and(|machine| machine.0.as_ref().is_ok_and(|m| m.spec.host_ref.name == host))
    }

    /// The pool of that name.
    pub fn pool(&self, namespace: &str, name: &str) -> Option<NodePool> {
        find(&self.pools, Some(namespace), name)
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<HypervisorHost> {
        find(&self.hosts, None, name)
    }

    /// All hosts.
    pub fn all_hosts(&self) -> Vec<HypervisorHost> {
        self.hosts
            .state()
            .iter()
            .filter_map(|h| h.0.as_ref().ok().cloned())
            .collect()
    }

    /// The release of that version.
    pub fn release(&self, version: &str) -> Option<KubernetesRelease> {
        find(&self.releases, None, version)
    }

    /// Versions of all releases, sorted.
    pub fn versions(&self) -> Vec<String> {
        let mut versions: Vec<String> = self.releases.state().iter().map(|r| r.name_any()).collect();
        versions.sort();
        versions
    }

    /// All machines of that cluster, by its UID: a cluster of the same name that was deleted had others.
    pub fn machines_of_cluster(&self, cluster: &DevCluster) -> Vec<DevMachine> {
        let uid = owned::uid(cluster);
        let key = index::of_cluster(&owned::namespace(cluster), &owned::name(cluster));
        self.machines_at(&key)
            .filter(|m| owned::owner_uid(m, "DevCluster") == Some(&uid))
            .collect()
    }

    /// All machines of that pool, by its UID.
    pub fn machines_of_pool(&self, pool: &NodePool) -> Vec<DevMachine> {
        let uid = owned::uid(pool);
        let key = index::of_pool(&owned::namespace(pool), &owned::name(pool));
        self.machines_at(&key)
            .filter(|m| owned::owner_uid(m, "NodePool") == Some(&uid))
            .collect()
    }

    /// All machines on that host.
    pub fn machines_on_host(&self, host: &str) -> impl Iterator<Item = DevMachine> + use<'_> {
        self.machines_at(&index::of_host(host))
    }

    fn machines_at(&self, key: &str) -> impl Iterator<Item = DevMachine> + use<'_> {
        self.machine_index
            .places(key)
            .into_iter()
            .filter_map(|(namespace, name)| find(&self.machines, Some(&namespace), &name))
    }

    /// All pools of that cluster.
    pub fn pools_of_cluster(&self, cluster: &DevCluster) -> Vec<NodePool> {
        let key = index::of_cluster(&owned::namespace(cluster), &owned::name(cluster));
        self.pool_index
            .places(&key)
            .into_iter()
            .filter_map(|(namespace, name)| self.pool(&namespace, &name))
            .collect()
    }

    /// Names of the machines of the cluster's pools for which that holds, each with its pool's.
    pub fn machines_by_pool(
        &self,
        cluster: &DevCluster,
        holds: impl Fn(&NodePool) -> bool,
    ) -> BTreeMap<String, String> {
        let mut pools = self.pools_of_cluster(cluster);
        pools.retain(holds);
        let of = |pool: &NodePool| self.machines_of_pool(pool).into_iter().map(|m| m.name_any());
        pools
            .iter()
            .flat_map(|pool| of(pool).map(|machine| (machine, pool.name_any())))
            .collect()
    }

    /// All upgrades of the cluster of that name.
    pub fn upgrades_of(
        &self,
        namespace: &str,
        cluster: &str,
    ) -> impl Iterator<Item = ClusterUpgrade> + use<'_> {
        self.upgrade_index
            .places(&index::of_cluster(namespace, cluster))
            .into_iter()
            .filter_map(|(namespace, name)| find(&self.upgrades, Some(&namespace), &name))
    }

    /// Whether there is an upgrade of that name, whosever it is, and even if what it says cannot be read: the name is taken.
    pub fn has_upgrade(&self, namespace: &str, name: &str) -> bool {
        self.upgrades
            .get(&ObjectRef::new(name).within(namespace))
            .is_some()
    }

    /// The upgrade of that cluster that was begun and has not come to its end, as far as the cache knows.
    pub fn upgrade_under_way(&self, cluster: &DevCluster) -> Option<ClusterUpgrade> {
        self.upgrades_of(&owned::namespace(cluster), &owned::name(cluster))
            .find(|upgrade| super::upgrade::is_under_way(upgrade, &owned::uid(cluster)))
    }
}

fn not_written(cluster: &DevCluster, error: AllocationsError) -> Error {
    if error.conflict() {
        let object = format!("allocations of {}", describe(cluster));
        return Error::Conflict { object };
    }
    Error::step("allocation", error)
}

fn find<K>(store: &Store<Guarded<K>>, namespace: Option<&str>, name: &str) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut reference = ObjectRef::<Guarded<K>>::new(name);
    if let Some(namespace) = namespace {
        reference = reference.within(namespace);
    }
    store
        .get(&reference)
        .and_then(|object| object.0.as_ref().ok().cloned())
}

fn uid_of<K>(store: &Store<Guarded<K>>, namespace: &str, name: &str) -> Option<String>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let reference = ObjectRef::<Guarded<K>>::new(name).within(namespace);
    store.get(&reference)?.meta().uid.clone()
}
