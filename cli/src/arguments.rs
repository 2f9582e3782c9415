//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use seedbed_seed::{DEFAULT_NAME, Mode};

/// Real Kubernetes clusters on virtual machines of this machine: one command to begin, one to end.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-seedbed",
    bin_name = "kubectl seedbed",
    version,
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    /// Which instance: each has its own seed, network, machines and folder.
    #[arg(long, env = "SEEDBED_INSTANCE", default_value = DEFAULT_NAME, global = true)]
    pub(crate) instance: String,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring the seed up, and in it the sample cluster; does only what is missing.
    Up(UpArguments),
    /// Delete the clusters, stop everything and leave nothing on this machine.
    Down(DownArguments),
    /// Open a shell in which kubectl, virsh and curl reach the seed and every cluster.
    Shell,
    /// Run one command where the shell would be.
    Run {
        /// The command: one text for a shell, or a program with its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Show what runs and how the clusters are.
    Status,
    /// Let an upgrade with `approval: Manual` pass its point of no return.
    Approve(ApproveArguments),
    /// Keep the instance's processes running (started by `up`).
    #[command(hide = true)]
    Supervise,
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Whose libvirt: `system` (the machine's own), `namespace` (one for this instance), or `none`: a simulated host and no virtual
    /// machines at all. Left out: the machine's own where one runs.
    #[arg(long, env = "SEEDBED_LIBVIRT", value_name = "MODE")]
    pub(crate) libvirt: Option<Mode>,
    /// A Kubernetes version that clusters can have (may be repeated). Left out: the one in images/versions.env.
    #[arg(
        long = "release",
        value_name = "VERSION",
        env = "SEEDBED_RELEASES",
        value_delimiter = ' '
    )]
    pub(crate) releases: Vec<String>,
    /// A Kubernetes version whose container images the other releases' guest images carry too, so that an upgrade to it has none to
    /// import (may be repeated). Left out: none.
    #[arg(
        long = "carry",
        value_name = "VERSION",
        env = "SEEDBED_CARRY",
        value_delimiter = ' '
    )]
    pub(crate) carried: Vec<String>,
    /// Make no release: clusters cannot be created, but the seed and its API are there.
    #[arg(long, conflicts_with = "releases", requires = "no_sample")]
    pub(crate) no_release: bool,
    /// Stop before the sample cluster.
    #[arg(long)]
    pub(crate) no_sample: bool,
    /// Start no operator.
    #[arg(long, requires = "no_sample")]
    pub(crate) no_operator: bool,
    /// The operator's program. Left out: it is built.
    #[arg(long, value_name = "PATH", conflicts_with = "no_operator")]
    pub(crate) operator_binary: Option<PathBuf>,
    /// How long the sample cluster may take to get ready, in minutes.
    #[arg(long, default_value_t = 45)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArguments {
    /// Name of the upgrade.
    pub(crate) name: String,
    /// Its namespace.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
}

#[derive(Debug, Args)]
pub(crate) struct DownArguments {
    /// Do not ask the operator to delete the clusters first: remove everything that is provably of this instance.
    #[arg(long)]
    pub(crate) force: bool,
    /// How long the operator may take to delete the clusters, in minutes.
    #[arg(long, default_value_t = 10)]
    pub(crate) timeout: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_to_run_keeps_its_own_flags() {
        let arguments = Arguments::parse_from(["x", "run", "kubectl", "get", "nodes", "-o", "wide"]);
        let Verb::Run { command } = arguments.verb else {
            panic!("not `run`")
        };
        assert_eq!(command, ["kubectl", "get", "nodes", "-o", "wide"]);
    }

    #[test]
    fn without_a_release_there_is_no_sample() {
        assert!(Arguments::try_parse_from(["x", "up", "--no-release"]).is_err());
        assert!(Arguments::try_parse_from(["x", "up", "--no-release", "--no-sample"]).is_ok());
    }
}
