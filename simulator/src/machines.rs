//! The machines of a host, and what their jobs do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use jiff::SignedDuration;
use seedbed_guest::GuestFile;
use seedbed_guest::simulated::{Begun, Identity, Os};
use seedbed_hypervisor::DomainSpec;
use seedbed_hypervisor::simulated::{Guests, Simulated};
use seedbed_simulated_api::ApiServer;

use crate::job::{self, Kubeadm, NodeSpec};
use crate::timing::{Timers, Timing};
use crate::{cluster, workload};

/// Between two looks of a cluster's scheduler, kubelets and controllers at its pods.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Between two attempts of a worker to join.
const JOIN_PAUSE: Duration = Duration::from_secs(1);

/// The machines of a simulated host. Clones are the same machines.
#[derive(Clone)]
pub struct Machines(Arc<Inner>);

struct Inner {
    timing: Mutex<Timing>,
    timers: Arc<dyn Timers>,
    host: OnceLock<Weak<Simulated>>,
    listener: OnceLock<Arc<dyn ControlPlanes>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is on a root volume, by the volume's name.
    disks: BTreeMap<String, Disk>,
    /// The machines that have power, by their domains' names.
    on: BTreeMap<String, Power>,
    boots: u64,
    /// How many processes of API servers were started.
    servers: u64,
    begun: Vec<(String, String)>,
    /// How often jobs that begin in a machine fail from now on, and where, by the domain's name.
    failures: BTreeMap<String, (u32, Failure)>,
    /// Domains whose agents are dead.
    mute: BTreeSet<String>,
    /// Domains that reach no other machine.
    isolated: BTreeSet<String>,
}

/// Where a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Before it changed anything.
    Preflight,
    /// When the API server, or the node, is there already.
    Late,
}

struct Disk {
    os: Os,
    /// The cluster whose control plane it is.
    cluster: Option<Cluster>,
    /// The node that its kubelet is, and where.
    node: Option<(NodeSpec, Ipv4Addr)>,
}

struct Cluster {
    address: Ipv4Addr,
    version: String,
    api: ApiServer,
    /// What its machine was given for it.
    files: Vec<GuestFile>,
    answers: bool,
    /// Which process the server is, of all that there were.
    process: u64,
}

struct Power {
    disk: String,
    boot: u64,
    agent: bool,
    suspended: bool,
}

/// One boot of one machine: what was begun in it ends with it.
#[derive(Clone)]
struct Boot {
    domain: String,
    number: u64,
}

