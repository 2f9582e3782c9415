//! Counts and times the calls to a host.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seedbed_hypervisor::{
    ByteSource, DomainFacts, DomainSpec, Fault, HostEvent, HostFacts, Hypervisor, Inventory, NetworkFacts,
    NetworkSpec, Owner, Reservation, VolumeFacts, VolumeFormat, VolumeSpec,
};
use tokio::sync::broadcast;

use crate::context::Clock;
use crate::metrics::Metrics;

/// A host whose calls are counted and timed; otherwise the host itself.
pub struct Measured {
    inner: Arc<dyn Hypervisor>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl Measured {
    /// Measures the calls to that host.
    pub fn new(inner: Arc<dyn Hypervisor>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            metrics,
            clock,
        }
    }

    async fn measure<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<T, Fault> {
        let begun = self.clock.elapsed();
        let result = call.await;
        let outcome = result.as_ref().map_or_else(outcome, |_| "ok");
        self.metrics
            .host_call(operation, outcome, self.clock.elapsed().saturating_sub(begun));
        result
    }
}

/// A fault as a label: one of a few fixed words.
fn outcome(fault: &Fault) -> &'static str {
    match fault {
        Fault::Unavailable { .. } => "unavailable",
        Fault::TimedOut { .. } => "timed_out",
        Fault::Busy { .. } => "busy",
        Fault::NotFound { .. } => "not_found",
        Fault::Conflict { .. } => "conflict",
        Fault::Unsupported { .. } => "unsupported",
        Fault::AgentSilent { .. } => "agent_silent",
        Fault::Refused { .. } => "refused",
        Fault::Source { .. } => "source",
    }
}

#[async_trait]
impl Hypervisor for Measured {
    async fn host(&self) -> Result<HostFacts, Fault> {
        self.measure("host", self.inner.host()).await
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        self.measure("inventory", self.inner.inventory()).await
    }

    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        self.measure("domain", self.inner.domain(name)).await
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        self.measure("network", self.inner.network(name)).await
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        self.measure("volume", self.inner.volume(name)).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        self.measure("ensure_network", self.inner.ensure_network(spec))
            .await
    }

    async fn reserve_address(
        &self,
        network: &str,
        owner: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault> {
        self.measure(
            "reserve_address",
            self.inner.reserve_address(network, owner, reservation),
        )
        .await
    }

    async fn release_address(&self, network: &str, owner: &Owner, mac: &str) -> Result<(), Fault> {
        self.measure("release_address", self.inner.release_address(network, owner, mac))
            .await
    }

    async fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.measure("delete_network", self.inner.delete_network(name, owner))
            .await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        self.measure("create_volume", self.inner.create_volume(spec))
            .await
    }

    async fn upload_volume(
        &self,
        name: &str,
        format: VolumeFormat,
        source: Arc<dyn ByteSource>,
        sha256: Option<&str>,
        limit: Duration,
    ) -> Result<(), Fault> {
        self.measure(
            "upload_volume",
            self.inner.upload_volume(name, format, source, sha256, limit),
        )
        .await
    }

    async fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        self.measure("delete_volume", self.inner.delete_volume(name))
            .await
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        self.measure("define_domain", self.inner.define_domain(spec))
            .await
    }

    async fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.measure("start_domain", self.inner.start_domain(name, owner))
            .await
    }

    async fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.measure("shutdown_domain", self.inner.shutdown_domain(name, owner))
            .await
    }

    async fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.measure("destroy_domain", self.inner.destroy_domain(name, owner))
            .await
    }

    async fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.measure("undefine_domain", self.inner.undefine_domain(name, owner))
            .await
    }

    async fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.measure("disown_domain", self.inner.disown_domain(name, owner))
            .await
    }

    async fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.measure("disown_network", self.inner.disown_network(name, owner))
            .await
    }

    async fn agent(
        &self,
        domain: &str,
        owner: &Owner,
        command: &str,
        timeout: Duration,
    ) -> Result<String, Fault> {
        self.measure("agent", self.inner.agent(domain, owner, command, timeout))
            .await
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.inner.events()
    }
}
