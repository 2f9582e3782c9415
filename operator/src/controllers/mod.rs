//! One controller for each kind: it looks, decides, does at most one thing for an object, and says what is so.

pub mod access;
mod allocations;
mod bytes;
mod cluster;
mod finalizer;
mod host;
mod machine;
mod nodes;
mod owned;
mod pki;
mod pool;
mod profile;
mod release;
mod releases;
mod said;
mod transitions;
mod world;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use seedbed_crds::{DevCluster, DevMachine, HypervisorHost, KubernetesRelease, NodePool};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::errors::Error;
use crate::reconcile;
use world::{Guarded, World};

/// Runs all controllers until `stop` is ready and what was begun is finished.
pub async fn run(context: Arc<Context>, stop: impl Future<Output = ()> + Send + 'static) {
    let client = context.client.clone();
    let clusters = controller::<DevCluster>(&client);
    let pools = controller::<NodePool>(&client);
    let machines = controller::<DevMachine>(&client);
    let hosts = controller::<HypervisorHost>(&client);
    let releases = controller::<KubernetesRelease>(&client);
    let world = Arc::new(World {
        context: context.clone(),
        accesses: access::Accesses::default(),
        allotting: tokio::sync::Mutex::default(),
        policies: said::Said::default(),
        clusters: clusters.store(),
        pools: pools.store(),
        machines: machines.store(),
        hosts: hosts.store(),
        releases: releases.store(),
    });
    let stop = stop.shared();
    let clusters = wire_clusters(clusters, &client, &world);
    let pools = wire_pools(pools, &client, &world);
    let machines = wire_machines(machines, &client, &world);
    let hosts = hosts.reconcile_on(on_whole_host(&context));
    let releases = releases
        .watches(Api::<Guarded<HypervisorHost>>::all(client.clone()), watcher::Config::default(), {
            let world = world.clone();
            move |_| world.releases.state().iter().map(|r| ObjectRef::from_obj(r.as_ref())).collect::<Vec<_>>()
        })
        .reconcile_on(on_uploads(&world));
    futures::join!(
        drive(clusters, "devcluster", &world, stop.clone(), |o, w| async move { cluster::reconcile(&o, &w).await }),
        drive(pools, "nodepool", &world, stop.clone(), |o, w| async move { pool::reconcile(&o, &w).await }),
        drive(machines, "devmachine", &world, stop.clone(), |o, w| async move { machine::reconcile(&o, &w).await }),
        drive(hosts, "hypervisorhost", &world, stop.clone(), |o, w| async move { host::reconcile(&o, &w).await }),
        drive(releases, "kubernetesrelease", &world, stop, |o, w| async move { release::reconcile(&o, &w).await }),
    );
}

/// A controller of that kind, over all namespaces.
fn controller<K>(client: &Client) -> Controller<Guarded<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Controller::new(Api::<Guarded<K>>::all(client.clone()), watcher::Config::default())
}

/// A cluster is looked at again when its machines, pools, host, release or its own API change.
fn wire_clusters(
    controller: Controller<Guarded<DevCluster>>,
    client: &Client,
    world: &Arc<World>,
) -> Controller<Guarded<DevCluster>> {
    let on_host = world.clone();
    let on_release = world.clone();
    controller
        .watches(Api::<Guarded<DevMachine>>::all(client.clone()), watcher::Config::default(), |machine| {
            let spec = machine.0.as_ref().ok()?.spec.cluster_ref.name.clone();
            Some(ObjectRef::new(&spec).within(&machine.namespace()?))
        })
        .watches(Api::<Guarded<NodePool>>::all(client.clone()), watcher::Config::default(), |pool| {
            let name = pool.0.as_ref().ok()?.spec.cluster_ref.name.clone();
            Some(ObjectRef::new(&name).within(&pool.namespace()?))
        })
        .watches(Api::<Guarded<HypervisorHost>>::all(client.clone()), watcher::Config::default(), move |host| {
            clusters_on(&on_host, &host.name_any())
        })
        .watches(Api::<Guarded<KubernetesRelease>>::all(client.clone()), watcher::Config::default(), move |release| {
            clusters_of_version(&on_release, &release.name_any())
        })
        .reconcile_on(
            world.context.children.triggers().map(|key| ObjectRef::new(&key.name).within(&key.namespace)),
        )
}

fn clusters_on(world: &World, host: &str) -> Vec<ObjectRef<Guarded<DevCluster>>> {
    world.clusters_on_host(host).iter().map(reference).collect()
}

fn clusters_of_version(world: &World, version: &str) -> Vec<ObjectRef<Guarded<DevCluster>>> {
    let state = world.clusters.state();
    let clusters = state.iter().filter_map(|c| c.0.as_ref().ok());
    clusters.filter(|c| c.spec.version == version).map(reference).collect()
}

