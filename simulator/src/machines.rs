//! The machines of a host, and what their jobs do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use seedbed_guest::simulated::{Begun, Identity, Os};
use seedbed_hypervisor::DomainSpec;
use seedbed_hypervisor::simulated::{Guests, Simulated};

use crate::cluster;
use crate::control_plane::{Cluster, ControlPlanes};
use crate::facts::{self, Facts};
use crate::job::NodeSpec;
use crate::layer::Layer;
use crate::timing::{Timers, Timing};
use crate::upgrade::{Kept, Restored, Script};

/// The machines of a simulated host. Clones are the same machines.
#[derive(Clone)]
pub struct Machines(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    timing: Mutex<Timing>,
    pub(crate) timers: Arc<dyn Timers>,
    pub(crate) host: OnceLock<Weak<Simulated>>,
    pub(crate) listener: OnceLock<Arc<dyn ControlPlanes>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// What is on a root volume, by the volume's name.
    pub(crate) disks: BTreeMap<String, Disk>,
    /// What is kept of them, by the same names.
    pub(crate) layers: BTreeMap<String, Layer>,
    /// The machines that have power, by their domains' names.
    pub(crate) on: BTreeMap<String, Power>,
    boots: u64,
    /// How many processes of API servers were started.
    pub(crate) servers: u64,
    begun: Vec<(String, String)>,
    /// How often jobs that begin in a machine fail from now on, and where, by the domain's name.
    failures: BTreeMap<String, (u32, Failure)>,
    /// The clusters that were restored.
    pub(crate) restores: Vec<Restored>,
    /// Domains whose agents are dead.
    mute: BTreeSet<String>,
    /// Domains that reach no other machine.
    isolated: BTreeSet<String>,
}

/// How a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Before it changed anything.
    Preflight,
    /// When the API server, or the node, is there already.
    Late,
    /// It does nothing, and does not end by itself.
    Hang,
}

#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) os: Os,
    /// The cluster whose control plane it is.
    pub(crate) cluster: Option<Cluster>,
    /// The node that its kubelet is, and where.
    pub(crate) node: Option<(NodeSpec, Ipv4Addr)>,
    /// Version of its kubelet, once that is known.
    pub(crate) kubelet: Option<String>,
    /// What upgrades left on it.
    pub(crate) upgrades: Kept,
    /// What its guest says of itself.
    pub(crate) facts: Facts,
}

pub(crate) struct Power {
    pub(crate) disk: String,
    boot: u64,
    agent: bool,
    suspended: bool,
}

/// One boot of one machine: what was begun in it ends with it.
#[derive(Clone)]
pub(crate) struct Boot {
    pub(crate) domain: String,
    pub(crate) number: u64,
}

impl std::fmt::Debug for Machines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machines").finish_non_exhaustive()
    }
}

impl Machines {
    /// No machines yet.
    pub fn new(timing: Timing, timers: Arc<dyn Timers>) -> Self {
        Self(Arc::new(Inner {
            timing: Mutex::new(timing),
            timers,
            host: OnceLock::new(),
            listener: OnceLock::new(),
            state: Mutex::default(),
        }))
    }

    /// Tells them their host, whose networks give them their addresses. The first one counts.
    pub fn set_host(&self, host: &Arc<Simulated>) {
        let _ = self.0.host.set(Arc::downgrade(host));
    }

    /// Tells them who is told of their control planes. The first one counts.
    pub fn set_listener(&self, listener: Arc<dyn ControlPlanes>) {
        let _ = self.0.listener.set(listener);
    }

    /// What begins from now on takes this long.
    pub fn set_timing(&self, timing: Timing) {
        *self.0.timing.lock().unwrap_or_else(PoisonError::into_inner) = timing;
    }

