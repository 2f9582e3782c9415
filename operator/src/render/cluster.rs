//! What is true of a whole cluster, read from its spec and its allocations.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use seedbed_crds::{
    CniType, DevCluster, KubeadmPatch, KubeadmPatchTarget, KubeadmPatchType, NodePool, TimingProfile,
};
use seedbed_kubeadm::cni::{BridgeNetwork, CniError};
use seedbed_kubeadm::config::{self, ClusterInput, ConfigError, Document, Endpoint};
use seedbed_kubeadm::patch::{PatchKind, UserPatch};
use seedbed_planner::{address, names};

/// Port of every child cluster's API server.
pub const API_PORT: u16 = 6443;

/// What is true of a whole cluster.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    namespace: String,
    name: String,
    version: String,
    /// Range of the pods.
    pub pod_cidr: Ipv4Net,
    service_cidr: Ipv4Net,
    dns_domain: String,
    cert_sans: Vec<String>,
    /// Which CNI plugin is set up.
    pub cni: CniType,
    patches: Vec<UserPatch>,
    /// How patient the components are.
    pub timing: seedbed_kubeadm::TimingProfile,
}

/// A spec that cannot be carried out although its schema is right.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A range cannot be read.
    #[error("{field}: found {found:?}, expected an IPv4 range such as 10.244.0.0/16")]
    Range {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: String,
    },
    /// A patch cannot be applied.
    #[error("spec.kubeadm.patches: {0}")]
    Patch(#[from] ConfigError),
}

impl ClusterPlan {
    /// Reads the cluster's spec.
    pub fn new(cluster: &DevCluster, timing: TimingProfile) -> Result<Self, PlanError> {
        let range = |field, text: &str| {
            text.parse::<Ipv4Net>().map_err(|_| PlanError::Range {
                field,
                found: text.to_owned(),
            })
        };
        let spec = &cluster.spec;
        Ok(Self {
            namespace: cluster.metadata.namespace.clone().unwrap_or_default(),
            name: cluster.metadata.name.clone().unwrap_or_default(),
            version: spec.version.clone(),
            pod_cidr: range("spec.network.podCIDR", &spec.network.pod_cidr)?,
            service_cidr: range("spec.network.serviceCIDR", &spec.network.service_cidr)?,
            dns_domain: spec.network.dns_domain.clone(),
            cert_sans: spec
                .api_server
                .iter()
                .flat_map(|a| a.extra_sans.clone())
                .collect(),
            cni: spec.cni.type_,
            patches: patches(spec.kubeadm.iter().flat_map(|k| &k.patches)),
            timing: timing_profile(timing),
        })
    }

    /// Applies the cluster's patches to documents with stand-in addresses, so that a patch that cannot be applied is told before
    /// any machine is made.
    pub fn check(&self) -> Result<(), PlanError> {
        Ok(config::check_patches(
            &self.input(Ipv4Addr::UNSPECIFIED),
            self.timing,
            &self.patches,
        )?)
    }

    /// The same for the patches of a pool.
    pub fn check_pool(&self, pool: &NodePool) -> Result<(), PlanError> {
        Ok(config::check_pool_patches(
            self.timing,
            &self.patches,
            &pool_patches(pool),
        )?)
    }

    /// The cluster as kubeadm's documents want it, with its API server at that address.
    pub fn input(&self, api_server: Ipv4Addr) -> ClusterInput {
        ClusterInput {
            name: self.name.clone(),
            kubernetes_version: self.version.clone(),
            endpoint: Self::endpoint(api_server),
            pod_cidr: self.pod_cidr,
            service_cidr: self.service_cidr,
            dns_domain: self.dns_domain.clone(),
            cert_sans: self.cert_sans.clone(),
            allocate_node_cidrs: self.cni != CniType::Bridge,
        }
    }

    /// Where the API server is reached.
    pub fn endpoint(api_server: Ipv4Addr) -> Endpoint {
        Endpoint {
            host: api_server.to_string(),
            port: API_PORT,
        }
    }

    /// The pod network that is set up on the nodes; none where the user brings one.
    pub fn bridge(&self, node_cidr: Ipv4Net) -> Result<Option<BridgeNetwork>, CniError> {
        match self.cni {
            CniType::None => Ok(None),
            CniType::Bridge => {
                let machines = address::FIRST_MACHINE..=address::last_machine(&node_cidr, &self.pod_cidr);
                BridgeNetwork::new(self.pod_cidr, node_cidr, address::POD_MASK, machines).map(Some)
            }
        }
    }

    /// The cluster's patches.
    pub fn patches(&self) -> Vec<UserPatch> {
        self.patches.clone()
    }

    /// DNS zone of the cluster's network.
    pub fn dns_zone(&self) -> String {
        names::dns_zone(&self.namespace, &self.name)
    }
}

/// The pool's patches.
pub fn pool_patches(pool: &NodePool) -> Vec<UserPatch> {
    patches(pool.spec.kubeadm.iter().flat_map(|k| &k.patches))
}

fn patches<'a>(patches: impl Iterator<Item = &'a KubeadmPatch>) -> Vec<UserPatch> {
    patches
        .map(|patch| UserPatch {
            target: match patch.target {
                KubeadmPatchTarget::InitConfiguration => Document::InitConfiguration,
                KubeadmPatchTarget::JoinConfiguration => Document::JoinConfiguration,
                KubeadmPatchTarget::ClusterConfiguration => Document::ClusterConfiguration,
                KubeadmPatchTarget::KubeletConfiguration => Document::KubeletConfiguration,
                KubeadmPatchTarget::KubeProxyConfiguration => Document::KubeProxyConfiguration,
            },
            kind: match patch.type_ {
                KubeadmPatchType::StrategicMerge => PatchKind::StrategicMerge,
                KubeadmPatchType::Json6902 => PatchKind::Json6902,
            },
            patch: patch.patch.clone(),
        })
        .collect()
}

fn timing_profile(profile: TimingProfile) -> seedbed_kubeadm::TimingProfile {
    match profile {
        TimingProfile::Standard => seedbed_kubeadm::TimingProfile::Standard,
        TimingProfile::Relaxed => seedbed_kubeadm::TimingProfile::Relaxed,
    }
}
