//! The libvirt backend: `qemu:///system`, `qemu+tls://…`, `qemu+ssh://…`, and `test:///…` for tests.
//!
//! One connection per host, shared by all calls, kept by a thread that opens it again when it is lost. Every call runs on a
//! thread of its own, within a limit, and so many at once. Nothing of the operator's machine is named to the host: files get
//! there by upload alone.

mod attached;
mod calls;
mod domains;
mod errors;
mod events;
mod host;
mod kept;
mod link;
mod networks;
mod session;
mod upload;
mod volumes;
mod xml;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::{
    AttachedDisk, ByteSource, DomainFacts, DomainSpec, Fault, HostEvent, HostFacts, Hypervisor, Inventory,
    NetworkFacts, NetworkSpec, Owner, Reservation, VolumeFacts, VolumeFormat, VolumeSpec,
};
use calls::CallPool;
use link::Link;
use session::Session;
use upload::Upload;

/// How many events a receiver may be behind before it has to look at everything again.
const EVENT_BUFFER: usize = 1024;
/// libvirt synchronizes with the guest agent before a command, within a limit of its own of 5 s; a little more is for the rest.
const AGENT_MARGIN: Duration = Duration::from_secs(10);

/// How long a guest may take to let go of a disk that is detached. libvirt itself waits for 5 s of them.
const LETS_GO_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take to write what a guest wrote since its disk was kept once more: it is as much as that.
const MERGED_WITHIN: Duration = Duration::from_mins(10);

/// How a host is reached and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibvirtConfig {
    /// Connection URI, such as `qemu:///system`.
    pub uri: String,
    /// Name of the storage pool that holds the volumes. It has to exist, be active and hold files (a `dir` pool).
    pub pool: String,
    /// Bounds of the calls.
    pub limits: Limits,
}

/// Bounds of the calls to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many calls run at once. Agent commands and detached disks have as many again for themselves, because a silent guest holds one
    /// for long.
    pub running: usize,
    /// How many more calls may wait, of each of the two kinds.
    pub waiting: usize,
    /// How many uploads, and layers of disks that are merged, run at once; as many as calls may wait.
    pub uploads: usize,
    /// How long a call that only looks or changes a definition may take.
    pub call: Duration,
    /// How long the start or stop of a domain or network may take.
    pub power: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            running: 8,
            waiting: 64,
            uploads: 2,
            call: Duration::from_secs(30),
            power: Duration::from_secs(90),
        }
    }
}

/// A host that is managed by libvirt.
pub struct Libvirt {
    config: LibvirtConfig,
    link: Link,
    calls: CallPool,
    agents: CallPool,
    uploads: CallPool,
    /// Names of the volumes that are being uploaded by this process.
    uploading: Arc<Mutex<HashSet<String>>>,
    events: broadcast::Sender<HostEvent>,
}

impl Libvirt {
    /// Begins to connect to the host; returns without waiting for it. Until it is reached, and whenever it is not, calls
    /// return [`Fault::Unavailable`]. Fails only where this process cannot start the threads that it needs.
    pub fn start(config: LibvirtConfig) -> Result<Self, Fault> {
        let (events, _) = broadcast::channel(EVENT_BUFFER);
        let link = Link::start(&config.uri, events.clone())?;
        let limits = config.limits;
        Ok(Self {
            link,
            calls: CallPool::new(limits.running, limits.waiting),
            agents: CallPool::new(limits.running, limits.waiting),
            uploads: CallPool::new(limits.uploads, limits.waiting),
            uploading: Arc::default(),
            events,
            config,
        })
    }

    async fn call<T: Send + 'static>(
        &self,
        pool: &CallPool,
        operation: String,
        limit: Duration,
        call: impl FnOnce(&Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let connected = self.link.connection(&operation).await?;
        let session = Session::new(connected, operation.clone(), self.config.pool.clone());
        pool.run(&operation, limit, move || call(&session)).await
    }

    async fn look<T: Send + 'static>(
        &self,
        operation: String,
        call: impl FnOnce(&Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.call(&self.calls, operation, self.config.limits.call, call)
            .await
    }

    async fn power<T: Send + 'static>(
        &self,
        operation: String,
        call: impl FnOnce(&Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.call(&self.calls, operation, self.config.limits.power, call)
            .await
    }
}

/// Marks a volume as being uploaded by this process, for as long as it lives.
struct Uploading {
    name: String,
    names: Arc<Mutex<HashSet<String>>>,
}

impl Uploading {
    fn begin(names: &Arc<Mutex<HashSet<String>>>, name: &str) -> Option<Self> {
        let inserted = names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
        inserted.then(|| Self {
            name: name.to_owned(),
            names: Arc::clone(names),
        })
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
    }
}