/// A pool is looked at again when its machines or its cluster change.
fn wire_pools(
    controller: Controller<Guarded<NodePool>>,
    client: &Client,
    world: &Arc<World>,
) -> Controller<Guarded<NodePool>> {
    let on_cluster = world.clone();
    controller
        .watches(Api::<Guarded<DevMachine>>::all(client.clone()), watcher::Config::default(), |machine| {
            let pool = machine.0.as_ref().ok()?.spec.pool_ref.as_ref()?.name.clone();
            Some(ObjectRef::new(&pool).within(&machine.namespace()?))
        })
        .watches(Api::<Guarded<DevCluster>>::all(client.clone()), watcher::Config::default(), move |cluster| {
            let pools = cluster.0.as_ref().map(|c| on_cluster.pools_of_cluster(c)).unwrap_or_default();
            pools.iter().map(reference).collect::<Vec<_>>()
        })
}

/// A machine is looked at again when its cluster, its pool, its domain, its host or its cluster's API change.
fn wire_machines(
    controller: Controller<Guarded<DevMachine>>,
    client: &Client,
    world: &Arc<World>,
) -> Controller<Guarded<DevMachine>> {
    let (on_cluster, on_pool, on_child, on_host) = (world.clone(), world.clone(), world.clone(), world.clone());
    controller
        .watches(Api::<Guarded<DevCluster>>::all(client.clone()), watcher::Config::default(), move |cluster| {
            let machines = cluster.0.as_ref().map(|c| on_cluster.machines_of_cluster(c)).unwrap_or_default();
            machines.iter().map(reference).collect::<Vec<_>>()
        })
        .watches(Api::<Guarded<NodePool>>::all(client.clone()), watcher::Config::default(), move |pool| {
            let (namespace, name) = (pool.namespace(), pool.name_any());
            machines_where(&on_pool, |m| {
                m.namespace() == namespace && m.spec.pool_ref.as_ref().is_some_and(|p| p.name == name)
            })
        })
        .reconcile_on(world.context.children.triggers().flat_map(move |key| {
            let machines = machines_where(&on_child, |m| {
                m.namespace().as_deref() == Some(&key.namespace) && m.spec.cluster_ref.name == key.name
            });
            futures::stream::iter(machines)
        }))
        .reconcile_on(world.context.hosts.triggers().flat_map(move |trigger| {
            let machines = machines_where(&on_host, |m| {
                m.spec.host_ref.name == trigger.host
                    && trigger.domain.as_ref().is_none_or(|domain| {
                        *domain
                            == seedbed_planner::names::domain(&m.namespace().unwrap_or_default(), &m.name_any())
                    })
            });
            futures::stream::iter(machines)
        }))
}

fn machines_where(world: &World, wanted: impl Fn(&DevMachine) -> bool) -> Vec<ObjectRef<Guarded<DevMachine>>> {
    world.all_machines().iter().filter(|m| wanted(m)).map(reference).collect()
}

/// A host is looked at again when its connection comes or goes. What single domains do is its machines' concern.
fn on_whole_host(context: &Context) -> impl Stream<Item = ObjectRef<Guarded<HypervisorHost>>> + Send + use<> {
    context.hosts.triggers().filter_map(|trigger| async move {
        trigger.domain.is_none().then(|| ObjectRef::new(&trigger.host))
    })
}

/// A finished transfer concerns every release that has the file.
fn on_uploads(world: &Arc<World>) -> impl Stream<Item = ObjectRef<Guarded<KubernetesRelease>>> + Send + use<> {
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
    let health = world.context.health.clone();
    health.set_synced(name, false);
    let store = controller.store();
    let synced = async {
        // An error means that the controller ended first: then it is not synced either.
        if store.wait_until_ready().await.is_ok() {
            health.set_synced(name, true);
        }
    };
    let running = controller
        .with_config(Config::default().concurrency(concurrency))
        .graceful_shutdown_on(stop)
        .run(
            move |object: Arc<DeserializeGuard<K>>, world: Arc<World>| async move {
                match &object.0 {
                    Ok(read) => {
                        world.synced().await?;
                        let read = Arc::new(read.clone());
                        reconcile::measured(&world.context, name, object.as_ref(), pass(read, world.clone())).await
                    }
                    Err(error) => {
                        // Only a newer version of the object can mend this; the watch brings it.
                        tracing::warn!(controller = name, object = object.name_any(), "cannot be read: {error}");
                        Ok(Action::await_change())
                    }
                }
            },
            |object, error, world: Arc<World>| reconcile::on_error(&object, error, &world.context),
            world.clone(),
        )
        .for_each(|_| futures::future::ready(()));
    futures::join!(running, synced);
}
