//! Carries out one effect on a cluster. Each can be carried out again: what is done already is left as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::ByteString;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use seedbed_crds::{DeletionPolicy, DevCluster, DevMachine, DevMachineSpec, LocalReference, MachineRole};
use seedbed_hypervisor::NetworkSpec;
use seedbed_kubeadm::pki::ClusterPki;
use seedbed_planner::allocation::Allocations;
use seedbed_planner::cluster::Effect;
use seedbed_planner::{address, names, template};

use super::observe::{self, Subject};
use super::{stray_nodes, versions};
use crate::controllers::current::{let_go, wrote};
use crate::controllers::world::World;
use crate::controllers::{access, allocations, finalizer, machine, owned, pki, secrets};
use crate::errors::Error;

/// Key of the kubeconfig in its Secret, as Cluster API has it.
const KUBECONFIG_KEY: &str = "value";

/// Carries the effect out.
pub async fn apply(effect: Effect, subject: &Subject, world: &World) -> Result<(), Error> {
    let context = &world.context;
    let cluster = &subject.cluster;
    match effect {
        Effect::AddFinalizer => add_finalizer(cluster, world).await,
        Effect::Allocate => allocate(subject, world).await,
        Effect::ReturnRange => return_range(subject, world).await,
        Effect::CreatePki => create_pki(cluster, world).await,
        Effect::EnsureNetwork => ensure_network(subject, world).await,
        Effect::ReleaseAddresses => release_addresses(subject, world).await,
        Effect::ReserveAddresses => reserve_addresses(subject, world).await,
        Effect::CreateControlPlane => create_control_plane(subject, world).await,
        Effect::ReplaceControlPlane => {
            let machines: Vec<&DevMachine> = subject.control_plane().into_iter().collect();
            delete_machines(&machines, world).await
        }
        Effect::DeleteStrayNodes => stray_nodes::delete(subject, world).await,
        Effect::NoteInitialized => note_initialized(subject, world).await,
        Effect::WriteKubeconfig => write_kubeconfig(subject, world).await,
        Effect::CreateUpgrade => versions::create(subject, world).await,
        Effect::DeleteUpgrades if cluster.metadata.deletion_timestamp.is_some() => {
            versions::delete_own(cluster, world).await
        }
        Effect::DeleteUpgrades => versions::delete(subject, world).await,
        Effect::DeleteMachines => {
            let machines: Vec<&DevMachine> = subject
                .machines
                .iter()
                .filter(|m| m.metadata.deletion_timestamp.is_none())
                .collect();
            delete_machines(&machines, world).await
        }
        Effect::DeleteNetwork => match &subject.host {
            Some((_, hypervisor)) => Ok(hypervisor
                .delete_network(&subject.network(), &subject.owner())
                .await?),
            None => Ok(()),
        },
        Effect::DisownNetwork => match &subject.host {
            Some((_, hypervisor)) => Ok(hypervisor
                .disown_network(&subject.network(), &subject.owner())
                .await?),
            None => Ok(()),
        },
        Effect::DeleteSecrets => delete_secrets(subject, world).await,
        Effect::RemoveFinalizer => {
            context.children.forget(&access::key(cluster));
            world.forget_cluster(cluster);
            let_go(world, cluster).await
        }
    }
}

/// Keeps the object until its end.
pub async fn add_finalizer(cluster: &DevCluster, world: &World) -> Result<(), Error> {
    let written = finalizer::add(&world.context.client, cluster).await?;
    wrote(world, &written);
    Ok(())
}

async fn create_pki(cluster: &DevCluster, world: &World) -> Result<(), Error> {
    let (context, uid) = (&world.context, owned::uid(cluster));
    // What was made from keys that are gone is of no use with the new ones.
    context.children.forget(&access::key(cluster));
    world.accesses.forget(&uid);
    world.kubeconfigs.forget(&uid);
    let mut turn = world.key_turns.hold(&uid).await;
    let keys = if let Some(keys) = turn.take() {
        keys
    } else {
        let now = context.clock.now().as_second();
        Arc::new(ClusterPki::generate(now).map_err(|e| Error::step("keys", e))?)
    };
    *turn = Some(keys.clone());
    let all_new = pki::create(&context.client, cluster, &keys)
        .await
        .map_err(|e| Error::step("keys", e))?;
    *turn = None;
    if all_new {
        world.keys.put(&uid, keys, context.clock.elapsed());
    }
    Ok(())
}

