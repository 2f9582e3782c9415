//! `DevCluster`: one child cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{KubeadmPatch, LocalReference, MachineResources, NodeFile, NodeTaint, TimingProfile};

/// A Kubernetes cluster whose nodes are virtual machines: its version, host, control plane and network.
///
/// Once the control plane is initialised, what it was made from cannot be changed; before that, every field can be mended.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "seedbed.dev",
    version = "v1alpha1",
    kind = "DevCluster",
    namespaced,
    status = "DevClusterStatus",
    derive = "PartialEq",
    shortname = "dc",
    category = "seedbed",
    doc = "A Kubernetes cluster whose nodes are virtual machines on a HypervisorHost.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the cluster can be used as asked for."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Summary of the conditions."),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "Kubernetes version of the running API server."),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodesSummary", description = "Ready nodes of desired nodes."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.hostRef.name", priority = 1, description = "Where the machines run."),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1, description = "Address of the API server."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1, description = "Why it is or is not Ready."),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What was found and what to do."),
    validation = Rule::new("size(self.metadata.name) <= 40").message("a DevCluster's name has at most 40 characters: the names of its machines are made from it"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("a DevCluster's name has no dots: the names of its machines are made from it"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || self.spec.hostRef == oldSelf.spec.hostRef").message("spec.hostRef cannot be changed once the control plane is initialised: machines do not move between hosts"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || self.spec.controlPlane == oldSelf.spec.controlPlane").message("spec.controlPlane cannot be changed once the control plane is initialised: its one machine holds the cluster's data"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || self.spec.network == oldSelf.spec.network").message("spec.network cannot be changed once the control plane is initialised"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || self.spec.cni == oldSelf.spec.cni").message("spec.cni cannot be changed once the control plane is initialised"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || has(self.spec.apiServer) == has(oldSelf.spec.apiServer) && (!has(self.spec.apiServer) || self.spec.apiServer == oldSelf.spec.apiServer)").message("spec.apiServer cannot be changed once the control plane is initialised"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || has(self.spec.kubeadm) == has(oldSelf.spec.kubeadm) && (!has(self.spec.kubeadm) || self.spec.kubeadm == oldSelf.spec.kubeadm)").message("spec.kubeadm cannot be changed once the control plane is initialised: put changes for workers into their NodePool's spec.kubeadm")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.network.nodeCIDR) || !cidr(self.network.nodeCIDR).containsCIDR(self.network.podCIDR) && !cidr(self.network.podCIDR).containsCIDR(self.network.nodeCIDR)", "network.nodeCIDR and network.podCIDR overlap"))]
pub struct DevClusterSpec {
    /// Kubernetes version, such as `v1.35.4`: the name of a `KubernetesRelease`.
    #[schemars(length(max = 20), regex(pattern = r"^v1\.[0-9]{1,3}\.[0-9]{1,3}$"))]
    pub version: String,
    /// The `HypervisorHost` that the machines run on.
    pub host_ref: LocalReference,
    /// The machines that run the control plane.
    pub control_plane: ControlPlane,
    /// Address ranges and names.
    #[serde(default)]
    pub network: Network,
    /// Pod networking.
    #[serde(default)]
    pub cni: Cni,
    /// The API server's own settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<ApiServer>,
    /// Changes to kubeadm's configuration, for every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeadm: Option<KubeadmSettings>,
    /// The container runtime's settings, on every node. A change replaces the workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containerd: Option<Containerd>,
    /// Files that are put on every node before kubeadm runs. A change replaces the workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub files: Vec<NodeFile>,
    /// Shell commands that every node runs before kubeadm, as root. A change replaces the workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 4096)))]
    pub pre_kubeadm_commands: Vec<String>,
    /// Shell commands that every node runs after kubeadm, as root. A change replaces the workers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 4096)))]
    pub post_kubeadm_commands: Vec<String>,
    /// Who may log in to the nodes. A change replaces the workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// While true, the operator changes nothing of this cluster; it still looks and tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// What becomes of the machines when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How many upgrades that came to their end are kept of those that an edited `version` made, the newest; the last one that failed, or was
    /// cancelled, stays for as long as it says why `version` is not run. Upgrades that a person made are never deleted.
    #[serde(default = "default_upgrade_history_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub upgrade_history_limit: i32,
}

fn default_upgrade_history_limit() -> i32 {
    5
}

/// The machines that run the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.replicas == 1", "controlPlane.replicas must be 1: more than one control plane is not supported by this release of the operator"),
    validation = ("self.machine.cpus >= 2", "controlPlane.machine.cpus must be at least 2: kubeadm refuses less"),
    validation = ("!quantity(self.machine.memory).isLessThan(quantity('1700Mi'))", "controlPlane.machine.memory must be at least 1700Mi: kubeadm refuses less"),
    validation = ("!quantity(self.machine.disk).isLessThan(quantity('8Gi'))", "controlPlane.machine.disk must be at least 8Gi: the guest image alone takes 6Gi")
)]
pub struct ControlPlane {
    /// How many machines.
    #[serde(default = "one")]
    pub replicas: i32,
    /// Size of each machine.
    pub machine: MachineResources,
    /// Labels of the control plane's nodes, beside those that kubeadm sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, String>,
    /// Taints that the control plane's nodes register with. Left out: kubeadm's own (no workloads). An empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub node_taints: Option<Vec<NodeTaint>>,
}

fn one() -> i32 {
    1
}

