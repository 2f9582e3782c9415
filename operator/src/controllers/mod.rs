//! One controller for each kind: it looks, decides, does at most one thing for an object, and says what is so.

pub mod access;
mod allocations;
mod bytes;
mod cluster;
mod current;
mod drain;
mod failure;
mod feed;
mod finalizer;
mod guest_jobs;
mod host;
mod index;
mod inventories;
mod kept;
mod machine;
mod nodes;
mod owned;
mod pki;
mod pool;
mod profile;
mod release;
mod releases;
mod room;
mod said;
mod secrets;
mod skewed;
mod spread;
mod transitions;
mod turns;
mod upgrade;
mod workers;
mod world;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use seedbed_crds::reasons::condition;
use seedbed_crds::{ClusterUpgrade, DevCluster, DevMachine, HypervisorHost, KubernetesRelease, NodePool};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::context::Context;
use crate::errors::Error;
use crate::reconcile;
use crate::triggers::Triggers;
use feed::Feed;
use index::Index;
use spread::spread;
use world::{Guarded, World};

/// Runs all controllers until `stop` is ready and what was begun is finished.
#[allow(clippy::too_many_lines, reason = "one part for each kind")]
pub async fn run(context: Arc<Context>, stop: impl Future<Output = ()> + Send + 'static) {
    let client = &context.client;
    let (clusters, watch_clusters) =
        Feed::<DevCluster>::new(client, |c| vec![index::of_host(&c.spec.host_ref.name)]);
    let (pools, watch_pools) = Feed::<NodePool>::new(client, |p| {
        vec![index::of_cluster(&owned::namespace(p), &p.spec.cluster_ref.name)]
    });
    let (machines, watch_machines) = Feed::<DevMachine>::new(client, machine_refers_to);
    let (hosts, watch_hosts) = Feed::<HypervisorHost>::new(client, |_| Vec::new());
    let (releases, watch_releases) = Feed::<KubernetesRelease>::new(client, |_| Vec::new());
    let (upgrades, watch_upgrades) = Feed::<ClusterUpgrade>::new(client, upgrade_refers_to);
    let (all_synced, synced) = watch::channel(false);
    let world = Arc::new(World {
        context: context.clone(),
        synced,
        accesses: access::Accesses::default(),
        policies: said::Said::default(),
        allocations: kept::Kept::default(),
        keys: kept::Kept::default(),
        key_turns: turns::Turns::default(),
        kubeconfigs: kept::Kept::default(),
        ranges: cluster::Ranges::default(),
        versions: kept::Kept::default(),
        written: kept::Kept::lasting(transitions::PAUSE),
        jobs_done: kept::Kept::lasting(upgrade::JOBS_KEPT),
        settled: kept::Kept::lasting(upgrade::SETTLED_KEPT),
        may_go: kept::Kept::lasting(crate::client::LATE),
        guest_facts: kept::Kept::lasting(upgrade::GUESTS_KEPT),
        requests: kept::Kept::lasting(upgrade::COUNTED_EVERY),
        probed: kept::Kept::lasting(upgrade::PROBED_EVERY),
        inventories: inventories::Inventories::default(),
        changed_on_host: Triggers::default(),
        clusters: clusters.store(),
        pools: pools.store(),
        machines: machines.store(),
        hosts: hosts.store(),
        releases: releases.store(),
        upgrades: upgrades.store(),
        cluster_index: clusters.index(),
        pool_index: pools.index(),
        machine_index: machines.index(),
        upgrade_index: upgrades.index(),
    });
    let followed = context.metrics.follow(
        clusters.store(),
        pools.store(),
        machines.store(),
        upgrades.store(),
    );
    if let Err(error) = followed {
        tracing::error!("metrics of clusters, pools, machines and upgrades: {error}; they are not told");
    }
    let feeds = Feeds {
        clusters,
        pools,
        machines,
        hosts,
        releases,
        upgrades,
    };
    let stop = stop.shared();
    let of_clusters = clusters_controller(&feeds, &world);
    let of_pools = pools_controller(&feeds, &world);
    let of_machines = machines_controller(&feeds, &world);
    let of_hosts = controller(&feeds.hosts).reconcile_on(on_whole_host(&context));
    let of_releases = releases_controller(&feeds, &world);
    let of_upgrades = upgrades_controller(&feeds, &world);
    for name in [
        "devcluster",
        "nodepool",
        "devmachine",
        "hypervisorhost",
        "kubernetesrelease",
        "clusterupgrade",
    ] {
        context.health.set_synced(name, false);
    }
    let watches = async {
        futures::join!(
            watch_clusters,
            watch_pools,
            watch_machines,
            watch_hosts,
            watch_releases,
            watch_upgrades,
        )
    };
    let controllers = async {
        futures::join!(
            drive(
                of_clusters,
                "devcluster",
                &world,
                stop.clone(),
                |o, w| async move { Box::pin(cluster::reconcile(&o, &w)).await }
            ),
            drive(of_pools, "nodepool", &world, stop.clone(), |o, w| async move {
                pool::reconcile(&o, &w).await
            }),
            drive(
                of_machines,
                "devmachine",
                &world,
                stop.clone(),
                |o, w| async move { Box::pin(machine::reconcile(&o, &w)).await }
            ),
            drive(
                of_hosts,
                "hypervisorhost",
                &world,
                stop.clone(),
                |o, w| async move { host::reconcile(&o, &w).await }
            ),
            drive(
                of_releases,
                "kubernetesrelease",
                &world,
                stop.clone(),
                |o, w| async move { release::reconcile(&o, &w).await }
            ),
            drive(of_upgrades, "clusterupgrade", &world, stop, |o, w| async move {
                Box::pin(upgrade::reconcile(&o, &w)).await
            }),
        )
    };
    let never = async {
        futures::join!(watches, world.wait_until_synced(all_synced));
    };
    // The watches never end by themselves: they are dropped when the controllers have stopped.
    futures::pin_mut!(controllers, never);
    futures::future::select(controllers, never).await;
}

