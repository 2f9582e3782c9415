//! A cluster's control plane: what its machine's disk holds of it, and the API server that runs.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use seedbed_guest::GuestFile;
use seedbed_simulated_api::{ApiServer, Store};

use crate::job;
use crate::machines::{Boot, Machines};
use crate::{cluster, workload};

/// Between two looks of a cluster's scheduler, kubelets and controllers at its pods.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// The least between two starts of an API server that could not listen.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A cluster, as its control plane's machine has it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) address: Ipv4Addr,
    pub(crate) api: ApiServer,
    /// What its machine was given for it.
    pub(crate) files: Vec<GuestFile>,
    pub(crate) answers: bool,
    /// Which process the server is, of all that there were.
    pub(crate) process: u64,
    /// What the disk says that runs.
    pub(crate) manifests: Manifests,
    /// What the process is that runs, or ran last: it was started from the manifests of then.
    pub(crate) serves: Manifests,
    /// Whether there are no manifests just now, so that nothing runs.
    pub(crate) is_stopped: bool,
    /// The upgrade that the manifests are of, if they are of one and it was not undone.
    pub(crate) changed_by: Option<String>,
}

/// What a control plane consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifests {
    /// The Kubernetes version.
    pub(crate) version: String,
    /// The minor version that it behaves like, such as `1.35`, where that is not its own.
    pub(crate) emulated: Option<String>,
    /// The Kubernetes version whose etcd it is.
    pub(crate) etcd: String,
}

impl Manifests {
    /// All of that version.
    pub(crate) fn of(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            emulated: None,
            etcd: version.to_owned(),
        }
    }

    /// The minor version that it behaves like, such as `1.35`.
    pub(crate) fn behaves_like(&self) -> &str {
        self.emulated.as_deref().unwrap_or(&self.version)
    }
}

/// Who is told of the control planes' APIs.
pub trait ControlPlanes: Send + Sync + 'static {
    /// The API at that address answers from now on; the files are those that its machine was given, its authorities among them. An
    /// error is why it cannot, in the words of its log.
    fn began(&self, address: Ipv4Addr, api: &ApiServer, files: &[GuestFile]) -> Result<(), String>;

    /// It does not answer any more.
    fn ended(&self, address: Ipv4Addr);
}

impl Machines {
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

    pub(crate) fn next_server(&self) -> u64 {
        let mut state = self.lock();
        state.servers += 1;
        state.servers
    }

    /// Certificate (PEM) of the CA of the cluster whose API answers at that address.
    pub fn ca(&self, address: Ipv4Addr) -> Option<Vec<u8>> {
        let state = self.lock();
        job::ca(&state.cluster_at(address)?.files).map(<[u8]>::to_vec)
    }

    /// The version of the API server that answers at that address now, and the minor version that it emulates, if it does.
    pub fn control_plane_version(&self, address: Ipv4Addr) -> Option<(String, Option<String>)> {
        let state = self.lock();
        let cluster = state.cluster_at(address)?;
        let serves = cluster.serves.clone();
        cluster.answers.then_some((serves.version, serves.emulated))
    }

    /// The kubelet of that machine runs its control plane anew, from what the disk says: the API server that there was ends, and
    /// another one answers after a while; then something follows. That goes on whatever becomes of the job that changed the disk.
    pub(crate) fn restart_api(&self, boot: &Boot, then: fn(&Self, &Boot)) {
        let process = self.next_server();
        let is_one = self.in_boot(boot, |disk| {
            let Some(cluster) = disk.cluster.as_mut().filter(|cluster| !cluster.is_stopped) else {
                return false;
            };
            self.ends(cluster);
            cluster.process = process;
            true
        });
        if is_one == Some(true) {
            let boot = boot.clone();
            self.after(self.timing().api_server, move |machines| {
                machines.serve(boot, process, then);
            });
        }
    }