/// Address ranges and names of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!cidr(self.podCIDR).containsCIDR(self.serviceCIDR) && !cidr(self.serviceCIDR).containsCIDR(self.podCIDR)", "network.podCIDR and network.serviceCIDR overlap"),
    validation = ("!has(self.nodeCIDR) || !cidr(self.nodeCIDR).containsCIDR(self.serviceCIDR) && !cidr(self.serviceCIDR).containsCIDR(self.nodeCIDR)", "network.nodeCIDR and network.serviceCIDR overlap"),
    validation = ("cidr(self.podCIDR).prefixLength() <= 22", "network.podCIDR must be /22 or larger: every node takes a /24 of it"),
    validation = ("cidr(self.serviceCIDR).prefixLength() >= 12 && cidr(self.serviceCIDR).prefixLength() <= 24", "network.serviceCIDR must be between /12 and /24"),
    validation = ("!has(self.nodeCIDR) || cidr(self.nodeCIDR).prefixLength() >= 16 && cidr(self.nodeCIDR).prefixLength() <= 26", "network.nodeCIDR must be between /16 and /26")
)]
pub struct Network {
    /// Range of the pods' addresses, IPv4.
    #[serde(rename = "podCIDR", default = "default_pod_cidr")]
    #[x_kube(validation = ("isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked()", "must be an IPv4 range whose address is the first of it, such as 10.244.0.0/16"))]
    #[schemars(length(max = 18))]
    pub pod_cidr: String,
    /// Range of the Services' addresses, IPv4.
    #[serde(rename = "serviceCIDR", default = "default_service_cidr")]
    #[x_kube(validation = ("isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked()", "must be an IPv4 range whose address is the first of it, such as 10.96.0.0/16"))]
    #[schemars(length(max = 18))]
    pub service_cidr: String,
    /// Range of the machines' addresses, IPv4. Left out: a free /24 of the host's `nodeAddressRange`.
    #[serde(rename = "nodeCIDR", default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("isCIDR(self) && cidr(self).ip().family() == 4 && cidr(self) == cidr(self).masked()", "must be an IPv4 range whose address is the first of it, such as 10.64.7.0/24"))]
    #[schemars(length(max = 18))]
    pub node_cidr: Option<String>,
    /// DNS domain of the cluster's Services.
    #[serde(default = "default_dns_domain")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub dns_domain: String,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            pod_cidr: default_pod_cidr(),
            service_cidr: default_service_cidr(),
            node_cidr: None,
            dns_domain: default_dns_domain(),
        }
    }
}

fn default_pod_cidr() -> String {
    "10.244.0.0/16".to_owned()
}

fn default_service_cidr() -> String {
    "10.96.0.0/16".to_owned()
}

fn default_dns_domain() -> String {
    "cluster.local".to_owned()
}

/// Pod networking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cni {
    /// Which plugin is set up.
    #[serde(rename = "type", default)]
    pub type_: CniType,
}

/// Which CNI plugin is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CniType {
    /// A bridge on each node and routes between them. Does not enforce NetworkPolicies.
    #[default]
    Bridge,
    /// None: nodes are not Ready until you install one.
    None,
}

/// The API server's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiServer {
    /// Further names and addresses that the API server's certificate is valid for.
    #[serde(rename = "extraSANs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$")
        )
    )]
    pub extra_sans: Vec<String>,
}

/// Changes to kubeadm's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeadmSettings {
    /// Patches, applied in their order to the documents that the operator renders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub patches: Vec<KubeadmPatch>,
}

/// The container runtime's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Containerd {
    /// Where images of a registry are pulled from instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub registry_mirrors: Vec<RegistryMirror>,
    /// Certificate authorities that the nodes trust, beside the distribution's.
    #[serde(rename = "trustedCAs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub trusted_cas: Vec<TrustedCa>,
}

/// Where images of a registry are pulled from instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryMirror {
    /// The registry as it stands in image names, such as `docker.io`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?$")
    )]
    pub registry: String,
    /// Mirrors in the order in which they are tried; the registry itself comes last.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(max = 1024), regex(pattern = r"^https?://[^\s/]+(/[^\s]*)?$"))
    )]
    pub endpoints: Vec<String>,
}

/// A certificate authority that the nodes trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustedCa {
    /// A name for the file on the nodes.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The certificate, PEM.
    #[schemars(length(max = 65536), regex(pattern = r"^-----BEGIN CERTIFICATE-----"))]
    pub pem: String,
}

/// Who may log in to the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// Public keys that may log in as the guest image's default user (`debian`, who may use sudo), in the form of
    /// `authorized_keys`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 4096)))]
    pub authorized_keys: Vec<String>,
}

/// What becomes of the machines when their cluster's object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Machines, volumes and network are removed from the host.
    #[default]
    Delete,
    /// Machines, volumes and network stay as they are, and are no longer looked after.
    Retain,
}

/// What was seen of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevClusterStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Summary of the conditions for people. Never read by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Kubernetes version that the API server says it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Address of the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Whether the control plane was initialised: from then on there is data to lose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initialized: bool,
    /// When the control plane was first seen initialised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialized_at: Option<Time>,
    /// How many nodes there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_nodes: Option<i32>,
    /// How many nodes are Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_nodes: Option<i32>,
    /// Ready nodes of desired nodes, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_summary: Option<String>,
    /// Timing profile that the cluster was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing_profile: Option<TimingProfile>,
    /// What was allotted to the cluster on its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStatus>,
    /// Name of the Secret that holds the kubeconfig of an administrator, under the key `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig_secret: Option<String>,
}

/// What was allotted to a cluster on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// Name of the network on the host.
    pub name: String,
    /// Range of the machines' addresses.
    #[serde(rename = "nodeCIDR")]
    pub node_cidr: String,
    /// DNS domain in which the machines' names are answered on the cluster's network.
    pub dns_domain: String,
}
