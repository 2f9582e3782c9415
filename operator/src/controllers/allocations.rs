//! A cluster's allocations in their `ConfigMap`, written with the version that was read.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use seedbed_crds::DevCluster;
use seedbed_hypervisor::Reservation;
use seedbed_planner::allocation::{self, Allocations, MachineAllocation};
use seedbed_planner::names::HOST_LABEL;
use seedbed_planted::planted;

use super::current::version;
use super::owned;

/// Why allocations could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AllocationsError {
    /// The API server did not do it.
    #[error("ConfigMap {name}: {source}")]
    Api {
        /// The `ConfigMap`.
        name: String,
        /// Its words.
        #[source]
        source: kube::Error,
    },
    /// What it holds cannot be read.
    #[error(
        "ConfigMap {name}: key {} cannot be read: {message}; restore it from a backup: it says which addresses the machines have",
        allocation::KEY
    )]
    Broken {
        /// The `ConfigMap`.
        name: String,
        /// What is wrong with it.
        message: String,
    },
}

impl AllocationsError {
    /// True where somebody else wrote meanwhile: read again.
    pub fn conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

/// Allocations as they were read, to be written back with the same version.
#[derive(Debug, Clone)]
pub struct Stored {
    object: ConfigMap,
    /// The allocations.
    pub allocations: Allocations,
}

impl Stored {
    fn new(mut object: ConfigMap, allocations: &Allocations) -> Self {
        object.metadata.managed_fields = None;
        object.data = None;
        Self {
            object,
            allocations: allocations.clone(),
        }
    }

    /// Whether it is a later version than the other one.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        version(&self.object) > version(&other.object)
    }
}

/// The cluster's allocations; none where nothing was written down yet, or what is there is another cluster's of the same name.
pub async fn load(client: &Client, cluster: &DevCluster) -> Result<Option<Stored>, AllocationsError> {
    let name = allocation::config_map(&owned::name(cluster));
    let found = api(client, cluster)
        .get_opt(&name)
        .await
        .map_err(|source| AllocationsError::Api {
            name: name.clone(),
            source,
        })?;
    let Some(object) = found else { return Ok(None) };
    if owned::owner_uid(&object, "DevCluster").is_some_and(|uid| Some(uid) != cluster.metadata.uid.as_deref())
    {
        let message =
            "it was made for another DevCluster of this name, whose machines may still have what it says"
                .to_owned();
        return Err(AllocationsError::Broken { name, message });
    }
    let allocations = parse(&object)?;
    Ok(Some(Stored::new(object, &allocations)))
}

/// Writes the first allocations of a cluster.
pub async fn create(
    client: &Client,
    cluster: &DevCluster,
    allocations: &Allocations,
) -> Result<Stored, AllocationsError> {
    let name = allocation::config_map(&owned::name(cluster));
    let mut labels = owned::labels(&owned::name(cluster));
    labels.insert(HOST_LABEL.to_owned(), cluster.spec.host_ref.name.clone());
    let object = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: cluster.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: owned::owner_reference(cluster).map(|o| vec![o]),
            ..ObjectMeta::default()
        },
        data: Some(data(&name, allocations)?),
        ..ConfigMap::default()
    };
    let object = api(client, cluster)
        .create(&PostParams::default(), &object)
        .await
        .map_err(|source| AllocationsError::Api { name, source })?;
    Ok(Stored::new(object, allocations))
}

/// Writes changed allocations over those that were read; a conflict where somebody else wrote meanwhile.
pub async fn replace(
    client: &Client,
    cluster: &DevCluster,
    stored: &Stored,
    allocations: &Allocations,
) -> Result<Stored, AllocationsError> {
    let name = stored.object.name_any();
    let mut object = stored.object.clone();
    object.data = Some(data(&name, allocations)?);
    if planted!(ForgetVersionOfAllocations) {
        object.metadata.resource_version = None;
    }
    let object = api(client, cluster)
        .replace(&name, &PostParams::default(), &object)
        .await
        .map_err(|source| AllocationsError::Api { name, source })?;
    Ok(Stored::new(object, allocations))
}

/// Deletes the cluster's allocations. Gone already is no error.
pub async fn delete(client: &Client, cluster: &DevCluster) -> Result<(), AllocationsError> {
    delete_with(client, cluster, &DeleteParams::default()).await
}

/// Deletes allocations that are still as they were read; a conflict where somebody wrote meanwhile. Gone already is no error.
pub async fn give_back(
    client: &Client,
    cluster: &DevCluster,
    stored: &Stored,
) -> Result<(), AllocationsError> {
    let as_it_was = DeleteParams::default().preconditions(Preconditions {
        uid: stored.object.uid(),
        resource_version: stored.object.resource_version(),
    });
    delete_with(client, cluster, &as_it_was).await
}

async fn delete_with(
    client: &Client,
    cluster: &DevCluster,
    how: &DeleteParams,
) -> Result<(), AllocationsError> {
    let name = allocation::config_map(&owned::name(cluster));
    match api(client, cluster).delete(&name, how).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(AllocationsError::Api { name, source }),
    }
}

/// The reservations of all machines.
pub fn reservations(stored: &Stored) -> Vec<Reservation> {
    let machines = stored.allocations.machines.iter();
    machines
        .map(|(name, machine)| reservation(name, machine))
        .collect()
}

/// What the network keeps for the machine of that name.
pub fn reservation(name: &str, machine: &MachineAllocation) -> Reservation {
    Reservation {
        mac: machine.mac.clone(),
        ip: machine.ip,
        hostname: name.to_owned(),
    }
}

/// The node ranges of all clusters on that host, each with the UID of its cluster.
pub async fn ranges_on_host(
    client: &Client,
    host: &str,
) -> Result<Vec<(Option<String>, Ipv4Net)>, AllocationsError> {
    let selector = ListParams::default().labels(&format!("{HOST_LABEL}={host}"));
    let all = Api::<ConfigMap>::all(client.clone())
        .list(&selector)
        .await
        .map_err(|source| AllocationsError::Api {
            name: format!("of host {host}"),
            source,
        })?;
    all.iter()
        .map(|object| {
            let uid = owned::owner_uid(object, "DevCluster").map(str::to_owned);
            parse(object).map(|a| (uid, a.node_cidr))
        })
        .collect()
}

fn api(client: &Client, cluster: &DevCluster) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), &owned::namespace(cluster))
}

fn parse(object: &ConfigMap) -> Result<Allocations, AllocationsError> {
    let broken = |message: String| AllocationsError::Broken {
        name: object.name_any(),
        message,
    };
    let text = object
        .data
        .as_ref()
        .and_then(|d| d.get(allocation::KEY))
        .ok_or_else(|| broken("the key is not there".to_owned()))?;
    serde_json::from_str(text).map_err(|e| broken(e.to_string()))
}

fn data(name: &str, allocations: &Allocations) -> Result<BTreeMap<String, String>, AllocationsError> {
    let text = serde_json::to_string_pretty(allocations).map_err(|e| AllocationsError::Broken {
        name: name.to_owned(),
        message: e.to_string(),
    })?;
    Ok(BTreeMap::from([(allocation::KEY.to_owned(), text)]))
}
