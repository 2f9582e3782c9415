//! What one machine gets: its cloud-init volume and its kubeadm job.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use seedbed_crds::{DevCluster, NodeFile, NodePool, NodeTaint, TaintEffect};
use seedbed_kubeadm::GuestFile;
use seedbed_kubeadm::cloudinit::{CloudInit, cidata};
use seedbed_kubeadm::cni::CniError;
use seedbed_kubeadm::config::{self, ConfigError, InitInput, JoinInput, NodeInput, Taint};
use seedbed_kubeadm::containerd::{ContainerdError, ContainerdSettings, RegistryMirror, TrustedCa};
use seedbed_kubeadm::job::{self, JobFiles, Machine};
use seedbed_kubeadm::pki::ClusterPki;
use seedbed_kubeadm::token::BootstrapToken;
use seedbed_planner::allocation::MachineAllocation;
use seedbed_planner::names;

use super::cluster::{ClusterPlan, pool_patches};

/// How long a join token is valid, in seconds. It is removed as soon as the machine has joined; the time is for a machine that
/// never does, on a slow host.
pub const TOKEN_TTL_SECONDS: u32 = 1800;

/// Contents that files of the spec take from Secrets, by Secret and key.
pub type FileContents = BTreeMap<(String, String), Vec<u8>>;

/// Everything about one machine that its documents are made from.
#[derive(Debug)]
pub struct MachinePlan<'a> {
    /// The cluster's plan.
    pub cluster: &'a ClusterPlan,
    /// The cluster's object.
    pub object: &'a DevCluster,
    /// The machine's pool; none for a control plane.
    pub pool: Option<&'a NodePool>,
    /// The machine's name.
    pub name: &'a str,
    /// Name of the host it runs on.
    pub host: &'a str,
    /// What was allotted to it.
    pub allocation: &'a MachineAllocation,
    /// Range of the machines' addresses.
    pub node_cidr: Ipv4Net,
}

