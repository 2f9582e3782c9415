//! Plain data that goes to a host and comes back from it.

use std::fmt::{self, Debug};
use std::io::{self, Read};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whose a domain or network is, as it stands in its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The cluster's namespace.
    pub namespace: String,
    /// The `DevCluster`'s name.
    pub cluster: String,
    /// The `DevCluster`'s UID.
    pub cluster_uid: String,
    /// The `DevMachine`'s name; none for a network.
    pub machine: Option<String>,
    /// The `DevMachine`'s UID; none for a network.
    pub machine_uid: Option<String>,
}

impl Owner {
    /// Whether both are the same cluster, by its UID: what a network's owner is known by.
    pub fn same_cluster(&self, other: &Self) -> bool {
        self.cluster_uid == other.cluster_uid
    }

    /// Whether both are the same machine of the same cluster, by their UIDs: what a domain's owner is known by.
    pub fn same_machine(&self, other: &Self) -> bool {
        self.same_cluster(other) && self.machine_uid.is_some() && self.machine_uid == other.machine_uid
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DevCluster {}/{} (UID {})",
            self.namespace, self.cluster, self.cluster_uid
        )?;
        if let (Some(machine), Some(uid)) = (&self.machine, &self.machine_uid) {
            write!(f, ", DevMachine {machine} (UID {uid})")?;
        }
        Ok(())
    }
}

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DomainType {
    /// The processor, by KVM.
    Kvm,
    /// QEMU's emulator (TCG).
    Qemu,
}

/// What a host is and what it has to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The host's own name.
    pub hostname: String,
    /// Version of the hypervisor program, such as `QEMU 10.0.3`.
    pub hypervisor_version: String,
    /// Version of the management daemon, such as `libvirt 11.3.0`.
    pub manager_version: String,
    /// Logical processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Size of the storage pool in bytes.
    pub pool_capacity_bytes: u64,
    /// Free space of the storage pool in bytes.
    pub pool_available_bytes: u64,
}

/// Everything on a host that could be ours or in our way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// All domains, running or not.
    pub domains: Vec<DomainFacts>,
    /// All networks, active or not.
    pub networks: Vec<NetworkFacts>,
    /// All volumes of the pool.
    pub volumes: Vec<VolumeFacts>,
}

/// Power state of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerState {
    /// The guest runs.
    Running,
    /// The guest is suspended by the host.
    Paused,
    /// The guest is off.
    Off,
    /// The guest crashed and was kept as it was.
    Crashed,
}

/// A domain as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainFacts {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whose it is; none where its metadata holds nothing of ours.
    pub owner: Option<Owner>,
    /// Hash of the spec that it was defined from; none where its metadata holds nothing of ours.
    pub spec_hash: Option<String>,
    /// Its power state.
    pub power: PowerState,
    /// Whether the guest's agent has opened its channel; none where the host cannot tell.
    pub agent_connected: Option<bool>,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Virtual processors.
    pub cpus: u32,
    /// Serials of the disks that were attached to it since it is on, beyond those that it is defined with. Of domains that are not ours
    /// they are not told.
    pub attached: Vec<String>,
    /// Whether what its first disk held once is kept below a layer; none where the host has no such layers.
    pub kept: Option<bool>,
}

/// A network as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// Its name.
    pub name: String,
    /// Whose it is; none where its metadata holds nothing of ours.
    pub owner: Option<Owner>,
    /// Whether it is started.
    pub active: bool,
    /// Name of its bridge on the host, where it has one.
    pub bridge: Option<String>,
    /// Its IPv4 range, where it has one.
    pub cidr: Option<Ipv4Net>,
    /// Its DHCP reservations.
    pub reservations: Vec<Reservation>,
}

impl NetworkFacts {
    /// Whether its metadata says that it is that cluster's.
    pub fn is_of(&self, cluster_uid: &str) -> bool {
        let owner = self.owner.as_ref();
        owner.is_some_and(|owner| owner.cluster_uid == cluster_uid)
    }
}

/// A volume as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFacts {
    /// Its name in the pool.
    pub name: String,
    /// Its virtual size in bytes.
    pub capacity_bytes: u64,
    /// What it takes on the host's disk, in bytes.
    pub allocation_bytes: u64,
    /// Whether an upload into it was finished and verified; false for one that was created empty.
    pub complete: bool,
}

