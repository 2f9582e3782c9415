//! The operator's flags.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

use crate::context::Settings;
use crate::lease::LeaseName;
use crate::telemetry::LogFormat;

/// Makes Kubernetes clusters of virtual machines out of `DevCluster` objects.
#[derive(Debug, Clone, Parser)]
#[command(name = "seedbed-operator", version)]
pub struct Args {
    /// Kubeconfig of the API that the clusters' objects are in. Left out: `KUBECONFIG`, ~/.kube/config, or the cluster it runs in.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Address that /metrics, /livez and /readyz are answered on.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))]
    pub metrics_address: SocketAddr,
    /// How logs are written. What is logged is said by `RUST_LOG`.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Namespace of the Lease by which one of several instances is elected.
    #[arg(long, value_name = "NAMESPACE", default_value = "seedbed-system")]
    pub lease_namespace: String,
    /// Name of that Lease.
    #[arg(long, value_name = "NAME", default_value = "seedbed-operator")]
    pub lease_name: String,
    /// Who this instance is, unique among all instances. Left out: the machine's name and the process' number.
    #[arg(long, value_name = "NAME", default_value_t = identity())]
    pub identity: String,
    /// How many objects of each kind are worked on at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = Settings::default().concurrency, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

impl Args {
    pub(super) fn lease(&self) -> LeaseName {
        LeaseName {
            namespace: self.lease_namespace.clone(),
            name: self.lease_name.clone(),
            identity: self.identity.clone(),
        }
    }
}

fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "localhost" } else { host };
    format!("{host}-{}", std::process::id())
}