fn machine_refers_to(machine: &DevMachine) -> Vec<String> {
    let namespace = owned::namespace(machine);
    let spec = &machine.spec;
    let mut keys = vec![
        index::of_cluster(&namespace, &spec.cluster_ref.name),
        index::of_host(&spec.host_ref.name),
    ];
    keys.extend(
        spec.pool_ref
            .as_ref()
            .map(|pool| index::of_pool(&namespace, &pool.name)),
    );
    keys
}

fn upgrade_refers_to(upgrade: &ClusterUpgrade) -> Vec<String> {
    let spec = &upgrade.spec;
    vec![
        index::of_cluster(&owned::namespace(upgrade), &spec.cluster_ref.name),
        index::of_release(&spec.version),
    ]
}

/// The watches of all kinds.
struct Feeds {
    clusters: Feed<DevCluster>,
    pools: Feed<NodePool>,
    machines: Feed<DevMachine>,
    hosts: Feed<HypervisorHost>,
    releases: Feed<KubernetesRelease>,
    upgrades: Feed<ClusterUpgrade>,
}

/// A controller of the kind that the feed is of.
fn controller<K>(feed: &Feed<K>) -> Controller<Guarded<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Controller::for_shared_stream(feed.changes(), feed.store())
}

/// A cluster is looked at again when its machines, pools, host, release or its own API change.
fn clusters_controller(feeds: &Feeds, world: &Arc<World>) -> Controller<Guarded<DevCluster>> {
    let (on_host, on_release) = (world.clone(), world.clone());
    controller(&feeds.clusters)
        .reconcile_on(feeds.machines.concerns_when(of_machine, |machine| {
            let name = machine.0.as_ref().ok()?.spec.cluster_ref.name.clone();
            Some(ObjectRef::new(&name).within(&machine.namespace()?))
        }))
        .reconcile_on(feeds.pools.concerns(|pool| {
            let name = pool.0.as_ref().ok()?.spec.cluster_ref.name.clone();
            Some(ObjectRef::new(&name).within(&pool.namespace()?))
        }))
        .reconcile_on(
            feeds
                .hosts
                .changes_of(of_host)
                .flat_map_unordered(None, move |host| {
                    spread(&on_host.context.clock, clusters_on(&on_host, &host.name_any()))
                }),
        )
        .reconcile_on(feeds.releases.concerns_when(of_release, move |release| {
            clusters_of_version(&on_release, &release.name_any())
        }))
        .reconcile_on(
            world
                .context
                .children
                .triggers()
                .map(|key| ObjectRef::new(&key.name).within(&key.namespace)),
        )
        .reconcile_on(
            world
                .changed_on_host
                .stream()
                .map(|owner| ObjectRef::new(&owner.cluster).within(&owner.namespace)),
        )
        .reconcile_on(
            feeds
                .upgrades
                .concerns_when(upgrade::what_matters_of_upgrade, |upgrade| {
                    let name = upgrade.0.as_ref().ok()?.spec.cluster_ref.name.clone();
                    Some(ObjectRef::new(&name).within(&upgrade.namespace()?))
                }),
        )
}