/// A cluster's own NAT network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name on the host.
    pub name: String,
    /// Name of its bridge on the host: 15 characters at most (the kernel's limit for interfaces).
    pub bridge: String,
    /// Its range; the first address is the host's.
    pub cidr: Ipv4Net,
    /// Its DNS zone, answered on the host's address for this network.
    pub dns_domain: String,
    /// Addresses that it reserves from the start. It can be given more later, and what it has is not compared with these.
    pub reservations: Vec<Reservation>,
    /// Whose it is.
    pub owner: Owner,
}

/// An address that is always given to the same network card.
///
/// Within one network, give an address the same MAC for ever, also when another machine takes it over: the host's DHCP server keeps
/// an address for the card that had it until its lease ends (an hour), and answers no other card meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// MAC address, lower-case, with colons.
    pub mac: String,
    /// The address.
    pub ip: Ipv4Addr,
    /// The name that DHCP gives and DNS answers.
    pub hostname: String,
}

/// Format of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeFormat {
    /// QEMU's copy-on-write format.
    Qcow2,
    /// Bytes as they are.
    Raw,
}

/// A volume to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Its name in the pool.
    pub name: String,
    /// Its virtual size in bytes.
    pub capacity_bytes: u64,
    /// Its format.
    pub format: VolumeFormat,
    /// Name of the complete qcow2 volume in the same pool that it starts as a copy of.
    pub backing: Option<String>,
}

/// How a domain boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boot {
    /// The host loads a kernel and an initrd from volumes of the pool.
    Direct {
        /// Volume of the kernel.
        kernel: String,
        /// Volume of the initrd.
        initrd: String,
        /// The kernel's command line.
        arguments: String,
    },
    /// The first disk's own boot loader.
    Disk,
}

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// Volume in the pool.
    pub volume: String,
    /// Its format.
    pub format: VolumeFormat,
    /// Whether the guest may write to it.
    pub read_only: bool,
}

/// A disk that a domain has for as long as it is on, for reading only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedDisk {
    /// Volume in the pool; it has to be complete.
    pub volume: String,
    /// Its format.
    pub format: VolumeFormat,
    /// What it is known by, within the domain and in the guest: as `/dev/disk/by-id/virtio-<serial>`.
    pub serial: String,
}

impl AttachedDisk {
    /// How long a serial may be: a guest sees no more of a longer one.
    pub const SERIAL_LIMIT: usize = 20;

    /// What is wrong with its serial, if anything is.
    pub fn serial_problem(&self) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let (serial, length) = (&self.serial, self.serial.chars().count());
        (length == 0 || length > Self::SERIAL_LIMIT || !serial.chars().all(is_plain)).then(|| {
            format!(
                "a disk's serial is {serial:?}, expected 1 to {} letters, digits, - and _; a guest could not find it by this one",
                Self::SERIAL_LIMIT
            )
        })
    }
}

/// A network card of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicSpec {
    /// Network on the host.
    pub network: String,
    /// MAC address, lower-case, with colons.
    pub mac: String,
}

/// A domain to define.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSpec {
    /// Its name on the host.
    pub name: String,
    /// Its UUID, allotted once.
    pub uuid: Uuid,
    /// Whose it is.
    pub owner: Owner,
    /// Hash of what it was made from.
    pub spec_hash: String,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Who executes its instructions.
    pub domain_type: DomainType,
    /// How it boots.
    pub boot: Boot,
    /// Its disks, in the order vda, vdb, …
    pub disks: Vec<DiskSpec>,
    /// Its network cards, in the order eth0, eth1, …
    pub nics: Vec<NicSpec>,
}

/// Something that happened on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEvent {
    /// The domain it happened to; none where it concerns the whole host.
    pub domain: Option<String>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A domain was started, stopped, suspended, resumed, crashed, defined or undefined: look again.
    DomainChanged,
    /// The guest's agent opened its channel.
    AgentConnected,
    /// The guest's agent closed its channel.
    AgentDisconnected,
    /// The connection to the host was made (again): look again at everything.
    HostConnected,
    /// The connection to the host was lost.
    HostDisconnected,
}

/// Bytes to upload, readable more than once.
pub trait ByteSource: Debug + Send + Sync + 'static {
    /// Opens the source from its beginning, with its length in bytes.
    fn open(&self) -> io::Result<(Box<dyn Read + Send>, u64)>;
    /// How people know it, for messages.
    fn describe(&self) -> String;
}