/// Who is told of the control planes' APIs.
pub trait ControlPlanes: Send + Sync + 'static {
    /// The API at that address answers from now on; the files are those that its machine was given, its authorities among them. An
    /// error is why it cannot, in the words of its log.
    fn began(&self, address: Ipv4Addr, api: &ApiServer, files: &[GuestFile]) -> Result<(), String>;

    /// It does not answer any more.
    fn ended(&self, address: Ipv4Addr);
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

    fn timing(&self) -> Timing {
        self.0
            .timing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The API that answers at that address now.
    pub fn api(&self, address: Ipv4Addr) -> Option<ApiServer> {
        let state = self.lock();
        let cluster = state.cluster_at(address)?;
        cluster.answers.then(|| cluster.api.clone())
    }

    /// Which process answers at that address, of all API servers that there were: connections to another one are dead.
    pub fn server(&self, address: Ipv4Addr) -> Option<u64> {
        let state = self.lock();
        let cluster = state.cluster_at(address)?;
        cluster.answers.then_some(cluster.process)
    }

    fn next_server(&self) -> u64 {
        let mut state = self.lock();
        state.servers += 1;
        state.servers
    }

    /// Certificate (PEM) of the CA of the cluster whose API answers at that address.
    pub fn ca(&self, address: Ipv4Addr) -> Option<Vec<u8>> {
        let state = self.lock();
        job::ca(&state.cluster_at(address)?.files).map(<[u8]>::to_vec)
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
        if isolated {
            self.after(self.timing().node_monitor_grace, move |machines| {
                if machines.lock().isolated.contains(&boot.domain)
                    && let Some(Some((node, server))) = machines.in_boot(&boot, |disk| disk.node.clone())
                {
                    machines.with_api(server, |store, now| {
                        cluster::set_ready(store, &node.name, false, now);
                    });
                }
            });
        } else {
            self.report_ready(&boot);
        }
    }

    fn is_isolated(&self, domain: &str) -> bool {
        self.lock().isolated.contains(domain)
    }

    /// How often machines were switched on.
    pub fn boots(&self) -> u64 {
        self.lock().boots
    }

    /// The jobs that were begun in them: the domain, and the job's token.
    pub fn begun(&self) -> Vec<(String, String)> {
        self.lock().begun.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after(&self, delay: Duration, work: impl FnOnce(&Self) + Send + 'static) {
        let machines = self.clone();
        self.0.timers.after(delay, Box::new(move || work(&machines)));
    }

    /// Does something with the disk of a machine, unless that boot of it is over.
    fn in_boot<T>(&self, boot: &Boot, work: impl FnOnce(&mut Disk) -> T) -> Option<T> {
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
            state.disks.get(&disk).is_some_and(|d| d.cluster.is_some())
        };
        if let Some(host) = self.0.host.get().and_then(Weak::upgrade) {
            host.agent_changed(&boot.domain, true);
        }
        let boot = boot.clone();
        if resumes {
            self.after(self.timing().api_server, move |machines| {
                let process = machines.next_server();
                let address = machines.in_boot(&boot, |disk| {
                    let cluster = disk.cluster.as_mut()?;
                    cluster.process = process;
                    cluster.answers = machines.answers(cluster).is_ok();
                    Some(cluster.address)
                });
                if let Some(Some(address)) = address {
                    machines.tend(address, process);
                }
                machines.report_ready(&boot);
            });
        } else {
            self.report_ready(&boot);
        }
    }

    /// Whether the API of a cluster whose machine has power can be reached; if not, why.
    fn answers(&self, cluster: &Cluster) -> Result<(), String> {
        match self.0.listener.get() {
            Some(listener) => listener.began(cluster.address, &cluster.api, &cluster.files),
            None => Ok(()),
        }
    }

    fn begin(&self, boot: Boot, begun: &Begun) {
        let token = begun.token.clone();
        self.lock().begun.push((boot.domain.clone(), token.clone()));
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
        let late = failure.is_some();
        match job::read(begun) {
            Ok(Kubeadm::Init {
                node,
                version,
                address,
                token: join_token,
                files,
            }) => {
                // What an earlier attempt left is reset.
                self.in_boot(&boot, |disk| {
                    if let (Some(cluster), Some(listener)) = (disk.cluster.take(), self.0.listener.get()) {
                        listener.ended(cluster.address);
                    }
                    disk.node = None;
                });
                let init = Init {
                    boot,
                    token,
                    node,
                    version,
                    address,
                    join_token,
                    files,
                    fails: late,
                };
                self.after(self.timing().api_server, move |machines| machines.init(init));
            }
            Ok(Kubeadm::Join {
                node,
                server,
                token: credentials,
                ca,
            }) => {
                let limit = SignedDuration::try_from(self.timing().join_limit).unwrap_or(SignedDuration::MAX);
                let deadline = self
                    .0
                    .timers
                    .now()
                    .saturating_add(limit)
                    .unwrap_or(jiff::Timestamp::MAX);
                let join = Join {
                    boot,
                    token,
                    node,
                    server,
                    credentials,
                    ca,
                    deadline,
                    fails: late,
                };
                self.join(join);
            }
            Err(why) => {
                self.in_boot(&boot, |disk| {
                    disk.os
                        .log(&token, &format!("this job is not simulated: {why}\n"));
                    disk.os.end(&token, 1);
                });
            }
        }
    }

    fn fail(&self, boot: &Boot, token: &str, phase: &str) {
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

    /// The API server is up: the control plane's node registers, and the job goes on to its end.
    fn init(&self, init: Init) {
        let Init {
            boot,
            token,
            node,
            version,
            address,
            join_token,
            files,
            fails,
        } = init;
        let now = self.0.timers.now();
        let timers = self.0.timers.clone();
        let mut store = cluster::new(
            &format!("{} {} {token}", boot.domain, boot.number),
            join_token.as_ref(),
            now,
        );
        cluster::register(&mut store, &node, true, &version, now);
        let api = ApiServer::new(store, version.clone(), move || timers.now());
        let process = self.next_server();
        let is_on = self.in_boot(&boot, |disk| {
            disk.os.log(&token, "seedbed: phase kubeadm\n");
            let cluster = Cluster {
                address,
                version,
                api,
                files,
                answers: true,
                process,
            };
            if let Err(why) = self.answers(&cluster) {
                disk.os.log(&token, &format!("kube-apiserver: {why}\n"));
                disk.os.end(&token, 1);
                return false;
            }
            disk.node = Some((node, address));
            disk.cluster = Some(cluster);
            true
        });
        if is_on != Some(true) {
            return;
        }
        self.tend(address, process);
        self.report_ready(&boot);
        self.after(self.timing().init, move |machines| {
            if fails {
                machines.fail(&boot, &token, "addon");
                return;
            }
            let ended = machines.in_boot(&boot, |disk| {
                disk.os.log(&token, "seedbed: phase done\n");
                disk.os.end(&token, 0);
            });
            if ended.is_some() {
                machines.with_api(address, |store, now| cluster::set_dns(store, false, now));
                machines.bring_dns(address);
            }
        });
    }

    /// Looks after the pods of a cluster for as long as that process is its API server.
    fn tend(&self, address: Ipv4Addr, process: u64) {
        self.after(HOUSEKEEPING, move |machines| {
            let (is_its, kubelets) = {
                let state = machines.lock();
                let mut clusters = state.disks.values().filter_map(|disk| disk.cluster.as_ref());
                let is_its = clusters.any(|c| c.address == address && c.process == process);
                (is_its, state.kubelets(address))
            };
            if is_its {
                machines.with_api(address, |store, now| workload::tend(store, &kubelets, now));
                machines.tend(address, process);
            }
        });
    }

    /// CoreDNS becomes available once the API has answered for a while.
    fn bring_dns(&self, address: Ipv4Addr) {
        self.after(self.timing().dns, move |machines| {
            let told = machines.with_api(address, |store, now| cluster::set_dns(store, true, now));
            if told.is_none() && machines.knows(address) {
                machines.bring_dns(address);
            }
        });
    }

    /// Whether there is a control plane of that address, on or off.
    fn knows(&self, address: Ipv4Addr) -> bool {
        let state = self.lock();
        let mut clusters = state.disks.values().filter_map(|disk| disk.cluster.as_ref());
        clusters.any(|cluster| cluster.address == address)
    }

    /// A worker asks whether it may join, again and again.
    fn join(&self, join: Join) {
        if self.in_boot(&join.boot, |_| ()).is_none() {
            return;
        }
        let trusted = self.ca(join.server).is_some_and(|ca| ca == join.ca);
        let admitted = trusted
            && !self.is_isolated(&join.boot.domain)
            && self
                .with_api(join.server, |store, _| cluster::admits(store, &join.credentials))
                .unwrap_or(false);
        if admitted {
            self.after(self.timing().join, move |machines| machines.joined(join));
        } else if self.0.timers.now() < join.deadline {
            self.after(JOIN_PAUSE, move |machines| machines.join(join));
        } else {
            self.in_boot(&join.boot, |disk| {
                disk.os
                    .log(&join.token, "error execution phase kubelet-start: timed out\n");
                disk.os.end(&join.token, 1);
            });
        }
    }

    fn joined(&self, join: Join) {
        if self.in_boot(&join.boot, |_| ()).is_none() {
            return;
        }
        let version = {
            let state = self.lock();
            state.cluster_at(join.server).map(|c| c.version.clone())
        };
        let Some(version) = version else {
            return self.join(join);
        };
        let registered = self.with_api(join.server, |store, now| {
            cluster::register(store, &join.node, false, &version, now);
        });
        if registered.is_none() {
            return self.join(join);
        }
        if join.fails {
            self.fail(&join.boot, &join.token, "kubelet-start");
            return;
        }
        self.in_boot(&join.boot, |disk| {
            disk.node = Some((join.node, join.server));
            disk.os.log(&join.token, "seedbed: phase done\n");
            disk.os.end(&join.token, 0);
        });
        self.report_ready(&join.boot);
    }

    /// The kubelet of a machine, if it is a node, registers it where it is not and says that it is Ready, as soon as it can.
    fn report_ready(&self, boot: &Boot) {
        let boot = boot.clone();
        self.after(self.timing().node_ready, move |machines| {
            let Some(node) =
                machines.in_boot(&boot, |disk| disk.node.clone().zip(Some(disk.cluster.is_some())))
            else {
                return;
            };
            let Some(((node, server), control_plane)) = node else {
                return;
            };
            let version = {
                let state = machines.lock();
                state.cluster_at(server).map(|cluster| cluster.version.clone())
            };
            let told = version
                .filter(|_| !machines.is_isolated(&boot.domain))
                .and_then(|version| {
                    machines.with_api(server, |store, now| {
                        cluster::register(store, &node, control_plane, &version, now);
                        cluster::set_ready(store, &node.name, true, now);
                    })
                });
            if told.is_none() {
                machines.report_ready(&boot);
            }
        });
    }

    /// Nobody heard of the machine with that disk for a while: its node is not Ready any more, unless a machine runs that is this node.
    fn missed(&self, disk: &str) {
        let node = {
            let state = self.lock();
            let Some((node, server)) = state.disks.get(disk).and_then(|d| d.node.clone()) else {
                return;
            };
            let is_it = |other: &Disk| {
                other
                    .node
                    .as_ref()
                    .is_some_and(|(other, at)| other.name == node.name && *at == server)
            };
            let mut running = state.on.values().filter_map(|power| state.disks.get(&power.disk));
            if running.any(is_it) {
                return;
            }
            (node, server)
        };
        let (node, server) = node;
        self.with_api(server, |store, now| {
            cluster::set_ready(store, &node.name, false, now);
        });
    }

    /// Does something in a cluster's API, if it answers.
    fn with_api<T>(
        &self,
        address: Ipv4Addr,
        work: impl FnOnce(&mut seedbed_simulated_api::Store, jiff::Timestamp) -> T,
    ) -> Option<T> {
        let api = self.api(address)?;
        let now = self.0.timers.now();
        Some(api.with(|store| work(store, now)))
    }
}
/// A worker's job.
struct Join {
    boot: Boot,
    token: String,
    node: NodeSpec,
    server: Ipv4Addr,
    credentials: (String, String),
    ca: Vec<u8>,
    deadline: jiff::Timestamp,
    fails: bool,
}

/// A control plane's job.
struct Init {
    boot: Boot,
    token: String,
    node: NodeSpec,
    version: String,
    address: Ipv4Addr,
    join_token: Option<(String, String)>,
    files: Vec<GuestFile>,
    fails: bool,
}

impl State {
    /// The nodes of the cluster at that address whose kubelets run and reach it.
    fn kubelets(&self, address: Ipv4Addr) -> BTreeSet<String> {
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

    /// The cluster whose control plane has that address and power.
    fn cluster_at(&self, address: Ipv4Addr) -> Option<&Cluster> {
        self.on
            .values()
            .filter(|power| !power.suspended)
            .filter_map(|power| self.disks.get(&power.disk)?.cluster.as_ref())
            .find(|cluster| cluster.address == address)
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
            });
            disk.os.reboot(format!("boot-{number}"));
            disk.os.set_address(address.map(Into::into));
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
        let disk = {
            let mut state = self.lock();
            let Some(power) = state.on.remove(domain) else {
                return;
            };
            if let Some(cluster) = state.disks.get_mut(&power.disk).and_then(|d| d.cluster.as_mut()) {
                cluster.answers = false;
                if let Some(listener) = self.0.listener.get() {
                    listener.ended(cluster.address);
                }
            }
            power.disk
        };
        self.after(self.timing().node_monitor_grace, move |machines| {
            machines.missed(&disk);
        });
    }

    fn disk_deleted(&self, volume: &str) {
        let mut state = self.lock();
        if !state.on.values().any(|power| power.disk == volume) {
            state.disks.remove(volume);
        }
    }

    fn suspended(&self, domain: &str, suspended: bool) {
        if let Some(power) = self.lock().on.get_mut(domain) {
            power.suspended = suspended;
        }
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
