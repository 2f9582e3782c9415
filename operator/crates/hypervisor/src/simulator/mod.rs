//! A simulated host of another process: seedbed-simulator, reached through a Unix socket.
//!
//! Like libvirt's hosts, those of the simulator outlive who uses them. What is over the socket is said in [`wire`].

mod connection;
mod health;
pub mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use crate::simulated::read_volume;
use crate::{
    AttachedDisk, ByteSource, DomainFacts, DomainSpec, Fault, HostEvent, HostFacts, Hypervisor, Inventory,
    NetworkFacts, NetworkSpec, Owner, Reservation, VolumeFacts, VolumeFormat, VolumeSpec,
};
use connection::Connections;
use health::Health;
use wire::{Call, Settings};

/// How many events a receiver may be behind before it has to look again at everything.
const EVENTS: usize = 1024;

/// Which simulated host, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatorConfig {
    /// The socket that seedbed-simulator listens on.
    pub socket: PathBuf,
    /// The host's name.
    pub host: String,
    /// What it is like from now on.
    pub settings: Settings,
}

/// A simulated host of another process.
///
/// A call has its answer within five seconds, since nothing there takes long. Once one had none, the host is taken as one that hangs:
/// calls fail at once until it answers again, which is asked in the background, so that who has other hosts is not held up by
/// this one.
#[derive(Debug)]
pub struct Simulator {
    connections: Arc<Connections>,
    health: Arc<Health>,
    events: broadcast::Sender<HostEvent>,
    tasks: [AbortHandle; 2],
}

impl Drop for Simulator {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Simulator {
    /// A host that is reached when it is asked for something. Within a tokio runtime.
    pub fn start(config: SimulatorConfig) -> Self {
        let events = broadcast::channel(EVENTS).0;
        let connections = Arc::new(Connections::new(config));
        let health = Arc::new(Health::default());
        let following = tokio::spawn(health::follow_events(connections.clone(), events.clone()));
        let asking = tokio::spawn(health::ask_until_it_answers(
            connections.clone(),
            health.clone(),
            events.clone(),
        ));
        Self {
            connections,
            health,
            events,
            tasks: [following.abort_handle(), asking.abort_handle()],
        }
    }

    async fn call<T: DeserializeOwned>(&self, operation: String, call: &Call) -> Result<T, Fault> {
        if let Some(limit) = self.health.is_silent() {
            return Err(Fault::Unavailable {
                operation,
                message: format!(
                    "it gave no answer within {} s and is asked again in the background",
                    limit.as_secs()
                ),
            });
        }
        match tokio::time::timeout(health::LIMIT, self.connections.exchange(call)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Err(Fault::Unavailable {
                operation,
                message: error.to_string(),
            }),
            Err(_) => {
                self.health.no_answer();
                Err(Fault::TimedOut {
                    operation,
                    limit: health::LIMIT,
                })
            }
        }
    }
}

#[async_trait]
impl Hypervisor for Simulator {
    async fn host(&self) -> Result<HostFacts, Fault> {
        self.call("look at the host".to_owned(), &Call::Host).await
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        self.call("list what is on the host".to_owned(), &Call::Inventory)
            .await
    }

    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        let call = Call::Domain {
            name: name.to_owned(),
        };
        self.call(format!("look at domain {name}"), &call).await
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        let call = Call::Network {
            name: name.to_owned(),
        };
        self.call(format!("look at network {name}"), &call).await
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        let call = Call::Volume {
            name: name.to_owned(),
        };
        self.call(format!("look at volume {name}"), &call).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        let call = Call::EnsureNetwork { spec: spec.clone() };
        self.call(format!("create network {}", spec.name), &call).await
    }

