//! A host that exists in memory only.
//!
//! It keeps the contract of [`Hypervisor`] as libvirt with QEMU does: the conformance suite says so. What runs in its machines is not
//! its business: that is [`Guests`]. Nothing in it waits, draws a random number or depends on the order of a hash map, so that the same
//! calls always have the same effects.
//!
//! What it does not simulate: the time that a call takes, the host's memory and disk as they fill up, and what is in volumes (only
//! that it was complete, and as large as its header says).

mod domains;
mod networks;
mod refusal;
mod state;
mod volumes;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::{
    AttachedDisk, ByteSource, DomainFacts, DomainSpec, EventKind, Fault, HostEvent, HostFacts, Hypervisor,
    Inventory, NetworkFacts, NetworkSpec, Owner, Reservation, VolumeFacts, VolumeFormat, VolumeSpec,
};
use refusal::Refusal;
use state::{Change, State};

/// Reads all of a source as an upload does, and tells the volume that it makes. Its bytes are not kept.
#[cfg(feature = "simulator")]
pub(crate) fn read_volume(
    name: &str,
    format: VolumeFormat,
    source: &dyn ByteSource,
    sha256: Option<&str>,
) -> Result<VolumeFacts, Fault> {
    volumes::read(name, format, source, sha256).map_err(|refusal| refusal.of(format!("upload volume {name}")))
}

/// How many events a receiver may be behind before it has to look again at everything.
const EVENTS: usize = 1024;

/// What runs in the machines of a simulated host.
pub trait Guests: Send + Sync + 'static {
    /// The machine was switched on.
    fn switched_on(&self, machine: &DomainSpec);

    /// The machine has no power any more; what was only in its memory is gone.
    fn switched_off(&self, domain: &str);

    /// The volume was deleted, and with it what was on it.
    fn disk_deleted(&self, _volume: &str) {}

    /// What is on the volume is kept as it is now.
    fn disk_kept(&self, _volume: &str) {}

    /// What was kept is not needed any more.
    fn disk_merged(&self, _volume: &str) {}

    /// On the volume is again what was kept of it.
    fn disk_reverted(&self, _volume: &str) {}

    /// The machine stands still, or goes on.
    fn suspended(&self, _domain: &str, _suspended: bool) {}

    /// Whether the agent of the machine, which is on, has opened its channel.
    fn agent_runs(&self, domain: &str) -> bool;

    /// The agent's answer to a command: what it returns (JSON), or its own words of why not. Asked only while it runs.
    fn ask(&self, domain: &str, command: &str) -> Result<String, String>;
}

/// A host that exists in memory only.
pub struct Simulated {
    state: Mutex<State>,
    guests: Arc<dyn Guests>,
    events: broadcast::Sender<HostEvent>,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulated").finish_non_exhaustive()
    }
}

impl Simulated {
    /// An empty host.
    pub fn new(facts: HostFacts, guests: Arc<dyn Guests>) -> Self {
        Self {
            state: Mutex::new(State::new(facts)),
            guests,
            events: broadcast::channel(EVENTS).0,
        }
    }

    /// Somebody else makes a domain on the host, with metadata of ours where another seed does. One of that name that is there already
    /// is left alone.
    pub fn make_foreign_domain(&self, spec: DomainSpec, with_metadata: bool) {
        self.change(|state| state.add_foreign_domain(spec, with_metadata));
    }

    /// Somebody else makes a network on the host. One of that name that is there already is left alone.
    pub fn make_foreign_network(&self, name: &str) {
        self.change(|state| state.add_foreign_network(name));
    }

    /// The address that its networks give the card with that MAC address.
    pub fn address_of(&self, mac: &str) -> Option<Ipv4Addr> {
        self.look(|state| {
            let mut reservations = state.networks.values().flat_map(|n| &n.reservations);
            reservations.find(|r| r.mac == mac).map(|r| r.ip)
        })
    }

    /// What the host is and has to give is this from now on.
    pub fn set_facts(&self, facts: HostFacts) {
        self.change(|state| state.set_host(facts));
    }

    /// An upload into that volume came to its end: with what was read, or without success. A complete volume is left alone.
    pub fn put_volume(&self, name: &str, volume: Option<VolumeFacts>) -> Result<(), Fault> {
        self.call(format!("upload volume {name}"), |state| {
            if state.is_complete(name) {
                return Ok(());
            }
            state.volumes.remove(name);
            state
                .volumes
                .extend(volume.map(|volume| (name.to_owned(), volume)));
            Ok(())
        })
    }