/// Documents that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// kubeadm's documents.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The pod network.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// The container runtime's settings.
    #[error(transparent)]
    Containerd(#[from] ContainerdError),
    /// The cloud-init documents.
    #[error(transparent)]
    CloudInit(#[from] seedbed_kubeadm::cloudinit::RenderError),
    /// The cloud-init volume.
    #[error(transparent)]
    Cidata(#[from] cidata::CidataError),
    /// A file's permissions cannot be read.
    #[error("file {path}: found permissions {found:?}, expected an octal number such as 0644")]
    Permissions {
        /// The file.
        path: String,
        /// What was found.
        found: String,
    },
    /// A file's content was not given.
    #[error("file {path}: the content of key {key} of Secret {secret} is not there")]
    Content {
        /// The file.
        path: String,
        /// The Secret.
        secret: String,
        /// The key.
        key: String,
    },
}

impl MachinePlan<'_> {
    /// The volume that cloud-init reads. There is no secret in it.
    pub fn cidata(&self) -> Result<Vec<u8>, RenderError> {
        let cloud_init = CloudInit {
            instance_id: self.allocation.uid.clone(),
            hostname: self.name.to_owned(),
            fqdn: format!("{}.{}", self.name, self.cluster.dns_zone()),
            ssh_authorized_keys: self
                .object
                .spec
                .ssh
                .iter()
                .flat_map(|s| s.authorized_keys.clone())
                .collect(),
        };
        Ok(cidata::image(&cloud_init.files()?)?)
    }

    /// The job that makes the cluster on this machine.
    pub fn init(
        &self,
        pki: &ClusterPki,
        token: BootstrapToken,
        contents: &FileContents,
    ) -> Result<JobFiles, RenderError> {
        let taints = self.object.spec.control_plane.node_taints.as_deref();
        let rendered = config::render_init(&InitInput {
            cluster: self.cluster.input(self.allocation.ip),
            node: self.node(taints),
            bootstrap_token: token,
            token_ttl_seconds: TOKEN_TTL_SECONDS,
            timing: self.cluster.timing,
            patches: self.cluster.patches(),
        })?;
        Ok(job::init(rendered, pki, &self.machine(contents)?)?)
    }

    /// The job that makes this machine a worker of the cluster whose API server has that address.
    pub fn join(
        &self,
        api_server: Ipv4Addr,
        ca_pem: &str,
        token: BootstrapToken,
        contents: &FileContents,
    ) -> Result<JobFiles, RenderError> {
        let rendered = config::render_join(&JoinInput {
            node: self.node(Some(self.pool.map_or(&[], |p| &p.spec.node_taints))),
            endpoint: ClusterPlan::endpoint(api_server),
            ca_pem: ca_pem.to_owned(),
            bootstrap_token: token,
            timing: self.cluster.timing,
            patches: self.cluster.patches(),
            pool_patches: self.pool.map(pool_patches).unwrap_or_default(),
        })?;
        Ok(job::join(rendered, &self.machine(contents)?)?)
    }

    /// Secrets and keys that files of the machine take their content from.
    pub fn wanted_contents(&self) -> Vec<(String, String)> {
        self.files()
            .filter_map(|f| f.content_from.as_ref())
            .map(|r| (r.name.clone(), r.key.clone()))
            .collect()
    }

    fn files(&self) -> impl Iterator<Item = &NodeFile> {
        self.object
            .spec
            .files
            .iter()
            .chain(self.pool.into_iter().flat_map(|p| &p.spec.files))
    }

    fn node(&self, taints: Option<&[NodeTaint]>) -> NodeInput {
        NodeInput {
            name: self.name.to_owned(),
            address: self.allocation.ip.into(),
            provider_id: names::provider_id(self.host, &self.allocation.domain_uuid),
            taints: taints.map(|taints| taints.iter().map(taint).collect()),
        }
    }

    fn machine(&self, contents: &FileContents) -> Result<Machine, RenderError> {
        let spec = &self.object.spec;
        let commands = |of_cluster: &[String], of_pool: fn(&NodePool) -> &Vec<String>| {
            of_cluster
                .iter()
                .chain(self.pool.map(of_pool).into_iter().flatten())
                .cloned()
                .collect()
        };
        let network = match self.cluster.bridge(self.node_cidr)? {
            Some(bridge) => bridge.files(self.allocation.ip)?,
            None => Vec::new(),
        };
        Ok(Machine {
            hostname: self.name.to_owned(),
            address: self.allocation.ip.into(),
            files: self
                .files()
                .map(|f| file(f, contents))
                .collect::<Result<_, _>>()?,
            network,
            containerd: containerd(self.object),
            pre_commands: commands(&spec.pre_kubeadm_commands, |p| &p.spec.pre_kubeadm_commands),
            post_commands: commands(&spec.post_kubeadm_commands, |p| &p.spec.post_kubeadm_commands),
        })
    }
}

fn file(file: &NodeFile, contents: &FileContents) -> Result<GuestFile, RenderError> {
    let mode = u32::from_str_radix(&file.permissions, 8).map_err(|_| RenderError::Permissions {
        path: file.path.clone(),
        found: file.permissions.clone(),
    })?;
    let content = match &file.content_from {
        None => file.content.clone().unwrap_or_default().into_bytes(),
        Some(from) => contents
            .get(&(from.name.clone(), from.key.clone()))
            .cloned()
            .ok_or_else(|| RenderError::Content {
                path: file.path.clone(),
                secret: from.name.clone(),
                key: from.key.clone(),
            })?,
    };
    Ok(GuestFile::new(&file.path, mode, content))
}

fn taint(taint: &NodeTaint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: match taint.effect {
            TaintEffect::NoSchedule => config::TaintEffect::NoSchedule,
            TaintEffect::PreferNoSchedule => config::TaintEffect::PreferNoSchedule,
            TaintEffect::NoExecute => config::TaintEffect::NoExecute,
        },
    }
}

fn containerd(cluster: &DevCluster) -> ContainerdSettings {
    let settings = cluster.spec.containerd.clone().unwrap_or_default();
    ContainerdSettings {
        mirrors: settings
            .registry_mirrors
            .into_iter()
            .map(|m| RegistryMirror {
                registry: m.registry,
                endpoints: m.endpoints,
            })
            .collect(),
        trusted_cas: settings
            .trusted_cas
            .into_iter()
            .map(|c| TrustedCa {
                name: c.name,
                pem: c.pem,
            })
            .collect(),
    }
}