/// Chooses a range that nothing on the host uses and writes it down. The clusters of a host are allotted one after
/// another: two that looked at the same time would choose the same range.
async fn allocate(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some((host, _)) = &subject.host else {
        return Ok(());
    };
    let mut on_host = world.ranges.hold(&host.name_any()).await;
    let wanted = subject
        .cluster
        .spec
        .network
        .node_cidr
        .as_deref()
        .and_then(|text| text.parse::<Ipv4Net>().ok());
    let node_cidr = if let Some(range) = wanted {
        range
    } else {
        let used = observe::used_ranges(subject, &mut on_host, world).await?;
        let pool: Ipv4Net = host.spec.node_address_range.parse().map_err(|_| {
            Error::step(
                "allocation",
                format!(
                    "nodeAddressRange of HypervisorHost {}: found {:?}, expected an IPv4 range",
                    host.name_any(),
                    host.spec.node_address_range
                ),
            )
        })?;
        address::free_range(&pool, &used).ok_or_else(|| {
            Error::step("allocation", format!("no /{} of host {}'s nodeAddressRange {pool} is free: delete clusters, or give the HypervisorHost a wider range", address::NODE_MASK, host.name_any()))
        })?
    };
    let allocations = Allocations {
        node_cidr,
        bridge: names::bridge(&owned::uid(&subject.cluster)),
        machines: BTreeMap::new(),
        initialized: false,
    };
    let uid = owned::uid(&subject.cluster);
    // Even where no answer comes it may have been written.
    on_host.allot(&uid, allocations.node_cidr, world.context.clock.elapsed());
    let stored = allocations::create(&world.context.client, &subject.cluster, &allocations)
        .await
        .map_err(|e| Error::step("allocation", e))?;
    world.keep_allocations(&uid, stored);
    Ok(())
}

/// Gives the cluster's range back, so that another one is chosen with what is written down by now.
async fn return_range(subject: &Subject, world: &World) -> Result<(), Error> {
    let (Some((host, _)), Some(stored)) = (&subject.host, &subject.stored) else {
        return Ok(());
    };
    world.ranges.hold(&host.name_any()).await.look_again();
    world.give_back_allocations(&subject.cluster, stored).await
}

async fn note_initialized(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some(stored) = &subject.stored else {
        return Ok(());
    };
    let noted = Allocations {
        initialized: true,
        ..stored.allocations.clone()
    };
    world.write_allocations(&subject.cluster, stored, &noted).await
}

async fn ensure_network(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some((_, hypervisor)) = &subject.host else {
        return Ok(());
    };
    // Machines may have been allotted their addresses since the look.
    let Some(stored) = world.present_allocations(&subject.cluster).await? else {
        return Ok(());
    };
    let spec = NetworkSpec {
        name: subject.network(),
        bridge: stored.allocations.bridge.clone(),
        cidr: stored.allocations.node_cidr,
        dns_domain: names::dns_zone(
            &owned::namespace(&subject.cluster),
            &owned::name(&subject.cluster),
        ),
        reservations: allocations::reservations(&stored),
        owner: subject.owner(),
    };
    Ok(hypervisor.ensure_network(&spec).await?)
}

/// Takes off the network what is no machine's. The network is looked at first: what is reserved was allotted before. An address that
/// another machine has by now is reserved for it instead.
async fn release_addresses(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some((_, hypervisor)) = &subject.host else {
        return Ok(());
    };
    let (network, owner) = (subject.network(), subject.owner());
    let found = hypervisor.network(&network).await?;
    let Some(stored) = world.present_allocations(&subject.cluster).await? else {
        return Ok(());
    };
    let wanted = allocations::reservations(&stored);
    for stray in observe::strays(subject, &stored, found.as_ref()) {
        hypervisor.release_address(&network, &owner, &stray.mac).await?;
        if let Some(instead) = wanted.iter().find(|wanted| wanted.mac == stray.mac) {
            hypervisor.reserve_address(&network, &owner, instead).await?;
        }
    }
    Ok(())
}