    async fn reserve_address(
        &self,
        network: &str,
        owner: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault> {
        let call = Call::ReserveAddress {
            network: network.to_owned(),
            owner: owner.clone(),
            reservation: reservation.clone(),
        };
        self.call(format!("reserve {} in network {network}", reservation.ip), &call)
            .await
    }

    async fn release_address(&self, network: &str, owner: &Owner, mac: &str) -> Result<(), Fault> {
        let call = Call::ReleaseAddress {
            network: network.to_owned(),
            owner: owner.clone(),
            mac: mac.to_owned(),
        };
        self.call(
            format!("release the address of {mac} in network {network}"),
            &call,
        )
        .await
    }

    async fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::DeleteNetwork {
            name: name.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("delete network {name}"), &call).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        let call = Call::CreateVolume { spec: spec.clone() };
        self.call(format!("create volume {}", spec.name), &call).await
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
        if self.volume(name).await?.is_some_and(|volume| volume.complete) {
            return Ok(());
        }
        let (what, wanted) = (name.to_owned(), sha256.map(str::to_owned));
        let reading = tokio::task::spawn_blocking(move || {
            read_volume(&what, format, source.as_ref(), wanted.as_deref())
        });
        let read = match tokio::time::timeout(limit, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => Err(Fault::Source {
                operation: operation.clone(),
                message: format!("the transfer was cut off: {error}"),
            }),
            Err(_) => return Err(Fault::TimedOut { operation, limit }),
        };
        let call = Call::PutVolume {
            name: name.to_owned(),
            volume: read.as_ref().ok().cloned(),
        };
        self.call::<()>(operation, &call).await?;
        read.map(drop)
    }

    async fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        let call = Call::DeleteVolume {
            name: name.to_owned(),
        };
        self.call(format!("delete volume {name}"), &call).await
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        let call = Call::DefineDomain { spec: spec.clone() };
        self.call(format!("define domain {}", spec.name), &call).await
    }

    async fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::StartDomain {
            name: name.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("start domain {name}"), &call).await
    }

    async fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::ShutdownDomain {
            name: name.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("shut down domain {name}"), &call).await
    }

    async fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::DestroyDomain {
            name: name.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("power off domain {name}"), &call).await
    }

    async fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::UndefineDomain {
            name: name.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("undefine domain {name}"), &call).await
    }

    async fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::DisownDomain {
            name: name.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("disown domain {name}"), &call).await
    }

    async fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::DisownNetwork {
            name: name.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("disown network {name}"), &call).await
    }

    async fn keep_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::KeepDisk {
            domain: domain.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("keep the disk of domain {domain}"), &call)
            .await
    }

    async fn merge_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::MergeDisk {
            domain: domain.to_owned(),
            owner: owner.clone(),
        };
        let operation = format!("put what domain {domain} has written into its disk");
        self.call(operation, &call).await
    }

    async fn revert_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let call = Call::RevertDisk {
            domain: domain.to_owned(),
            owner: owner.clone(),
        };
        self.call(format!("revert the disk of domain {domain}"), &call)
            .await
    }

    async fn attach_disk(&self, domain: &str, owner: &Owner, disk: &AttachedDisk) -> Result<(), Fault> {
        let call = Call::AttachDisk {
            domain: domain.to_owned(),
            owner: owner.clone(),
            disk: disk.clone(),
        };
        self.call(format!("attach disk {} to domain {domain}", disk.serial), &call)
            .await
    }

    async fn detach_disk(&self, domain: &str, owner: &Owner, serial: &str) -> Result<(), Fault> {
        let call = Call::DetachDisk {
            domain: domain.to_owned(),
            owner: owner.clone(),
            serial: serial.to_owned(),
        };
        self.call(format!("detach disk {serial} from domain {domain}"), &call)
            .await
    }

    async fn agent(
        &self,
        domain: &str,
        owner: &Owner,
        command: &str,
        timeout: Duration,
    ) -> Result<String, Fault> {
        let call = Call::Agent {
            domain: domain.to_owned(),
            owner: owner.clone(),
            command: command.to_owned(),
            timeout,
        };
        self.call(format!("ask the guest agent of {domain}"), &call).await
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.events.subscribe()
    }
}
