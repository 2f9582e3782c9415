//! What is told of `HypervisorHost`s.

use prometheus::{GaugeVec, Opts, Registry};

/// What is measured of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFigures {
    /// Memory of the host in bytes.
    pub memory_bytes: u64,
    /// Memory that is neither reserved nor given to a machine, in bytes.
    pub memory_free_bytes: u64,
    /// Virtual machines of ours on it.
    pub machines: usize,
    /// What is ours by its metadata and has no owner any more.
    pub orphans: usize,
}

/// Memory, free memory, machines and orphans of hosts.
#[derive(Debug)]
pub(super) struct HostGauges([GaugeVec; 4]);

impl HostGauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(name, help), &["name"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self([
            gauge(
                "seedbed_hypervisorhost_memory_bytes",
                "Memory of a HypervisorHost.",
            )?,
            gauge(
                "seedbed_hypervisorhost_memory_free_bytes",
                "Memory of a HypervisorHost that is neither reserved nor given to a machine.",
            )?,
            gauge(
                "seedbed_hypervisorhost_machines",
                "Virtual machines of Seedbed on a HypervisorHost.",
            )?,
            gauge(
                "seedbed_hypervisorhost_orphans",
                "What is Seedbed's on a HypervisorHost and has no owner any more.",
            )?,
        ]))
    }

    #[allow(clippy::cast_precision_loss)] // Prometheus knows floats only.
    pub(super) fn set(&self, host: &str, figures: HostFigures) {
        let values = [
            figures.memory_bytes as f64,
            figures.memory_free_bytes as f64,
            figures.machines as f64,
            figures.orphans as f64,
        ];
        for (gauge, value) in self.0.iter().zip(values) {
            gauge.with_label_values(&[host]).set(value);
        }
    }

    pub(super) fn remove(&self, host: &str) {
        for gauge in &self.0 {
            // One that was never told of is not there to be removed.
            let _ = gauge.remove_label_values(&[host]);
        }
    }
}
