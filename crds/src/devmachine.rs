//! `DevMachine`: one virtual machine.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalReference, MachineResources};

/// One virtual machine of a cluster. Made by the operator; deleting one replaces it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "seedbed.dev",
    version = "v1alpha1",
    kind = "DevMachine",
    namespaced,
    status = "DevMachineStatus",
    derive = "PartialEq",
    shortname = "dm",
    category = "seedbed",
    doc = "One virtual machine of a DevCluster. Made by the operator; deleting one replaces it.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name", description = "The DevCluster that it belongs to."),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role", description = "ControlPlane or Worker."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether its node is Ready."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Summary of the conditions."),
    printcolumn(name = "Power", type_ = "string", json_path = ".status.powerState", description = "Power state of the virtual machine."),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[?(@.type=='InternalIP')].address", description = "Its address on the cluster's network."),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.node.kubeletVersion", description = "Version that its kubelet says it runs."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.hostRef.name", priority = 1, description = "Where it runs."),
    printcolumn(name = "ProviderID", type_ = "string", json_path = ".status.providerID", priority = 1, description = "Its identity on the host."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1, description = "Why it is or is not Ready."),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What was found and what to do."),
    validation = Rule::new("self.spec == oldSelf.spec").message("the spec of a DevMachine cannot be changed: change its NodePool or DevCluster")
)]
#[serde(rename_all = "camelCase")]
pub struct DevMachineSpec {
    /// The `DevCluster` that it belongs to.
    pub cluster_ref: LocalReference,
    /// The `NodePool` that it belongs to; none for a control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<LocalReference>,
    /// The `HypervisorHost` that it runs on.
    pub host_ref: LocalReference,
    /// What it is in its cluster.
    pub role: MachineRole,
    /// Kubernetes version that it is made with.
    #[schemars(length(max = 20), regex(pattern = r"^v1\.[0-9]{1,3}\.[0-9]{1,3}$"))]
    pub version: String,
    /// Its size.
    pub machine: MachineResources,
    /// Hash of everything that it is made from and that cannot be changed while it runs.
    #[schemars(length(min = 1, max = 64))]
    pub template_hash: String,
}

/// What a machine is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MachineRole {
    /// It runs the API server and etcd.
    ControlPlane,
    /// It runs workloads.
    Worker,
}

/// What was seen of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevMachineStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Summary of the conditions for people. Never read by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Power state of the virtual machine, as the host last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_state: Option<PowerState>,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<MachineAddress>,
    /// MAC address of its network card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Name of the virtual machine on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_name: Option<String>,
    /// `seedbed://<host>/<UUID of the virtual machine>`, the same as in its node's `spec.providerID`.
    #[serde(rename = "providerID", default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// How far kubeadm has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<BootstrapStatus>,
    /// What its node says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeFacts>,
    /// When the drain of its node began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_started_at: Option<Time>,
}

/// Power state of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PowerState {
    /// The guest runs.
    Running,
    /// The guest is suspended by the host.
    Paused,
    /// The guest is off.
    Off,
    /// The guest crashed.
    Crashed,
    /// The host could not be asked.
    Unknown,
}

/// Kind of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MachineAddressType {
    /// Address on the cluster's network.
    #[serde(rename = "InternalIP")]
    InternalIp,
    /// Name on the cluster's network.
    #[serde(rename = "InternalDNS")]
    InternalDns,
    /// The guest's own name.
    Hostname,
}

/// An address of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineAddress {
    /// What kind of address it is.
    #[serde(rename = "type")]
    pub type_: MachineAddressType,
    /// The address.
    pub address: String,
}

/// How far a bootstrap has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BootstrapPhase {
    /// The attempt is decided on; whether it was started in the guest is found out by its token.
    Started,
    /// kubeadm finished.
    Succeeded,
    /// kubeadm failed, and the next attempt has not begun.
    Failed,
}

/// How far kubeadm has come on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapStatus {
    /// How far this attempt has come.
    pub phase: BootstrapPhase,
    /// Number of this attempt, from 1.
    pub attempt: i32,
    /// Name of the job in the guest: `seedbed-<token>` is its systemd unit, `/var/lib/seedbed/jobs/<token>` its log.
    pub token: String,
    /// Of a worker: the job of the control plane that it joins. A control plane that was begun anew since has another one, and may not
    /// know the worker's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_token: Option<String>,
    /// When this attempt was decided on.
    pub started_at: Time,
    /// When this attempt was seen finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Last lines of the log of a failed attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// The node's UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Version of the kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_version: Option<String>,
    /// Version of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_version: Option<String>,
    /// Operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_image: Option<String>,
    /// Container runtime and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_runtime_version: Option<String>,
    /// Range of the addresses of its pods.
    #[serde(rename = "podCIDR", default, skip_serializing_if = "Option::is_none")]
    pub pod_cidr: Option<String>,
    /// Processors that pods can have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable_cpu: Option<String>,
    /// Memory that pods can have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable_memory: Option<String>,
}