/// What of a cluster matters to its machines and pools.
fn of_cluster(cluster: &DevCluster) -> impl PartialEq + Send + use<> {
    let status = cluster.status.as_ref();
    (
        (cluster.uid(), cluster.metadata.generation),
        cluster.metadata.deletion_timestamp.clone(),
        status.is_some_and(|s| s.initialized),
        status.and_then(|s| s.timing_profile),
    )
}

/// What of a machine matters to its cluster and its pool.
fn of_machine(machine: &DevMachine) -> impl PartialEq + Send + use<> {
    let status = machine.status.as_ref();
    let ready = status
        .iter()
        .flat_map(|s| &s.conditions)
        .find(|c| c.type_ == condition::READY);
    (
        machine.uid(),
        machine.metadata.deletion_timestamp.clone(),
        status.and_then(|s| s.bootstrap.as_ref()).map(|b| b.phase),
        ready.map(|c| (c.status.clone(), c.reason.clone(), c.message.clone())),
    )
}

/// What of a host matters to its clusters and to releases. How much of it is free changes all the time.
fn of_host(host: &HypervisorHost) -> impl PartialEq + Send + use<> {
    let conditions = host.status.iter().flat_map(|s| &s.conditions);
    let ready = conditions
        .filter(|c| c.type_ == condition::READY)
        .map(|c| c.status.clone());
    (host.uid(), host.metadata.generation, ready.collect::<Vec<_>>())
}

/// A release is looked at again when hosts come or go, and when a transfer is finished.
fn releases_controller(feeds: &Feeds, world: &Arc<World>) -> Controller<Guarded<KubernetesRelease>> {
    let on_host = world.clone();
    controller(&feeds.releases)
        .reconcile_on(feeds.hosts.concerns_when(of_host, move |_| {
            on_host
                .releases
                .state()
                .iter()
                .map(|r| ObjectRef::from_obj(r.as_ref()))
                .collect::<Vec<_>>()
        }))
        .reconcile_on(on_uploads(world))
}

fn clusters_on(world: &World, host: &str) -> Vec<ObjectRef<Guarded<DevCluster>>> {
    references(&world.cluster_index, &index::of_host(host))
}

/// What of a release matters to clusters of its version. Where it is on hosts is their machines' concern, and changes on all hosts together.
fn of_release(release: &KubernetesRelease) -> impl PartialEq + Send + use<> {
    (release.uid(), release.metadata.generation)
}

fn clusters_of_version(world: &World, version: &str) -> Vec<ObjectRef<Guarded<DevCluster>>> {
    let state = world.clusters.state();
    let clusters = state.iter().filter_map(|c| c.0.as_ref().ok());
    clusters
        .filter(|c| c.spec.version == version)
        .map(reference)
        .collect()
}

