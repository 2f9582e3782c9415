//! What the documents are made from.

use std::net::IpAddr;

use ipnet::Ipv4Net;

use crate::{patch::UserPatch, timing::TimingProfile, token::BootstrapToken};

/// Where a cluster's API server is reached by its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address or DNS name.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// `https://host:port`.
    pub fn url(&self) -> String {
        format!("https://{}", self.authority())
    }
}

/// What is true of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInput {
    /// Name of the cluster, as kubeconfigs show it.
    pub name: String,
    /// Version to install, with the leading `v`.
    pub kubernetes_version: String,
    /// Where the API server is reached.
    pub endpoint: Endpoint,
    /// Addresses of pods.
    pub pod_cidr: Ipv4Net,
    /// Addresses of Services.
    pub service_cidr: Ipv4Net,
    /// DNS domain of Services, for example `cluster.local`.
    pub dns_domain: String,
    /// Names and addresses for the API server's certificate, beyond those that kubeadm puts in by itself.
    pub cert_sans: Vec<String>,
    /// Whether kube-controller-manager allots pod ranges to nodes. False with the `Bridge` network, where a node's
    /// range follows from its address (see [`crate::cni`]).
    pub allocate_node_cidrs: bool,
}

/// What is true of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInput {
    /// Name of the node, which is the machine's host name.
    pub name: String,
    /// Address under which the node is known to the cluster.
    pub address: IpAddr,
    /// Provider ID that the kubelet registers with.
    pub provider_id: String,
    /// Taints to register with. `None` leaves it to kubeadm, which taints control planes; an empty list is none.
    pub taints: Option<Vec<Taint>>,
}

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// The taint's key.
    pub key: String,
    /// The taint's value, which may be absent.
    pub value: Option<String>,
    /// What it does to pods that do not tolerate it.
    pub effect: TaintEffect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// They are not scheduled to the node.
    NoSchedule,
    /// They are scheduled elsewhere where that is possible.
    PreferNoSchedule,
    /// They are not scheduled to the node, and evicted from it.
    NoExecute,
}

impl TaintEffect {
    /// The effect's name, as Kubernetes spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// What `kubeadm init` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitInput {
    /// The cluster that is being made.
    pub cluster: ClusterInput,
    /// Its first control plane.
    pub node: NodeInput,
    /// The bootstrap token that init leaves in the cluster: workers may start their join with it while init still
    /// runs. Without one kubeadm would make its own, valid for a day.
    pub bootstrap_token: BootstrapToken,
    /// For how long the token is valid, in seconds from the moment init stores it.
    pub token_ttl_seconds: u32,
    /// How patient the components are.
    pub timing: TimingProfile,
    /// The user's patches. Those for `JoinConfiguration` are left out.
    pub patches: Vec<UserPatch>,
}

/// What `kubeadm join` is told on a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinInput {
    /// The machine that joins.
    pub node: NodeInput,
    /// Where the API server is reached.
    pub endpoint: Endpoint,
    /// Certificate of the cluster's authority, PEM.
    pub ca_pem: String,
    /// The token with which the machine asks for its kubelet's certificate.
    pub bootstrap_token: BootstrapToken,
    /// How patient the components are.
    pub timing: TimingProfile,
    /// The patches of the cluster. All but those for `JoinConfiguration` are left out: what the kubelets of the
    /// cluster share is read from the cluster, where init has put it.
    pub patches: Vec<UserPatch>,
    /// The patches of the machine's pool, for `JoinConfiguration` and `KubeletConfiguration`.
    pub pool_patches: Vec<UserPatch>,
}