    fn serve(&self, boot: Boot, process: u64, then: fn(&Self, &Boot)) {
        let served = self.in_boot(&boot, |disk| {
            let cluster = disk
                .cluster
                .as_mut()
                .filter(|cluster| cluster.process == process)?;
            let manifests = cluster.manifests.clone();
            cluster.api = cluster
                .api
                .restarted(&manifests.version, manifests.emulated.as_deref());
            cluster.serves = manifests;
            cluster.answers = self.answers(cluster).is_ok();
            Some((cluster.address, cluster.answers))
        });
        match served.flatten() {
            Some((address, true)) => {
                self.tend(address, process);
                then(self, &boot);
            }
            // The port may not be free yet. The kubelet starts it again, for as long as it takes.
            Some((_, false)) => self.after(self.timing().api_server.max(RESTART_PAUSE), move |machines| {
                machines.serve(boot, process, then);
            }),
            // The machine lost its power, or something else is to run meanwhile.
            None => {}
        }
    }

    /// The kubelet of a control plane tells its API what it runs.
    pub(crate) fn show_components(&self, boot: &Boot) {
        let known = self.in_boot(boot, |disk| {
            let manifests = disk.cluster.as_ref()?.manifests.clone();
            Some((disk.node.clone()?, manifests))
        });
        if let Some(((node, address), manifests)) = known.flatten() {
            self.with_api(address, |store, now| {
                cluster::show_components(store, &node, &manifests, now);
            });
        }
    }

    /// The API server of that cluster runs no more, and whoever is told of it is told.
    pub(crate) fn ends(&self, cluster: &mut Cluster) {
        cluster.answers = false;
        if let Some(listener) = self.0.listener.get() {
            listener.ended(cluster.address);
        }
    }

    /// Whether the API of a cluster whose machine has power can be reached; if not, why.
    pub(crate) fn answers(&self, cluster: &Cluster) -> Result<(), String> {
        match self.0.listener.get() {
            Some(listener) => listener.began(cluster.address, &cluster.api, &cluster.files),
            None => Ok(()),
        }
    }

    /// Looks after the pods and leases of a cluster for as long as that process is its API server.
    pub(crate) fn tend(&self, address: Ipv4Addr, process: u64) {
        // Of nodes that went while it was away it hears as little as others did.
        self.after(self.timing().node_monitor_grace, move |machines| {
            machines.missed(address, |_| true);
        });
        self.tend_since(address, process, self.0.timers.now());
    }

    fn tend_since(&self, address: Ipv4Addr, process: u64, renewed: Timestamp) {
        self.after(HOUSEKEEPING, move |machines| {
            let (is_its, kubelets) = {
                let state = machines.lock();
                let mut clusters = state.disks.values().filter_map(|disk| disk.cluster.as_ref());
                let is_its = clusters.any(|c| c.address == address && c.process == process);
                (is_its, state.kubelets(address))
            };
            if is_its {
                let now = machines.0.timers.now();
                let since = now.duration_since(renewed).unsigned_abs();
                let renews = machines.timing().renew.is_some_and(|every| since >= every);
                machines.with_api(address, |store, now| {
                    workload::tend(store, &kubelets, now);
                    if renews {
                        cluster::renew_leases(store, &kubelets, now);
                    }
                });
                machines.tend_since(address, process, if renews { now } else { renewed });
            }
        });
    }

    /// CoreDNS becomes available once the API has answered for a while.
    pub(crate) fn bring_dns(&self, address: Ipv4Addr) {
        self.after(self.timing().dns, move |machines| {
            let told = machines.with_api(address, |store, now| cluster::set_dns(store, true, now));
            if told.is_none() && machines.knows(address) {
                machines.bring_dns(address);
            }
        });
    }

    /// Whether there is a control plane of that address, on or off.
    pub(crate) fn knows(&self, address: Ipv4Addr) -> bool {
        let state = self.lock();
        let mut clusters = state.disks.values().filter_map(|disk| disk.cluster.as_ref());
        clusters.any(|cluster| cluster.address == address)
    }

    /// Does something in a cluster's API, if it answers.
    pub(crate) fn with_api<T>(
        &self,
        address: Ipv4Addr,
        work: impl FnOnce(&mut Store, Timestamp) -> T,
    ) -> Option<T> {
        let api = self.api(address)?;
        let now = self.0.timers.now();
        Some(api.with(|store| work(store, now)))
    }
}