/// A pool is looked at again when its machines or its cluster change, and when an upgrade of that begins or ends.
fn pools_controller(feeds: &Feeds, world: &Arc<World>) -> Controller<Guarded<NodePool>> {
    let (on_cluster, on_upgrade) = (world.clone(), world.clone());
    controller(&feeds.pools)
        .reconcile_on(feeds.machines.concerns_when(of_machine, |machine| {
            let pool = machine.0.as_ref().ok()?.spec.pool_ref.as_ref()?.name.clone();
            Some(ObjectRef::new(&pool).within(&machine.namespace()?))
        }))
        .reconcile_on(feeds.clusters.concerns_when(of_cluster, move |cluster| {
            let pools = cluster
                .0
                .as_ref()
                .map(|c| on_cluster.pools_of_cluster(c))
                .unwrap_or_default();
            pools.iter().map(reference).collect::<Vec<_>>()
        }))
        .reconcile_on(
            feeds
                .upgrades
                .concerns_when(upgrade::what_matters_of_upgrade, move |upgrade| {
                    let name = upgrade.0.as_ref().map(|u| u.spec.cluster_ref.name.clone());
                    let key = name.map(|name| index::of_cluster(&owned::namespace(upgrade), &name));
                    key.map(|key| references(&on_upgrade.pool_index, &key))
                        .unwrap_or_default()
                }),
        )
}

/// A machine is looked at again when its cluster, its pool, its domain, its host or its cluster's API change.
fn machines_controller(feeds: &Feeds, world: &Arc<World>) -> Controller<Guarded<DevMachine>> {
    let (on_cluster, on_pool, on_child, on_host) =
        (world.clone(), world.clone(), world.clone(), world.clone());
    controller(&feeds.machines)
        .reconcile_on(feeds.clusters.concerns_when(of_cluster, move |cluster| {
            let machines = cluster
                .0
                .as_ref()
                .map(|c| on_cluster.machines_of_cluster(c))
                .unwrap_or_default();
            machines.iter().map(reference).collect::<Vec<_>>()
        }))
        .reconcile_on(feeds.pools.concerns(move |pool| {
            let key = index::of_pool(&owned::namespace(pool), &pool.name_any());
            references(&on_pool.machine_index, &key)
        }))
        .reconcile_on(world.context.children.triggers().flat_map(move |child| {
            let key = index::of_cluster(&child.namespace, &child.name);
            futures::stream::iter(references(&on_child.machine_index, &key))
        }))
        .reconcile_on(world.changed_on_host.stream().filter_map(|owner| async move {
            let machine = owner.machine.as_ref()?;
            Some(ObjectRef::new(machine).within(&owner.namespace))
        }))
        .reconcile_on(
            world
                .context
                .hosts
                .triggers()
                .flat_map_unordered(None, move |trigger| {
                    let concerned = match &trigger.domain {
                        Some(domain) => seedbed_planner::names::machine_of_domain(domain)
                            .filter(|(namespace, name)| on_host.is_on_host(namespace, name, &trigger.host))
                            .map(|(namespace, name)| ObjectRef::new(name).within(namespace))
                            .into_iter()
                            .collect(),
                        None => references(&on_host.machine_index, &index::of_host(&trigger.host)),
                    };
                    spread(&on_host.context.clock, concerned)
                }),
        )
}

