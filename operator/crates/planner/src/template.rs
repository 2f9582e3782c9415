//! What a machine is made from, and the hash by which a change of it is seen.

use seedbed_crds::{DevClusterSpec, KubeadmPatchTarget, MachineResources, MachineRole, NodePoolSpec};
use serde::Serialize;

use crate::names;

/// Hash of everything that a control plane is made from.
pub fn control_plane_hash(cluster: &DevClusterSpec) -> String {
    hash(&Template::new(
        cluster,
        MachineRole::ControlPlane,
        &cluster.control_plane.machine,
        None,
    ))
}

/// Hash of everything that a worker of the pool is made from, with that version, and that cannot be changed while it runs. Labels are not
/// in it. A machine is of the present template where it has the hash with the version that it was made from: that one an upgrade changes
/// in place.
pub fn worker_hash(cluster: &DevClusterSpec, pool: &NodePoolSpec, version: &str) -> String {
    let mut template = Template::new(cluster, MachineRole::Worker, &pool.machine, Some(pool));
    template.version = version;
    hash(&template)
}

#[derive(Serialize)]
struct Template<'a> {
    role: MachineRole,
    version: &'a str,
    machine: &'a MachineResources,
    cni: &'a seedbed_crds::Cni,
    containerd: &'a Option<seedbed_crds::Containerd>,
    ssh: &'a Option<seedbed_crds::Ssh>,
    files: Vec<&'a seedbed_crds::NodeFile>,
    pre: Vec<&'a String>,
    post: Vec<&'a String>,
    patches: Vec<&'a seedbed_crds::KubeadmPatch>,
    taints: Option<Vec<&'a seedbed_crds::NodeTaint>>,
    /// What only a control plane is made from.
    control_plane: Option<(&'a seedbed_crds::Network, &'a Option<seedbed_crds::ApiServer>)>,
}

impl<'a> Template<'a> {
    fn new(
        cluster: &'a DevClusterSpec,
        role: MachineRole,
        machine: &'a MachineResources,
        pool: Option<&'a NodePoolSpec>,
    ) -> Self {
        let of_pool = |f: fn(&NodePoolSpec) -> &Vec<String>| pool.map(f).into_iter().flatten();
        let patches = cluster
            .kubeadm
            .iter()
            .chain(pool.and_then(|p| p.kubeadm.as_ref()))
            .flat_map(|k| &k.patches);
        Self {
            role,
            version: &cluster.version,
            machine,
            cni: &cluster.cni,
            containerd: &cluster.containerd,
            ssh: &cluster.ssh,
            files: cluster
                .files
                .iter()
                .chain(pool.into_iter().flat_map(|p| &p.files))
                .collect(),
            pre: cluster
                .pre_kubeadm_commands
                .iter()
                .chain(of_pool(|p| &p.pre_kubeadm_commands))
                .collect(),
            post: cluster
                .post_kubeadm_commands
                .iter()
                .chain(of_pool(|p| &p.post_kubeadm_commands))
                .collect(),
            patches: patches.filter(|p| concerns(p.target, role)).collect(),
            taints: match pool {
                Some(pool) => Some(pool.node_taints.iter().collect()),
                None => cluster
                    .control_plane
                    .node_taints
                    .as_ref()
                    .map(|t| t.iter().collect()),
            },
            control_plane: (role == MachineRole::ControlPlane)
                .then_some((&cluster.network, &cluster.api_server)),
        }
    }
}

/// Whether a change of that document changes how a machine of that role is made.
fn concerns(target: KubeadmPatchTarget, role: MachineRole) -> bool {
    match target {
        KubeadmPatchTarget::JoinConfiguration => role == MachineRole::Worker,
        KubeadmPatchTarget::InitConfiguration
        | KubeadmPatchTarget::ClusterConfiguration
        | KubeadmPatchTarget::KubeProxyConfiguration => role == MachineRole::ControlPlane,
        KubeadmPatchTarget::KubeletConfiguration => true,
    }
}

fn hash(template: &Template<'_>) -> String {
    // A template is plain data, so it always serialises; if it ever did not, its hash would be that of nothing and stay the same.
    let json = serde_json::to_string(template).unwrap_or_default();
    names::digest(&[&json])[..16].to_owned()
}
