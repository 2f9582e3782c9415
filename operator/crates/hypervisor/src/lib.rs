//! What Seedbed needs of a machine that runs virtual machines, and the backends that give it.
//!
//! [`Hypervisor`] is the contract. Every call is idempotent and keyed by name and [`Owner`]: a call that is made twice has the
//! effect of one, and a call that meets somebody else's object of the same name returns [`Fault::Conflict`] and changes nothing.
//! A look that fails returns a [`Fault`]; only the host's own word that a thing is not there becomes `None`.

mod around;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(feature = "libvirt", feature = "simulated"))]
mod digest;
mod fault;
#[cfg(feature = "libvirt")]
pub mod libvirt;
mod model;
#[cfg(feature = "simulated")]
pub mod simulated;
#[cfg(feature = "simulator")]
pub mod simulator;
mod unavailable;

pub use around::{Around, Call, Wrapped};
pub use fault::{CALLS_WAIT, Fault};
pub use model::{
    AttachedDisk, Boot, ByteSource, DiskSpec, DomainFacts, DomainSpec, DomainType, EventKind, HostEvent,
    HostFacts, Inventory, NetworkFacts, NetworkSpec, NicSpec, Owner, PowerState, Reservation, VolumeFacts,
    VolumeFormat, VolumeSpec,
};
pub use unavailable::Unavailable;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

/// A machine that runs virtual machines.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// What the host is and what it has to give.
    async fn host(&self) -> Result<HostFacts, Fault>;

    /// Every domain and network of the host and every volume of its pool, ours or not.
    async fn inventory(&self) -> Result<Inventory, Fault>;

    /// The domain of that name; `None` only where the host answered that there is none.
    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault>;

    /// The network of that name; `None` only where the host answered that there is none.
    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault>;

    /// The volume of that name in the host's pool; `None` only where the host answered that there is none.
    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault>;

    /// Defines, marks for autostart and starts the network. Finished parts are left as they are.
    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault>;

    /// Adds the reservation to the network, now and for its next start. One that is there already is left alone.
    async fn reserve_address(
        &self,
        network: &str,
        owner: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault>;

    /// Takes the reservation of that MAC address out of the network. One that is not there is no error.
    async fn release_address(&self, network: &str, owner: &Owner, mac: &str) -> Result<(), Fault>;

    /// Stops and undefines the network if the cluster UID in its metadata is the owner's. Gone already is no error.
    async fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault>;

    /// Creates an empty volume, or one on top of another. One of the same name and size that is there already is left alone.
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault>;

    /// Fills a volume of that name with the source's bytes and marks it as complete once the digest, if one is given
    /// (SHA-256, lower-case hex), matches. A complete volume is left alone; an incomplete one is made anew.
    /// `limit` bounds the whole transfer.
    async fn upload_volume(
        &self,
        name: &str,
        format: VolumeFormat,
        source: Arc<dyn ByteSource>,
        sha256: Option<&str>,
        limit: Duration,
    ) -> Result<(), Fault>;

    /// Deletes the volume (and its mark of completeness). Gone already is no error. The caller knows by the name that it is ours:
    /// names of machine volumes hold the machine's UID, names of shared base volumes hold their digest.
    async fn delete_volume(&self, name: &str) -> Result<(), Fault>;

    /// Defines the domain with its owner in the metadata. One of the same owner and `spec_hash` is left alone, and one whose disk is kept
    /// is refused to be defined anew: a definition names the disk itself, and would lose what the layer above it holds.
    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault>;

    /// Starts the domain. Running already is no error. One that crashed and that the host keeps as it was is switched off first: here
    /// and not by its own call, which could meet a guest that somebody else has started again meanwhile.
    async fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault>;

    /// Asks the guest to power off (ACPI). Off already is no error.
    async fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault>;

    /// Cuts the domain's power. Off already is no error.
    async fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault>;

    /// Removes the definition of a domain that is off, and the layer above a disk that is kept. Gone already is no error.
    async fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault>;

    /// Removes our metadata from the domain, which goes on as it is: from then on it is nobody's. Gone already is no error.
    async fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault>;

    /// Removes our metadata from the network, which goes on as it is: from then on it is nobody's. Gone already is no error.
    async fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault>;

    /// Keeps what the domain's first disk holds now: from here on what its guest writes goes into a layer above that. One that is kept
    /// already is left as it is. [`Fault::Unsupported`] where the host has no such layers, which [`DomainFacts::kept`] says before.
    async fn keep_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault>;

    /// Puts what was written since the domain's disk was kept into the disk, and ends the layer; the guest may run meanwhile. One that is
    /// not kept is no error.
    async fn merge_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault>;

    /// Gives up what was written since the domain's disk was kept, and ends the layer; the domain has to be off. One that is not kept
    /// is no error.
    async fn revert_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault>;

    /// Attaches a disk, for reading only, to the domain while it is on: the guest sees it as `/dev/disk/by-id/virtio-<serial>` soon after,
    /// and loses it when it is switched off. Many domains may have one volume at once. One of that serial that is attached already
    /// is no error if it is that volume. A domain that is off takes none: [`Fault::Refused`].
    async fn attach_disk(&self, domain: &str, owner: &Owner, disk: &AttachedDisk) -> Result<(), Fault>;

    /// Takes the attached disk of that serial from the domain and returns once it is gone. The guest is not asked whether it
    /// still uses it: unmount it first. One that is not there (as in a domain that is off, or gone) is no error. A guest that does not let
    /// go of it within some seconds is [`Fault::TimedOut`], and it can be tried again.
    async fn detach_disk(&self, domain: &str, owner: &Owner, serial: &str) -> Result<(), Fault>;

    /// Sends one guest agent command (JSON) and returns its answer (JSON). `timeout` bounds the wait for the guest. An error
    /// that the agent itself reports is [`Fault::Refused`] with its words; an agent that is not there, or not yet, is
    /// [`Fault::AgentSilent`], and then the command was not executed.
    async fn agent(
        &self,
        domain: &str,
        owner: &Owner,
        command: &str,
        timeout: Duration,
    ) -> Result<String, Fault>;

    /// What happens on the host from now on. A receiver that lags looks again at everything it cares for.
    fn events(&self) -> broadcast::Receiver<HostEvent>;
}