/// An upgrade is looked at again when its cluster, that one's pools and machines, or its target's release change.
fn upgrades_controller(feeds: &Feeds, world: &Arc<World>) -> Controller<Guarded<ClusterUpgrade>> {
    let (on_cluster, on_pool, on_machine, on_release) =
        (world.clone(), world.clone(), world.clone(), world.clone());
    controller(&feeds.upgrades)
        .reconcile_on(
            feeds
                .clusters
                .concerns_when(upgrade::what_matters_of_cluster, move |cluster| {
                    upgrades_of(&on_cluster, &owned::namespace(cluster), &cluster.name_any())
                }),
        )
        .reconcile_on(
            feeds
                .pools
                .concerns_when(upgrade::what_matters_of_pool, move |pool| {
                    let name = pool.0.as_ref().map(|p| p.spec.cluster_ref.name.clone());
                    let namespace = owned::namespace(pool);
                    name.map(|name| upgrades_of(&on_pool, &namespace, &name))
                        .unwrap_or_default()
                }),
        )
        .reconcile_on(feeds.machines.concerns_when(of_machine, move |machine| {
            let name = machine.0.as_ref().map(|m| m.spec.cluster_ref.name.clone());
            let namespace = owned::namespace(machine);
            name.map(|name| upgrades_of(&on_machine, &namespace, &name))
                .unwrap_or_default()
        }))
        .reconcile_on(
            feeds
                .releases
                .concerns_when(upgrade::what_matters_of_release, move |release| {
                    references(&on_release.upgrade_index, &index::of_release(&release.name_any()))
                }),
        )
}

fn upgrades_of(world: &World, namespace: &str, cluster: &str) -> Vec<ObjectRef<Guarded<ClusterUpgrade>>> {
    references(&world.upgrade_index, &index::of_cluster(namespace, cluster))
}

fn references<K: Resource<DynamicType = ()>>(index: &Index, key: &str) -> Vec<ObjectRef<Guarded<K>>> {
    index
        .places(key)
        .iter()
        .map(|(namespace, name)| ObjectRef::new(name).within(namespace))
        .collect()
}

/// A host is looked at again when its connection comes or goes. What single domains do is its machines' concern.
fn on_whole_host(context: &Context) -> impl Stream<Item = ObjectRef<Guarded<HypervisorHost>>> + Send + use<> {
    context
        .hosts
        .triggers()
        .filter_map(|trigger| async move { trigger.domain.is_none().then(|| ObjectRef::new(&trigger.host)) })
}

/// A finished transfer concerns every release that has the file.
fn on_uploads(
    world: &Arc<World>,
) -> impl Stream<Item = ObjectRef<Guarded<KubernetesRelease>>> + Send + use<> {
    let world = world.clone();
    world.context.uploads.triggers().flat_map(move |trigger| {
        let state = world.releases.state();
        let concerned: Vec<_> = state
            .iter()
            .filter_map(|r| r.0.as_ref().ok())
            .filter(|r| releases::files(r).iter().any(|f| f.volume == trigger.volume))
            .map(reference)
            .collect();
        futures::stream::iter(concerned)
    })
}

fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectRef<Guarded<K>> {
    let reference = ObjectRef::new(&object.name_any());
    match object.namespace() {
        Some(namespace) => reference.within(&namespace),
        None => reference,
    }
}

/// Runs one controller.
async fn drive<K, F, P>(
    controller: Controller<Guarded<K>>,
    name: &'static str,
    world: &Arc<World>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
    pass: F,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    F: Fn(Arc<K>, Arc<World>) -> P + Copy + Send + Sync + 'static,
    P: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let concurrency = world.context.settings.concurrency;
    controller
        .with_config(Config::default().concurrency(concurrency))
        .graceful_shutdown_on(stop)
        .run(
            move |object: Arc<DeserializeGuard<K>>, world: Arc<World>| async move {
                match &object.0 {
                    Ok(read) => {
                        world.synced().await?;
                        let read = Arc::new(read.clone());
                        reconcile::measured(&world.context, name, object.as_ref(), pass(read, world.clone()))
                            .await
                    }
                    Err(error) => {
                        // Only a newer version of the object can mend this; the watch brings it.
                        tracing::warn!(
                            controller = name,
                            object = object.name_any(),
                            "cannot be read: {error}"
                        );
                        Ok(Action::await_change())
                    }
                }
            },
            |object, error, world: Arc<World>| reconcile::on_error(&object, error, &world.context),
            world.clone(),
        )
        .for_each(|_| futures::future::ready(()))
        .await;
}