/// Reserves again what machines that run were allotted and the network does not keep for them any more.
async fn reserve_addresses(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some((_, hypervisor)) = &subject.host else {
        return Ok(());
    };
    let (network, owner) = (subject.network(), subject.owner());
    let Some(stored) = world.present_allocations(&subject.cluster).await? else {
        return Ok(());
    };
    let found = hypervisor.network(&network).await?;
    for lost in observe::lost(subject, &stored, found.as_ref()) {
        hypervisor.reserve_address(&network, &owner, &lost).await?;
    }
    Ok(())
}

async fn create_control_plane(subject: &Subject, world: &World) -> Result<(), Error> {
    let cluster = &subject.cluster;
    let name = names::control_plane(&owned::name(cluster), 0);
    let mut labels = owned::labels(&owned::name(cluster));
    labels.insert(
        names::ROLE_LABEL.to_owned(),
        names::role_label(MachineRole::ControlPlane).to_owned(),
    );
    let spec = DevMachineSpec {
        cluster_ref: LocalReference {
            name: owned::name(cluster),
        },
        pool_ref: None,
        host_ref: cluster.spec.host_ref.clone(),
        role: MachineRole::ControlPlane,
        version: cluster.spec.version.clone(),
        machine: cluster.spec.control_plane.machine.clone(),
        template_hash: template::control_plane_hash(&cluster.spec),
    };
    let mut machine = DevMachine::new(&name, spec);
    machine.metadata = ObjectMeta {
        namespace: cluster.metadata.namespace.clone(),
        labels: Some(labels),
        finalizers: Some(vec![names::FINALIZER.to_owned()]),
        owner_references: owned::owner_reference(cluster).map(|o| vec![o]),
        ..machine.metadata
    };
    let api = Api::<DevMachine>::namespaced(world.context.client.clone(), &owned::namespace(cluster));
    match api.create(&PostParams::default(), &machine).await {
        Ok(_) => Ok(()),
        // It is there already and the cache does not know yet; if it is another cluster's, the next look tells.
        Err(error) => Err(Error::api(format!("DevMachine {name}: create"), error)),
    }
}

async fn delete_machines(machines: &[&DevMachine], world: &World) -> Result<(), Error> {
    for machine in machines {
        machine::delete(&world.context.client, machine).await?;
    }
    Ok(())
}

async fn write_kubeconfig(subject: &Subject, world: &World) -> Result<(), Error> {
    let context = &world.context;
    let cluster = &subject.cluster;
    let name = owned::name(cluster);
    let keys = world.keys(cluster).await?;
    let (Some(keys), Some(address)) = (keys, access::api_server(&name, subject.stored.as_ref())) else {
        return Ok(());
    };
    let text = access::kubeconfig(context, cluster, &keys.ca, address)?;
    let data = BTreeMap::from([(KUBECONFIG_KEY.to_owned(), ByteString(text.into_bytes()))]);
    let secret = pki::secret(cluster, pki::kubeconfig_secret(&name), data);
    secrets::write(&context.client, cluster, secret).await?;
    let now = context.clock.elapsed();
    world.kubeconfigs.put(&owned::uid(cluster), address, now);
    Ok(())
}

/// Removes what the operator wrote for the cluster. What is retained keeps its keys: without them nobody could use it any more.
async fn delete_secrets(subject: &Subject, world: &World) -> Result<(), Error> {
    let client = &world.context.client;
    let cluster = &subject.cluster;
    world.forget_cluster(cluster);
    match cluster.spec.deletion_policy {
        DeletionPolicy::Delete => secrets::delete(client, cluster).await?,
        DeletionPolicy::Retain => secrets::disown(client, cluster).await?,
    }
    allocations::delete(client, cluster)
        .await
        .map_err(|e| Error::step("allocation", e))
}
