//! A host that takes transfers when a test lets it, and that nothing else can be asked of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seedbed_hypervisor::{
    AttachedDisk, ByteSource, DomainFacts, DomainSpec, Fault, HostEvent, HostFacts, Hypervisor, Inventory,
    NetworkFacts, NetworkSpec, Owner, Reservation, Unavailable, VolumeFacts, VolumeFormat, VolumeSpec,
};
use tokio::sync::{Mutex, broadcast, mpsc};

/// Transfers wait until the test sends how they end.
pub struct TransferHost {
    rest: Unavailable,
    events: broadcast::Sender<HostEvent>,
    begun: AtomicUsize,
    outcomes: Mutex<mpsc::UnboundedReceiver<Result<(), Fault>>>,
}

impl TransferHost {
    pub fn new() -> (Arc<Self>, mpsc::UnboundedSender<Result<(), Fault>>) {
        let (sender, outcomes) = mpsc::unbounded_channel();
        let host = Self {
            rest: Unavailable::new("a host for transfers"),
            events: broadcast::channel(2).0,
            begun: AtomicUsize::new(0),
            outcomes: Mutex::new(outcomes),
        };
        (Arc::new(host), sender)
    }

    /// How many transfers were begun.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Lets something happen on the host.
    pub fn happens(&self, event: HostEvent) {
        self.events.send(event).unwrap();
    }
}

#[async_trait]
impl Hypervisor for TransferHost {
    async fn upload_volume(
        &self,
        _: &str,
        _: VolumeFormat,
        _: Arc<dyn ByteSource>,
        _: Option<&str>,
        _: Duration,
    ) -> Result<(), Fault> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.outcomes.lock().await.recv().await.unwrap()
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.events.subscribe()
    }

    async fn host(&self) -> Result<HostFacts, Fault> {
        self.rest.host().await
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        self.rest.inventory().await
    }

    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        self.rest.domain(name).await
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        self.rest.network(name).await
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        self.rest.volume(name).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        self.rest.ensure_network(spec).await
    }

    async fn reserve_address(
        &self,
        network: &str,
        owner: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault> {
        self.rest.reserve_address(network, owner, reservation).await
    }

    async fn release_address(&self, network: &str, owner: &Owner, mac: &str) -> Result<(), Fault> {
        self.rest.release_address(network, owner, mac).await
    }

    async fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.delete_network(name, owner).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        self.rest.create_volume(spec).await
    }

    async fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        self.rest.delete_volume(name).await
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        self.rest.define_domain(spec).await
    }

    async fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.start_domain(name, owner).await
    }

    async fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.shutdown_domain(name, owner).await
    }

    async fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.destroy_domain(name, owner).await
    }

    async fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.undefine_domain(name, owner).await
    }

    async fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.disown_domain(name, owner).await
    }

    async fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.disown_network(name, owner).await
    }

    async fn keep_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.keep_disk(domain, owner).await
    }

    async fn merge_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.merge_disk(domain, owner).await
    }

    async fn revert_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        self.rest.revert_disk(domain, owner).await
    }

    async fn attach_disk(&self, domain: &str, owner: &Owner, disk: &AttachedDisk) -> Result<(), Fault> {
        self.rest.attach_disk(domain, owner, disk).await
    }

    async fn detach_disk(&self, domain: &str, owner: &Owner, serial: &str) -> Result<(), Fault> {
        self.rest.detach_disk(domain, owner, serial).await
    }

    async fn agent(
        &self,
        domain: &str,
        owner: &Owner,
        command: &str,
        timeout: Duration,
    ) -> Result<String, Fault> {
        self.rest.agent(domain, owner, command, timeout).await
    }
}