    /// The machine loses its power, as when its process on the host is killed.
    pub fn lose_power(&self, domain: &str) {
        self.change(|state| state.cut(domain));
    }

    /// Somebody suspends the guest, or lets it go on.
    pub fn set_suspended(&self, domain: &str, suspended: bool) {
        self.change(|state| {
            if suspended {
                state.suspend(domain);
            } else {
                state.resume(domain);
            }
        });
    }

    /// The guest's kernel panics, and the guest is kept as it was then.
    pub fn crash(&self, domain: &str) {
        self.change(|state| state.crash(domain));
    }

    /// The host loses its power and comes back: no machine runs any more. Networks come up again, as they are marked to, or not.
    pub fn reboot(&self, networks_come_up: bool) {
        self.change(|state| {
            let domains: Vec<_> = state.domains.keys().cloned().collect();
            for domain in domains {
                state.cut(&domain);
            }
            let networks: Vec<_> = state.networks.keys().cloned().collect();
            for network in networks {
                state.set_active(&network, networks_come_up);
            }
        });
    }

    /// The pool takes nothing more, or something again.
    pub fn set_pool_full(&self, full: bool) {
        self.change(|state| state.full = full);
    }

    /// Whether it can keep disks as they are; one can where nothing else is said.
    pub fn set_keeps_disks(&self, keeps: bool) {
        self.change(|state| state.keeps_disks = keeps);
    }

    /// Somebody else makes a volume in the pool. One of that name that is there already is left alone.
    pub fn make_foreign_volume(&self, name: &str) {
        self.change(|state| state.add_foreign_volume(name));
    }

    /// Somebody removes a domain.
    pub fn remove_domain(&self, name: &str) {
        self.change(|state| state.remove_domain(name));
    }

    /// Somebody removes a network.
    pub fn remove_network(&self, name: &str) {
        self.change(|state| state.networks.remove(name));
    }

    /// Somebody removes a volume.
    pub fn remove_volume(&self, name: &str) {
        self.change(|state| state.volumes.remove(name));
    }

    /// The disks that a domain has beyond those that it is defined with, as its guest sees them.
    pub fn attached(&self, domain: &str) -> Vec<AttachedDisk> {
        self.look(|state| state.attached(domain).to_vec())
    }

    /// All that is on the host now, without asking anybody.
    pub fn contents(&self) -> Inventory {
        self.look(State::inventory)
    }

    /// A guest's agent opened or closed its channel.
    pub fn agent_changed(&self, domain: &str, connected: bool) {
        let kind = if connected {
            EventKind::AgentConnected
        } else {
            EventKind::AgentDisconnected
        };
        self.tell(HostEvent {
            domain: Some(domain.to_owned()),
            kind,
        });
    }

    /// Something happens that concerns more than one domain, such as that the connection to the host is lost.
    pub fn happens(&self, event: HostEvent) {
        self.tell(event);
    }

    fn tell(&self, event: HostEvent) {
        // Nobody listening is no error: who begins to listen looks at everything first.
        let _ = self.events.send(event);
    }

    /// Does something with the state, and then tells guests and listeners what it changed.
    fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let (result, changes) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(&mut state);
            (result, state.take_changes())
        };
        for change in changes {
            let is_on = matches!(change, Change::On(_));
            let name = match change {
                Change::On(machine) => {
                    self.guests.switched_on(&machine);
                    machine.name
                }
                Change::Off(name) => {
                    self.guests.switched_off(&name);
                    name
                }
                Change::Suspended(name, suspended) => {
                    self.guests.suspended(&name, suspended);
                    name
                }
                Change::Kept(name, disk) => {
                    self.guests.disk_kept(&disk);
                    name
                }
                Change::Merged(name, disk) => {
                    self.guests.disk_merged(&disk);
                    name
                }
                Change::Reverted(name, disk) => {
                    self.guests.disk_reverted(&disk);
                    name
                }
                Change::Definition(name) => name,
            };
            self.tell(HostEvent {
                domain: Some(name.clone()),
                kind: EventKind::DomainChanged,
            });
            if is_on {
                // libvirt tells of a channel that nobody has opened yet.
                self.agent_changed(&name, false);
            }
        }
        result
    }

    fn call<T>(
        &self,
        operation: impl Into<String>,
        work: impl FnOnce(&mut State) -> Result<T, Refusal>,
    ) -> Result<T, Fault> {
        self.change(work).map_err(|refusal| refusal.of(operation.into()))
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the host says of a domain, and what its guest adds.
    fn with_agent(&self, facts: DomainFacts) -> DomainFacts {
        let runs = facts.power == crate::PowerState::Running && self.guests.agent_runs(&facts.name);
        DomainFacts {
            agent_connected: Some(runs),
            ..facts
        }
    }
}