    pub(crate) fn timing(&self) -> Timing {
        self.0
            .timing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The next jobs that begin in that machine fail.
    pub fn fail_jobs(&self, domain: &str, times: u32, failure: Failure) {
        self.lock().failures.insert(domain.to_owned(), (times, failure));
    }

    /// No job fails any more by itself.
    pub fn fail_no_jobs(&self) {
        self.lock().failures.clear();
    }

    /// The agent of that machine is dead, or is started again.
    pub fn set_mute(&self, domain: &str, mute: bool) {
        let (changed, runs) = {
            let mut state = self.lock();
            let changed = if mute {
                state.mute.insert(domain.to_owned())
            } else {
                state.mute.remove(domain)
            };
            (changed, state.on.get(domain).is_some_and(|power| power.agent))
        };
        if let Some(host) = self
            .0
            .host
            .get()
            .and_then(Weak::upgrade)
            .filter(|_| changed && runs)
        {
            host.agent_changed(domain, !mute);
        }
    }

    /// That machine reaches no other one, or does again.
    pub fn set_isolated(&self, domain: &str, isolated: bool) {
        let boot = {
            let mut state = self.lock();
            if isolated {
                state.isolated.insert(domain.to_owned());
            } else {
                state.isolated.remove(domain);
            }
            let Some(power) = state.on.get(domain) else { return };
            Boot {
                domain: domain.to_owned(),
                number: power.boot,
            }
        };
        self.heard_of(boot, !isolated);
    }

    /// The kubelet of that machine is heard of again, or nobody hears of it for now.
    fn heard_of(&self, boot: Boot, is_heard: bool) {
        if is_heard {
            self.report_ready(&boot);
            return;
        }
        self.after(self.timing().node_monitor_grace, move |machines| {
            if machines.is_silent(&boot.domain)
                && let Some(Some((node, server))) = machines.in_boot(&boot, |disk| disk.node.clone())
            {
                machines.with_api(server, |store, now| {
                    cluster::set_ready(store, &node.name, false, now);
                });
            }
        });
    }

    /// Whether nobody hears of that machine although it is on: it is isolated, or suspended.
    pub(crate) fn is_silent(&self, domain: &str) -> bool {
        let state = self.lock();
        state.isolated.contains(domain) || state.on.get(domain).is_some_and(|power| power.suspended)
    }

    /// How often machines were switched on.
    pub fn boots(&self) -> u64 {
        self.lock().boots
    }

    /// The jobs that were begun in them: the domain, and the job's token.
    pub fn begun(&self) -> Vec<(String, String)> {
        self.lock().begun.clone()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn after(&self, delay: Duration, work: impl FnOnce(&Self) + Send + 'static) {
        let machines = self.clone();
        self.0.timers.after(delay, Box::new(move || work(&machines)));
    }

    /// Does something with the disk of a machine, unless that boot of it is over.
    pub(crate) fn in_boot<T>(&self, boot: &Boot, work: impl FnOnce(&mut Disk) -> T) -> Option<T> {
        let mut state = self.lock();
        let disk = state
            .on
            .get(&boot.domain)
            .filter(|p| p.boot == boot.number)?
            .disk
            .clone();
        state.disks.get_mut(&disk).map(work)
    }

    /// The agent answers, and what the machine was before it lost its power begins anew.
    fn booted(&self, boot: &Boot) {
        let resumes = {
            let mut state = self.lock();
            let Some(power) = state.on.get_mut(&boot.domain).filter(|p| p.boot == boot.number) else {
                return;
            };
            power.agent = true;
            let disk = power.disk.clone();
            let cluster = state.disks.get(&disk).and_then(|disk| disk.cluster.as_ref());
            cluster.is_some_and(|cluster| !cluster.is_stopped)
        };
        if let Some(host) = self.0.host.get().and_then(Weak::upgrade) {
            host.agent_changed(&boot.domain, true);
        }
        if resumes {
            self.restart_api(boot, Self::report_ready);
        } else {
            self.report_ready(boot);
        }
    }

    fn begin(&self, boot: Boot, begun: &Begun) {
        let token = begun.token.clone();
        self.lock().begun.push((boot.domain.clone(), token.clone()));
        let upgrade = Script::read(begun);
        // The first that it does: what it is to take the place of ends, however it goes on.
        if let Some(script) = &upgrade {
            self.in_boot(&boot, |disk| {
                for token in &script.stop {
                    disk.os.stop(token);
                }
            });
        }
        let failure = self
            .lock()
            .failures
            .get_mut(&boot.domain)
            .and_then(|(left, failure)| {
                *left = left.checked_sub(1)?;
                Some(*failure)
            });
        if failure == Some(Failure::Preflight) {
            self.after(self.timing().join, move |machines| {
                machines.fail(&boot, &token, "preflight");
            });
            return;
        }
        if failure == Some(Failure::Hang) {
            return;
        }
        let fails = failure.is_some();
        match upgrade {
            Some(script) => self.begin_upgrade(boot, token, script, fails),
            None => self.begin_bootstrap(boot, begun, fails),
        }
    }

    /// A job fails because it was wanted.
    pub(crate) fn fail(&self, boot: &Boot, token: &str, phase: &str) {
        self.in_boot(boot, |disk| {
            disk.os.log(
                token,
                &format!(
                    "seedbed: phase {phase}\nerror execution phase {phase}: as the simulation wants it\n"
                ),
            );
            disk.os.end(token, 1);
        });
    }
}

impl State {
    /// The nodes of the cluster at that address whose kubelets run and reach it.
    pub(crate) fn kubelets(&self, address: Ipv4Addr) -> BTreeSet<String> {
        let reach = |(domain, power): &(&String, &Power)| {
            power.agent && !power.suspended && !self.isolated.contains(*domain)
        };
        let powers = self.on.iter().filter(reach).map(|(_, power)| power);
        let nodes = powers.filter_map(|power| self.disks.get(&power.disk)?.node.as_ref());
        nodes
            .filter(|(_, of)| *of == address)
            .map(|(node, _)| node.name.clone())
            .collect()
    }

    /// The boots of the machines that are on and nodes of the cluster at that address.
    pub(crate) fn boots_at(&self, address: Ipv4Addr) -> Vec<Boot> {
        let is_its = |power: &Power| {
            let disk = self.disks.get(&power.disk);
            disk.is_some_and(|disk| disk.node.as_ref().is_some_and(|(_, of)| *of == address))
        };
        let on = self.on.iter().filter(|(_, power)| is_its(power));
        on.map(|(domain, power)| Boot {
            domain: domain.clone(),
            number: power.boot,
        })
        .collect()
    }

    /// The control plane's disk of the cluster at that address, where it has power.
    pub(crate) fn control_plane_at(&self, address: Ipv4Addr) -> Option<&Disk> {
        self.on
            .values()
            .filter(|power| !power.suspended)
            .filter_map(|power| self.disks.get(&power.disk))
            .find(|disk| {
                disk.cluster
                    .as_ref()
                    .is_some_and(|cluster| cluster.address == address)
            })
    }

    /// The cluster whose control plane has that address and power.
    pub(crate) fn cluster_at(&self, address: Ipv4Addr) -> Option<&Cluster> {
        self.control_plane_at(address)?.cluster.as_ref()
    }
}

impl Guests for Machines {
    fn switched_on(&self, machine: &DomainSpec) {
        let host = self.0.host.get().and_then(Weak::upgrade);
        let mac = machine
            .nics
            .first()
            .map(|nic| nic.mac.clone())
            .unwrap_or_default();
        let address = host.and_then(|host| host.address_of(&mac));
        let now = self.0.timers.now();
        let boot = {
            let mut state = self.lock();
            state.boots += 1;
            let number = state.boots;
            let name = machine.disks.first().map_or(&machine.name, |disk| &disk.volume);
            let disk = state.disks.entry(name.clone()).or_insert_with(|| Disk {
                os: Os::new(
                    Identity {
                        os: "Debian GNU/Linux 13 (trixie)".to_owned(),
                        kernel: "6.12".to_owned(),
                        mac,
                        address: None,
                    },
                    "",
                ),
                cluster: None,
                node: None,
                kubelet: None,
                upgrades: Kept::default(),
                facts: Facts::default(),
            });
            disk.os.reboot(format!("boot-{number}"));
            disk.os.set_address(address.map(Into::into));
            facts::tell(disk, now);
            let power = Power {
                disk: name.clone(),
                boot: number,
                agent: false,
                suspended: false,
            };
            state.on.insert(machine.name.clone(), power);
            Boot {
                domain: machine.name.clone(),
                number,
            }
        };
        self.after(self.timing().boot, move |machines| machines.booted(&boot));
    }

    fn switched_off(&self, domain: &str) {
        let node = {
            let mut state = self.lock();
            let Some(power) = state.on.remove(domain) else {
                return;
            };
            let Some(disk) = state.disks.get_mut(&power.disk) else {
                return;
            };
            if let Some(cluster) = disk.cluster.as_mut() {
                self.ends(cluster);
            }
            disk.node.clone()
        };
        let Some((node, server)) = node else { return };
        self.after(self.timing().node_monitor_grace, move |machines| {
            machines.missed(server, move |name| name == node.name);
        });
    }

    fn disk_deleted(&self, volume: &str) {
        let mut state = self.lock();
        if !state.on.values().any(|power| power.disk == volume) {
            state.layers.remove(volume);
            state.disks.remove(volume);
        }
    }

    fn disk_kept(&self, volume: &str) {
        self.keep(volume);
    }

    fn disk_merged(&self, volume: &str) {
        self.lock().layers.remove(volume);
    }

    fn disk_reverted(&self, volume: &str) {
        self.revert(volume);
    }

    fn suspended(&self, domain: &str, suspended: bool) {
        let boot = {
            let mut state = self.lock();
            let Some(power) = state.on.get_mut(domain) else {
                return;
            };
            power.suspended = suspended;
            Boot {
                domain: domain.to_owned(),
                number: power.boot,
            }
        };
        self.heard_of(boot, !suspended);
    }

    fn agent_runs(&self, domain: &str) -> bool {
        let state = self.lock();
        !state.mute.contains(domain) && state.on.get(domain).is_some_and(|power| power.agent)
    }

    fn ask(&self, domain: &str, command: &str) -> Result<String, String> {
        let since = Duration::try_from(self.0.timers.now().duration_since(jiff::Timestamp::UNIX_EPOCH));
        let (answer, begun, boot) = {
            let mut state = self.lock();
            let power = state.on.get(domain).ok_or("the machine is off")?;
            let boot = Boot {
                domain: domain.to_owned(),
                number: power.boot,
            };
            let disk = power.disk.clone();
            let os = &mut state.disks.get_mut(&disk).ok_or("the machine has no disk")?.os;
            (os.ask(command, since.unwrap_or_default()), os.take_begun(), boot)
        };
        for begun in &begun {
            self.begin(boot.clone(), begun);
        }
        answer
    }
}
