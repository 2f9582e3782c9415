//! kubeadm's own configuration documents (`kubeadm.k8s.io/v1beta4`), with the user's patches applied.
//!
//! | file | secret | holds |
//! |---|---|---|
//! | [`KUBEADM_CONFIG`] | yes | the documents for init or join |
//! | [`DISCOVERY_KUBECONFIG`] | yes | for a join: where the API server is, whom to trust, the bootstrap token |
//! | [`KUBEADM_PATCHES`] | no | patches that kubeadm itself applies: probes of its pods, what a pool changes of its kubelets; kept, since upgrades want them again |
//!
//! A token is never part of a command line: joins use discovery by file. That also spares the wait for the
//! `cluster-info` `ConfigMap` to be signed, which token discovery has.

mod documents;
mod init;
mod input;
mod join;
mod pods;

pub use documents::Document;
pub use init::render_init;
pub use input::{ClusterInput, Endpoint, InitInput, JoinInput, NodeInput, Taint, TaintEffect};
pub use join::render_join;
pub(crate) use join::timeouts;

use crate::{
    document::RenderError,
    file::GuestFile,
    patch::{PatchError, UserPatch},
    timing::TimingProfile,
};

/// Folder for all that is secret and only needed while the job runs. `/run` is not on the disk; the job's script
/// removes the folder however it ends.
pub const SECRET_FOLDER: &str = "/run/seedbed/bootstrap";
/// The documents that `kubeadm --config` reads.
pub const KUBEADM_CONFIG: &str = "/run/seedbed/bootstrap/kubeadm.yaml";
/// The kubeconfig with which a joining machine finds the cluster and shows its token.
pub const DISCOVERY_KUBECONFIG: &str = "/run/seedbed/bootstrap/discovery.conf";
/// Folder of the patches that kubeadm applies to what it writes: static pods, the kubelet's configuration.
pub const KUBEADM_PATCHES: &str = "/etc/seedbed/kubeadm-patches";
/// Where the kubelet and kubeadm reach containerd.
pub const CRI_SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// Documents that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A patch of the cluster's cannot be applied, or its result is not acceptable.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The same of a pool's.
    #[error("of the pool: {0}")]
    PoolPatch(#[source] PatchError),
    /// The documents could not be written.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// What `kubeadm init` wants, and what has to be known to run it. Its `Debug` form shows no file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedInit {
    /// The files, in no particular order.
    pub files: Vec<GuestFile>,
    /// The phases that its document skips. A list on kubeadm's command line takes the place of that one.
    pub skipped_phases: Vec<String>,
    /// Where the API server will answer.
    pub endpoint: Endpoint,
}

/// The files that kubeadm wants to join a machine. Its `Debug` form shows no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The files, in no particular order.
    pub files: Vec<GuestFile>,
}

/// Checks a cluster's patches before any machine exists, by applying them to the documents that its first control
/// plane and a worker would get.
///
/// Addresses and tokens do not matter to the result, since patches may not touch them.
pub fn check_patches(
    cluster: &ClusterInput,
    timing: TimingProfile,
    patches: &[UserPatch],
) -> Result<(), ConfigError> {
    let node = stand_in();
    init::documents(cluster, &node, None, timing, patches)?;
    join::join_configuration(&node, timing, patches, &[])?;
    Ok(())
}

/// Checks a pool's patches in the same way, on top of its cluster's.
pub fn check_pool_patches(
    timing: TimingProfile,
    cluster_patches: &[UserPatch],
    pool_patches: &[UserPatch],
) -> Result<(), ConfigError> {
    join::join_configuration(&stand_in(), timing, cluster_patches, pool_patches)?;
    join::kubelet_changes(timing, cluster_patches, pool_patches)?;
    Ok(())
}

fn stand_in() -> NodeInput {
    NodeInput {
        name: "machine".into(),
        address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        provider_id: "seedbed://host/machine".into(),
        taints: None,
    }
}
