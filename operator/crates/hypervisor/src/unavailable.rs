//! The host that cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::{
    AttachedDisk, ByteSource, DomainFacts, DomainSpec, Fault, HostEvent, HostFacts, Hypervisor, Inventory,
    NetworkFacts, NetworkSpec, Owner, Reservation, VolumeFacts, VolumeFormat, VolumeSpec,
};

/// Stands where no backend can be made for a host, and says why to every call. It never says that something is not there.
#[derive(Debug)]
pub struct Unavailable {
    message: String,
    events: broadcast::Sender<HostEvent>,
}

impl Unavailable {
    /// A host that cannot be reached for the reason that `message` gives: what was found and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            events: broadcast::channel(1).0,
        }
    }

    fn fault<T>(&self, operation: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::Unavailable {
            operation: operation.into(),
            message: self.message.clone(),
        })
    }
}

#[async_trait]
impl Hypervisor for Unavailable {
    async fn host(&self) -> Result<HostFacts, Fault> {
        self.fault("look at the host")
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        self.fault("list what is on the host")
    }

    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        self.fault(format!("look at domain {name}"))
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        self.fault(format!("look at network {name}"))
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        self.fault(format!("look at volume {name}"))
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        self.fault(format!("create network {}", spec.name))
    }

    async fn reserve_address(
        &self,
        network: &str,
        _: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault> {
        self.fault(format!("reserve {} in network {network}", reservation.ip))
    }

    async fn release_address(&self, network: &str, _: &Owner, mac: &str) -> Result<(), Fault> {
        self.fault(format!("release the address of {mac} in network {network}"))
    }

    async fn delete_network(&self, name: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("delete network {name}"))
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        self.fault(format!("create volume {}", spec.name))
    }

    async fn upload_volume(
        &self,
        name: &str,
        _: VolumeFormat,
        _: Arc<dyn ByteSource>,
        _: Option<&str>,
        _: Duration,
    ) -> Result<(), Fault> {
        self.fault(format!("upload volume {name}"))
    }

    async fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        self.fault(format!("delete volume {name}"))
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        self.fault(format!("define domain {}", spec.name))
    }

    async fn start_domain(&self, name: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("start domain {name}"))
    }

    async fn shutdown_domain(&self, name: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("shut down domain {name}"))
    }

    async fn destroy_domain(&self, name: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("power off domain {name}"))
    }

    async fn undefine_domain(&self, name: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("undefine domain {name}"))
    }

    async fn disown_domain(&self, name: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("disown domain {name}"))
    }

    async fn disown_network(&self, name: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("disown network {name}"))
    }

    async fn keep_disk(&self, domain: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("keep the disk of domain {domain}"))
    }

    async fn merge_disk(&self, domain: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("put what domain {domain} has written into its disk"))
    }

    async fn revert_disk(&self, domain: &str, _: &Owner) -> Result<(), Fault> {
        self.fault(format!("revert the disk of domain {domain}"))
    }

    async fn attach_disk(&self, domain: &str, _: &Owner, disk: &AttachedDisk) -> Result<(), Fault> {
        self.fault(format!("attach disk {} to domain {domain}", disk.serial))
    }

    async fn detach_disk(&self, domain: &str, _: &Owner, serial: &str) -> Result<(), Fault> {
        self.fault(format!("detach disk {serial} from domain {domain}"))
    }

    async fn agent(&self, domain: &str, _: &Owner, _: &str, _: Duration) -> Result<String, Fault> {
        self.fault(format!("ask the guest agent of {domain}"))
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.events.subscribe()
    }
}
