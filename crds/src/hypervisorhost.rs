//! `HypervisorHost`: where virtual machines run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::TimingProfile;

/// A machine that runs virtual machines, and how much of it may be used.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "seedbed.dev",
    version = "v1alpha1",
    kind = "HypervisorHost",
    status = "HypervisorHostStatus",
    derive = "PartialEq",
    shortname = "hh",
    category = "seedbed",
    doc = "A machine that runs virtual machines, and how much of it may be used.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether machines can be made on it."),
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type", description = "kvm, qemu for emulation, or simulated."),
    printcolumn(name = "CPUs", type_ = "integer", json_path = ".status.resources.cpus", description = "Logical processors."),
    printcolumn(name = "Memory", type_ = "string", json_path = ".status.resources.memory", description = "Memory of the host."),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.resources.memoryFree", description = "Memory that is neither reserved nor given to a machine."),
    printcolumn(name = "Machines", type_ = "integer", json_path = ".status.machines", description = "Virtual machines of ours on it."),
    printcolumn(name = "Orphans", type_ = "integer", json_path = ".status.orphanCount", description = "What is ours by its metadata and has no owner any more."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URI", type_ = "string", json_path = ".spec.libvirt.uri", priority = 1, description = "How it is reached."),
    printcolumn(name = "Hypervisor", type_ = "string", json_path = ".status.hypervisorVersion", priority = 1, description = "What it runs."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1, description = "Why it is or is not Ready."),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What was found and what to do."),
    validation = Rule::new("!self.metadata.name.contains('/') && size(self.metadata.name) <= 63").message("a HypervisorHost's name has at most 63 characters: it is part of the nodes' provider IDs")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.libvirt) != has(self.simulated)", "exactly one of libvirt and simulated says what kind of host it is"),
    validation = ("!has(self.simulated) || !isCIDR(self.nodeAddressRange) || (cidr('127.0.0.0/8').containsCIDR(self.nodeAddressRange) && !cidr(self.nodeAddressRange).containsIP('127.0.0.1'))", "nodeAddressRange of a simulated host must be within 127.0.0.0/8 and without 127.0.0.1, such as 127.64.0.0/12: its clusters are reached on this machine's loopback"),
    validation = ("has(self.simulated) == has(oldSelf.simulated)", "the kind of a host cannot be changed: what is on the one is not on the other; create another HypervisorHost")
)]
pub struct HypervisorHostSpec {
    /// How the host is reached and used through libvirt. Exactly one of this and `simulated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libvirt: Option<LibvirtHost>,
    /// A host that exists in the memory of the program seedbed-simulator alone, on the operator's machine: for rehearsals and
    /// measurements. No guest runs on it. Exactly one of this and `libvirt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<SimulatedHost>,
    /// Range that the clusters' node networks are cut from, a /24 each, IPv4. Must not be used by anything else that the host
    /// or the operator reaches.
    #[x_kube(validation = ("isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked() && cidr(self).prefixLength() <= 24 && cidr(self).prefixLength() >= 8", "must be an IPv4 range between /8 and /24 whose address is the first of it, such as 10.64.0.0/16"))]
    #[schemars(length(max = 18))]
    pub node_address_range: String,
    /// Memory that is left to the host itself and never given to machines.
    #[serde(default = "default_reserved_memory")]
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    pub reserved_memory: String,
    /// How much memory may be promised to machines, in percent of what is not reserved. Above 100 the host may have to swap.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub memory_overcommit_percent: i32,
    /// How much disk may be promised to machines, in percent of the storage pool. Volumes are thin: they take up what was written.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 10_000))]
    pub disk_overcommit_percent: i32,
    /// Timing profile of the clusters on this host. Left out: `Relaxed` where guests are emulated, else `Standard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing_profile: Option<TimingProfile>,
    /// What is done with machines and networks that are ours by their metadata and whose objects are gone.
    #[serde(default)]
    pub orphan_policy: OrphanPolicy,
    /// How long something has to be without an owner to be called an orphan, in seconds.
    #[serde(default = "default_orphan_grace")]
    #[schemars(range(min = 60, max = 604_800))]
    pub orphan_grace_period_seconds: i64,
}

fn hundred() -> i32 {
    100
}

fn two_hundred() -> i32 {
    200
}

fn default_reserved_memory() -> String {
    "2Gi".to_owned()
}

fn default_orphan_grace() -> i64 {
    3600
}

impl HypervisorHostSpec {
    /// What executes the guests' instructions, in one word: `kvm`, `qemu` or `simulated`.
    pub fn type_name(&self) -> &'static str {
        match self.libvirt.as_ref().map(|libvirt| libvirt.domain_type) {
            Some(DomainType::Kvm) => "kvm",
            Some(DomainType::Qemu) => "qemu",
            None => "simulated",
        }
    }

    /// Whether the guests' instructions are emulated by QEMU.
    pub fn is_emulated(&self) -> bool {
        self.libvirt
            .as_ref()
            .is_some_and(|libvirt| libvirt.domain_type == DomainType::Qemu)
    }
}

