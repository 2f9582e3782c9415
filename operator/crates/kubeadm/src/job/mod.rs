//! What runs in a guest to make it a node: a script, and the files that it wants.
//!
//! The files are to be placed before the script starts, with their modes. The script may be run any number
//! of times, and however an earlier run ended: once kubeadm has succeeded it is not run again, and what an unfinished
//! attempt left is reset first. Whatever happens, the secrets in [`crate::config::SECRET_FOLDER`] are gone when the
//! script ends, so that a further run needs its files again.
//!
//! The script says where it is in lines of the form `seedbed: phase <name>`, with the names of [`Phase`]. It is plain
//! `bash` and waits for nothing that the next step does not need: cloud-init as a whole only where the user's own
//! commands may rely on it.

mod passes;
mod script;

use std::{fmt, net::IpAddr};

use crate::{
    config::{KUBEADM_CONFIG, Rendered, RenderedInit},
    containerd::{ContainerdError, ContainerdSettings},
    file::GuestFile,
    pki::{ClusterPki, PKI_FOLDER},
};

/// Where the authorities wait until an unfinished attempt, if any, has been reset: a reset empties kubeadm's folder.
const STAGED_PKI: &str = "/run/seedbed/bootstrap/pki";

const DONE_FOLDER: &str = "/var/lib/seedbed";

/// File that says that kubeadm has succeeded on this machine.
pub const DONE_MARKER: &str = "/var/lib/seedbed/kubeadm-done";

/// A step of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Until the machine has its name and address.
    Network,
    /// Until cloud-init is through. Only with commands of the user's.
    CloudInit,
    /// Until containerd runs, with the settings for it, if any.
    Containerd,
    /// The user's commands before kubeadm.
    PreCommands,
    /// What an earlier attempt left is removed. Only where there is something.
    Reset,
    /// `kubeadm init` or `kubeadm join`.
    Kubeadm,
    /// The user's commands after kubeadm.
    PostCommands,
    /// The end of a successful run.
    Done,
}

impl Phase {
    /// Every phase, in the order in which a script goes through them.
    pub const ALL: [Self; 8] = [
        Self::Network,
        Self::CloudInit,
        Self::Containerd,
        Self::PreCommands,
        Self::Reset,
        Self::Kubeadm,
        Self::PostCommands,
        Self::Done,
    ];

    /// The phase's name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::CloudInit => "cloud-init",
            Self::Containerd => "containerd",
            Self::PreCommands => "pre-kubeadm-commands",
            Self::Reset => "reset",
            Self::Kubeadm => "kubeadm",
            Self::PostCommands => "post-kubeadm-commands",
            Self::Done => "done",
        }
    }

    /// The last phase that a log names, if any.
    pub fn last_in(log: &str) -> Option<Self> {
        log.lines().rev().find_map(|line| {
            let name = line.strip_prefix(PHASE_PREFIX)?;
            Self::ALL
                .into_iter()
                .find(|phase| phase.name() == name.trim_end())
        })
    }
}

const PHASE_PREFIX: &str = "seedbed: phase ";

/// What the jobs of control planes and workers have in common.
///
/// Its `Debug` form shows neither the files' content nor the commands, which may hold secrets of the user's.
#[derive(Clone, PartialEq, Eq)]
pub struct Machine {
    /// The host name that the machine has to have before kubeadm runs.
    pub hostname: String,
    /// The address that it has to have.
    pub address: IpAddr,
    /// Files of the user's.
    pub files: Vec<GuestFile>,
    /// Files of the pod network, with [`crate::cni::UNIT`] among them; none where the user brings a network.
    pub network: Vec<GuestFile>,
    /// Settings for containerd.
    pub containerd: ContainerdSettings,
    /// The user's shell commands before kubeadm. They have to bear being run again.
    pub pre_commands: Vec<String>,
    /// The user's shell commands after kubeadm. They have to bear being run again.
    pub post_commands: Vec<String>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("hostname", &self.hostname)
            .field("address", &self.address)
            .field("files", &self.files)
            .field("network", &self.network)
            .field("containerd", &self.containerd)
            .field("pre_commands", &self.pre_commands.len())
            .field("post_commands", &self.post_commands.len())
            .finish()
    }
}

/// A job: the files to place, then the script to run.
///
/// Its `Debug` form shows no content. The script holds the user's commands: treat it as a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JobFiles {
    /// The files, placed in this order: where two have one path, the later one stays.
    pub files: Vec<GuestFile>,
    /// A bash script.
    pub script: String,
}

impl fmt::Debug for JobFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobFiles")
            .field("files", &self.files)
            .field("script", &format_args!("<{} bytes>", self.script.len()))
            .finish()
    }
}

/// The job that makes the cluster on its first control plane.
pub fn init(config: RenderedInit, pki: &ClusterPki, machine: &Machine) -> Result<JobFiles, ContainerdError> {
    let kubeadm = format!(
        "  reset\n  mkdir -p {PKI_FOLDER}\n  cp -a {STAGED_PKI}/. {PKI_FOLDER}/\n  {}\n{}",
        script::say(Phase::Kubeadm),
        passes::commands(&config)
    );
    job(config.files, pki.files(STAGED_PKI), &kubeadm, machine)
}

/// The job that makes a machine a worker of its cluster.
pub fn join(config: Rendered, machine: &Machine) -> Result<JobFiles, ContainerdError> {
    // What a join that failed has left is reset before the next one.
    let kubeadm = format!(
        "  join() {{ reset && {} && kubeadm join --config {KUBEADM_CONFIG}; }}\n  again join\n",
        script::say(Phase::Kubeadm)
    );
    job(config.files, Vec::new(), &kubeadm, machine)
}

fn job(
    config: Vec<GuestFile>,
    pki: Vec<GuestFile>,
    kubeadm: &str,
    machine: &Machine,
) -> Result<JobFiles, ContainerdError> {
    // The user's files first: they may not take the place of what the operator relies on.
    let mut files = machine.files.clone();
    files.extend(machine.containerd.files()?);
    files.extend_from_slice(&machine.network);
    files.extend(config);
    files.extend(pki);
    Ok(JobFiles {
        files,
        script: script::render(machine, kubeadm),
    })
}