#[async_trait]
impl Hypervisor for Libvirt {
    async fn host(&self) -> Result<HostFacts, Fault> {
        self.look("look at the host".to_owned(), Session::host).await
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        self.look("list what is on the host".to_owned(), Session::inventory)
            .await
    }

    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        let name = name.to_owned();
        self.look(format!("look at domain {name}"), move |session| {
            session.domain(&name)
        })
        .await
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        let name = name.to_owned();
        self.look(format!("look at network {name}"), move |session| {
            session.network(&name)
        })
        .await
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        let name = name.to_owned();
        self.look(format!("look at volume {name}"), move |session| {
            session.volume(&name)
        })
        .await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        let spec = spec.clone();
        self.power(format!("create network {}", spec.name), move |session| {
            session.ensure_network(&spec)
        })
        .await
    }

    async fn reserve_address(
        &self,
        network: &str,
        owner: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault> {
        let (network, owner, reservation) = (network.to_owned(), owner.clone(), reservation.clone());
        self.look(
            format!("reserve {} in network {network}", reservation.ip),
            move |session| session.reserve_address(&network, &owner, &reservation),
        )
        .await
    }

    async fn release_address(&self, network: &str, owner: &Owner, mac: &str) -> Result<(), Fault> {
        let (network, owner, mac) = (network.to_owned(), owner.clone(), mac.to_owned());
        self.look(
            format!("release the address of {mac} in network {network}"),
            move |session| session.release_address(&network, &owner, &mac),
        )
        .await
    }

    async fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let (name, owner) = (name.to_owned(), owner.clone());
        self.power(format!("delete network {name}"), move |session| {
            session.delete_network(&name, &owner)
        })
        .await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        let spec = spec.clone();
        self.look(format!("create volume {}", spec.name), move |session| {
            session.create_volume(&spec)
        })
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
        let operation = format!("upload volume {name}");
        // A second upload of the same volume would take the first one's for what a killed one left.
        let uploading = Uploading::begin(&self.uploading, name).ok_or_else(|| Fault::Busy {
            operation: operation.clone(),
            message: "it is being written already; nothing was sent".to_owned(),
        })?;
        let (name, sha256) = (name.to_owned(), sha256.map(str::to_owned));
        let deadline = Instant::now() + limit;
        self.call(&self.uploads, operation, limit, move |session| {
            let upload = Upload {
                name: &name,
                format,
                source: source.as_ref(),
                sha256: sha256.as_deref(),
                deadline,
            };
            let result = session.upload_volume(&upload);
            drop(uploading);
            result
        })
        .await
    }

    async fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        let name = name.to_owned();
        self.look(format!("delete volume {name}"), move |session| {
            session.delete_volume(&name)
        })
        .await
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        let spec = spec.clone();
        self.look(format!("define domain {}", spec.name), move |session| {
            session.define_domain(&spec)
        })
        .await
    }

    async fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let (name, owner) = (name.to_owned(), owner.clone());
        self.power(format!("start domain {name}"), move |session| {
            session.start_domain(&name, &owner)
        })
        .await
    }

    async fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let (name, owner) = (name.to_owned(), owner.clone());
        self.power(format!("shut down domain {name}"), move |session| {
            session.shutdown_domain(&name, &owner)
        })
        .await
    }

    async fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let (name, owner) = (name.to_owned(), owner.clone());
        self.power(format!("power off domain {name}"), move |session| {
            session.destroy_domain(&name, &owner)
        })
        .await
    }

    async fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let (name, owner) = (name.to_owned(), owner.clone());
        self.look(format!("undefine domain {name}"), move |session| {
            session.undefine_domain(&name, &owner)
        })
        .await
    }

    async fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let (name, owner) = (name.to_owned(), owner.clone());
        self.look(format!("disown domain {name}"), move |session| {
            session.disown_domain(&name, &owner)
        })
        .await
    }

    async fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let (name, owner) = (name.to_owned(), owner.clone());
        self.look(format!("disown network {name}"), move |session| {
            session.disown_network(&name, &owner)
        })
        .await
    }

    async fn keep_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let (domain, owner) = (domain.to_owned(), owner.clone());
        self.power(format!("keep the disk of domain {domain}"), move |session| {
            session.keep_disk(&domain, &owner)
        })
        .await
    }

    async fn merge_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let (domain, owner) = (domain.to_owned(), owner.clone());
        let operation = format!("put what domain {domain} has written into its disk");
        self.call(&self.uploads, operation, MERGED_WITHIN, move |session| {
            session.merge_disk(&domain, &owner)
        })
        .await
    }

    async fn revert_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let (domain, owner) = (domain.to_owned(), owner.clone());
        self.look(format!("revert the disk of domain {domain}"), move |session| {
            session.revert_disk(&domain, &owner)
        })
        .await
    }

    async fn attach_disk(&self, domain: &str, owner: &Owner, disk: &AttachedDisk) -> Result<(), Fault> {
        let (domain, owner, disk) = (domain.to_owned(), owner.clone(), disk.clone());
        self.look(
            format!("attach disk {} to domain {domain}", disk.serial),
            move |session| session.attach_disk(&domain, &owner, &disk),
        )
        .await
    }

    async fn detach_disk(&self, domain: &str, owner: &Owner, serial: &str) -> Result<(), Fault> {
        let (domain, owner, serial) = (domain.to_owned(), owner.clone(), serial.to_owned());
        let operation = format!("detach disk {serial} from domain {domain}");
        let limit = LETS_GO_WITHIN + self.config.limits.call;
        // Like an agent's command, it holds its slot for as long as a guest is silent.
        self.call(&self.agents, operation, limit, move |session| {
            session.detach_disk(&domain, &owner, &serial, LETS_GO_WITHIN)
        })
        .await
    }

    async fn agent(
        &self,
        domain: &str,
        owner: &Owner,
        command: &str,
        timeout: Duration,
    ) -> Result<String, Fault> {
        let (domain, owner, command) = (domain.to_owned(), owner.clone(), command.to_owned());
        let operation = format!("ask the guest agent of {domain}");
        self.call(&self.agents, operation, timeout + AGENT_MARGIN, move |session| {
            session.agent(&domain, &owner, &command, timeout)
        })
        .await
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.events.subscribe()
    }
}

impl std::fmt::Debug for Libvirt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Libvirt")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