/// How a host is reached and used through libvirt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LibvirtHost {
    /// Connection URI, such as `qemu:///system` or `qemu+tls://host/system`.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^(qemu|test)(\+(unix|ssh|tls|tcp))?://")
    )]
    pub uri: String,
    /// Who executes the guests' instructions.
    pub domain_type: DomainType,
    /// Name of the storage pool that volumes are made in. It must exist, be active and be of a kind that holds files.
    #[schemars(length(min = 1, max = 253))]
    pub storage_pool: String,
}

/// Who executes the guests' instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainType {
    /// The processor, by KVM.
    Kvm,
    /// QEMU's emulator (TCG): works everywhere, some twenty times slower.
    Qemu,
}

/// A host that exists in the memory of the program seedbed-simulator alone: how it is reached, its sizes, and how long things
/// take on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedHost {
    /// Path of the Unix socket that seedbed-simulator listens on.
    #[serde(default = "default_socket")]
    #[schemars(length(min = 2, max = 107), regex(pattern = r"^/"))]
    pub socket: String,
    /// Logical processors.
    #[serde(default = "default_cpus")]
    #[schemars(range(min = 1, max = 65_536))]
    pub cpus: i32,
    /// Memory, as a quantity in Mi, Gi or Ti.
    #[serde(default = "default_memory")]
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    pub memory: String,
    /// Size of the storage pool, as a quantity in Mi, Gi or Ti.
    #[serde(default = "default_storage")]
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    pub storage: String,
    /// How long things take. A change counts for what begins after it.
    #[serde(default)]
    pub durations: SimulatedDurations,
    /// Whether the host gives no answer to any call, as one whose storage hangs, for as long as this is true. What runs on it goes
    /// on.
    #[serde(default)]
    pub hangs: bool,
}

/// How long things take on a simulated host: a number and `ms`, `s` or `m`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedDurations {
    /// From power to the guest agent's first answer.
    #[serde(default = "four_seconds")]
    #[schemars(length(max = 9), regex(pattern = r"^[0-9]{1,7}(ms|s|m)$"))]
    pub boot: String,
    /// From the beginning of a control plane's job, or from a later boot, to an API that answers.
    #[serde(default = "six_seconds")]
    #[schemars(length(max = 9), regex(pattern = r"^[0-9]{1,7}(ms|s|m)$"))]
    pub api_server: String,
    /// From an API that answers to the end of the control plane's job.
    #[serde(default = "five_seconds")]
    #[schemars(length(max = 9), regex(pattern = r"^[0-9]{1,7}(ms|s|m)$"))]
    pub init: String,
    /// From the beginning of a worker's job, or from an API that lets it in, to the job's end.
    #[serde(default = "four_seconds")]
    #[schemars(length(max = 9), regex(pattern = r"^[0-9]{1,7}(ms|s|m)$"))]
    pub join: String,
    /// From a node's registration to its being Ready.
    #[serde(default = "three_seconds")]
    #[schemars(length(max = 9), regex(pattern = r"^[0-9]{1,7}(ms|s|m)$"))]
    pub node_ready: String,
    /// From the end of the control plane's job to CoreDNS's being available.
    #[serde(default = "five_seconds")]
    #[schemars(length(max = 9), regex(pattern = r"^[0-9]{1,7}(ms|s|m)$"))]
    pub dns: String,
}

impl Default for SimulatedDurations {
    /// About what a host with KVM takes.
    fn default() -> Self {
        Self {
            boot: four_seconds(),
            api_server: six_seconds(),
            init: five_seconds(),
            join: four_seconds(),
            node_ready: three_seconds(),
            dns: five_seconds(),
        }
    }
}

fn default_socket() -> String {
    "/run/seedbed/simulator.sock".to_owned()
}

fn default_cpus() -> i32 {
    64
}

fn default_memory() -> String {
    "256Gi".to_owned()
}

fn default_storage() -> String {
    "4Ti".to_owned()
}

fn three_seconds() -> String {
    "3s".to_owned()
}

fn four_seconds() -> String {
    "4s".to_owned()
}

fn five_seconds() -> String {
    "5s".to_owned()
}

fn six_seconds() -> String {
    "6s".to_owned()
}

/// What is done with orphans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrphanPolicy {
    /// They are shown in the status and left alone.
    #[default]
    Keep,
    /// They are removed once the grace period is over.
    Delete,
}

/// What was seen of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HypervisorHostStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What executes the guests' instructions: `kvm`, `qemu` (emulation), or `simulated`: nothing does, there are none.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// Hypervisor and management daemon, with their versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor_version: Option<String>,
    /// What the host has to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<HostResources>,
    /// How many virtual machines of ours it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<i32>,
    /// How many orphans there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphan_count: Option<i32>,
    /// What is ours by its metadata, or of a volume by its name, and has no owner any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<HostOrphan>,
}

/// What a host has to give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostResources {
    /// Logical processors.
    pub cpus: i32,
    /// Memory of the host.
    pub memory: String,
    /// Memory that is neither reserved nor given to a machine.
    pub memory_free: String,
    /// Size of the storage pool.
    pub disk: String,
}

/// Something on a host that is ours by its metadata and has no owner any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostOrphan {
    /// `Domain`, `Network` or `Volume`. A volume is never removed by `orphanPolicy`: a machine that was let go may use it.
    pub kind: String,
    /// Its name on the host.
    pub name: String,
    /// UID of the `DevCluster` or `DevMachine` that it was made for.
    pub owner_uid: String,
    /// When it was first seen without an owner.
    pub since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
}