#[async_trait]
impl Hypervisor for Simulated {
    async fn host(&self) -> Result<HostFacts, Fault> {
        Ok(self.look(State::host))
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        let inventory = self.look(State::inventory);
        Ok(Inventory {
            domains: inventory
                .domains
                .into_iter()
                .map(|d| self.with_agent(d))
                .collect(),
            ..inventory
        })
    }

    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        Ok(self.look(|state| state.domain(name)).map(|d| self.with_agent(d)))
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        Ok(self.look(|state| state.networks.get(name).cloned()))
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        Ok(self.look(|state| state.volumes.get(name).cloned()))
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        self.call(format!("create network {}", spec.name), |state| {
            state.ensure_network(spec)
        })
    }

    async fn reserve_address(
        &self,
        network: &str,
        owner: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault> {
        let operation = format!("reserve {} in network {network}", reservation.ip);
        self.call(operation, |state| state.reserve(network, owner, reservation))
    }

    async fn release_address(&self, network: &str, owner: &Owner, mac: &str) -> Result<(), Fault> {
        let operation = format!("release the address of {mac} in network {network}");
        self.call(operation, |state| state.release(network, owner, mac))
    }

    async fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("delete network {name}"), |state| {
            state.delete_network(name, owner)
        })
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        self.call(format!("create volume {}", spec.name), |state| {
            state.create_volume(spec)
        })
    }

    async fn upload_volume(
        &self,
        name: &str,
        format: VolumeFormat,
        source: Arc<dyn ByteSource>,
        sha256: Option<&str>,
        _: Duration,
    ) -> Result<(), Fault> {
        let operation = format!("upload volume {name}");
        if self.look(|state| state.is_complete(name)) {
            return Ok(());
        }
        // Read with the state free: a source may be large.
        let volume = volumes::read(name, format, source.as_ref(), sha256);
        self.call(operation, |state| state.put_volume(name, volume))
    }

    async fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        self.change(|state| state.volumes.remove(name));
        self.guests.disk_deleted(name);
        Ok(())
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        self.call(format!("define domain {}", spec.name), |state| {
            state.define_domain(spec)
        })
    }

    async fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("start domain {name}"), |state| {
            state.start_domain(name, owner)
        })
    }

    async fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("shut down domain {name}"), |state| {
            state.shutdown_domain(name, owner)
        })
    }

    async fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("destroy domain {name}"), |state| {
            state.destroy_domain(name, owner)
        })
    }

    async fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("undefine domain {name}"), |state| {
            state.undefine_domain(name, owner)
        })
    }

    async fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("disown domain {name}"), |state| {
            state.disown_domain(name, owner)
        })
    }

    async fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("disown network {name}"), |state| {
            state.disown_network(name, owner)
        })
    }

    async fn keep_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        self.call(format!("keep the disk of domain {domain}"), |state| {
            state.keep_disk(domain, owner)
        })
    }

    async fn merge_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let operation = format!("put what domain {domain} has written into its disk");
        self.call(operation, |state| state.merge_disk(domain, owner))
    }

    async fn revert_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        let operation = format!("revert the disk of domain {domain}");
        self.call(operation, |state| state.revert_disk(domain, owner))
    }

    async fn attach_disk(&self, domain: &str, owner: &Owner, disk: &AttachedDisk) -> Result<(), Fault> {
        let operation = format!("attach disk {} to domain {domain}", disk.serial);
        self.call(operation, |state| state.attach_disk(domain, owner, disk))
    }

    async fn detach_disk(&self, domain: &str, owner: &Owner, serial: &str) -> Result<(), Fault> {
        let operation = format!("detach disk {serial} from domain {domain}");
        self.call(operation, |state| state.detach_disk(domain, owner, serial))
    }

    async fn agent(&self, domain: &str, owner: &Owner, command: &str, _: Duration) -> Result<String, Fault> {
        let operation = || format!("ask the guest agent of {domain}");
        let running = self.call(operation(), |state| state.is_running(domain, owner))?;
        if !running || !self.guests.agent_runs(domain) {
            return Err(Fault::AgentSilent {
                operation: operation(),
                domain: domain.to_owned(),
                message: if running {
                    "the agent has not opened its channel".to_owned()
                } else {
                    "the domain is not running".to_owned()
                },
            });
        }
        self.guests
            .ask(domain, command)
            .map_err(|message| Refusal::Refused(message).of(operation()))
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.events.subscribe()
    }
}
