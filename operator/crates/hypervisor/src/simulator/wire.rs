//! What goes over the socket: JSON, one document a line.
//!
//! A connection begins with a [`Hello`] that names the host. Then each line is a [`Call`] and is answered by one line, a
//! `Result<_, Fault>` of the type that the call's method in [`Hypervisor`] has. A connection that has asked for [`Call::Events`]
//! gets a [`HostEvent`](crate::HostEvent) a line from then on, and asks for nothing more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulated::Simulated;
use crate::{
    AttachedDisk, DomainSpec, Fault, HostFacts, Hypervisor, NetworkSpec, Owner, Reservation, VolumeFacts,
    VolumeSpec,
};

/// What this end and the other have to agree on.
pub const PROTOCOL: u32 = 3;

/// The first line of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of who connects.
    pub protocol: u32,
    /// Name of the host. One that was not heard of before is made.
    pub host: String,
    /// What the host is like from now on.
    pub settings: Settings,
}

/// What a simulated host is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Logical processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Size of the storage pool in bytes.
    pub pool_capacity_bytes: u64,
    /// How long things take.
    pub durations: Durations,
    /// Whether no call is answered for as long as this is so.
    pub hangs: bool,
}

/// How long things take on a simulated host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// From power to the agent's first answer.
    pub boot: Duration,
    /// From the beginning of a control plane's job, or from a later boot, to an API that answers.
    pub api_server: Duration,
    /// From an API that answers to the end of the control plane's job.
    pub init: Duration,
    /// From the beginning of a worker's job, or from an API that lets it in, to the job's end.
    pub join: Duration,
    /// From a node's registration to its being Ready.
    pub node_ready: Duration,
    /// From the end of the control plane's job to CoreDNS's being available.
    pub dns: Duration,
}

impl Settings {
    /// The host as its own look says.
    pub fn facts(&self, hostname: &str) -> HostFacts {
        HostFacts {
            hostname: hostname.to_owned(),
            hypervisor_version: "simulated".to_owned(),
            manager_version: concat!("seedbed-simulator ", env!("CARGO_PKG_VERSION")).to_owned(),
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            pool_capacity_bytes: self.pool_capacity_bytes,
            pool_available_bytes: self.pool_capacity_bytes,
        }
    }
}

/// A call to a host: the methods of [`Hypervisor`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are those of the methods of the same name")]
pub enum Call {
    Host,
    Inventory,
    Domain {
        name: String,
    },
    Network {
        name: String,
    },
    Volume {
        name: String,
    },
    EnsureNetwork {
        spec: NetworkSpec,
    },
    ReserveAddress {
        network: String,
        owner: Owner,
        reservation: Reservation,
    },
    ReleaseAddress {
        network: String,
        owner: Owner,
        mac: String,
    },
    DeleteNetwork {
        name: String,
        owner: Owner,
    },
    CreateVolume {
        spec: VolumeSpec,
    },
    /// An upload's end: what was read, or none where it failed. What is in volumes is not simulated, so that who asks reads and
    /// checks the bytes, and they stay there.
    PutVolume {
        name: String,
        volume: Option<VolumeFacts>,
    },
    DeleteVolume {
        name: String,
    },
    DefineDomain {
        spec: DomainSpec,
    },
    StartDomain {
        name: String,
        owner: Owner,
    },
    ShutdownDomain {
        name: String,
        owner: Owner,
    },
    DestroyDomain {
        name: String,
        owner: Owner,
    },
    UndefineDomain {
        name: String,
        owner: Owner,
    },
    DisownDomain {
        name: String,
        owner: Owner,
    },
    DisownNetwork {
        name: String,
        owner: Owner,
    },
    KeepDisk {
        domain: String,
        owner: Owner,
    },
    MergeDisk {
        domain: String,
        owner: Owner,
    },
    RevertDisk {
        domain: String,
        owner: Owner,
    },
    AttachDisk {
        domain: String,
        owner: Owner,
        disk: AttachedDisk,
    },
    DetachDisk {
        domain: String,
        owner: Owner,
        serial: String,
    },
    Agent {
        domain: String,
        owner: Owner,
        command: String,
        timeout: Duration,
    },
    /// All events from now on.
    Events,
}

impl Call {
    /// The host's answer as it goes over the wire. [`Call::Events`] is answered with nothing: it is no single answer.
    pub async fn answer(self, host: &Simulated) -> serde_json::Result<String> {
        match self {
            Self::Host => line(&host.host().await),
            Self::Inventory => line(&host.inventory().await),
            Self::Domain { name } => line(&host.domain(&name).await),
            Self::Network { name } => line(&host.network(&name).await),
            Self::Volume { name } => line(&host.volume(&name).await),
            Self::EnsureNetwork { spec } => line(&host.ensure_network(&spec).await),
            Self::ReserveAddress {
                network,
                owner,
                reservation,
            } => line(&host.reserve_address(&network, &owner, &reservation).await),
            Self::ReleaseAddress { network, owner, mac } => {
                line(&host.release_address(&network, &owner, &mac).await)
            }
            Self::DeleteNetwork { name, owner } => line(&host.delete_network(&name, &owner).await),
            Self::CreateVolume { spec } => line(&host.create_volume(&spec).await),
            Self::PutVolume { name, volume } => line(&host.put_volume(&name, volume)),
            Self::DeleteVolume { name } => line(&host.delete_volume(&name).await),
            Self::DefineDomain { spec } => line(&host.define_domain(&spec).await),
            Self::StartDomain { name, owner } => line(&host.start_domain(&name, &owner).await),
            Self::ShutdownDomain { name, owner } => line(&host.shutdown_domain(&name, &owner).await),
            Self::DestroyDomain { name, owner } => line(&host.destroy_domain(&name, &owner).await),
            Self::UndefineDomain { name, owner } => line(&host.undefine_domain(&name, &owner).await),
            Self::DisownDomain { name, owner } => line(&host.disown_domain(&name, &owner).await),
            Self::DisownNetwork { name, owner } => line(&host.disown_network(&name, &owner).await),
            Self::KeepDisk { domain, owner } => line(&host.keep_disk(&domain, &owner).await),
            Self::MergeDisk { domain, owner } => line(&host.merge_disk(&domain, &owner).await),
            Self::RevertDisk { domain, owner } => line(&host.revert_disk(&domain, &owner).await),
            Self::AttachDisk { domain, owner, disk } => line(&host.attach_disk(&domain, &owner, &disk).await),
            Self::DetachDisk {
                domain,
                owner,
                serial,
            } => line(&host.detach_disk(&domain, &owner, &serial).await),
            Self::Agent {
                domain,
                owner,
                command,
                timeout,
            } => line(&host.agent(&domain, &owner, &command, timeout).await),
            Self::Events => line(&Ok(())),
        }
    }
}

fn line<T: Serialize>(answer: &Result<T, Fault>) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    Ok(text)
}
