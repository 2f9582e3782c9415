//! The hosts, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use seedbed_hypervisor::simulated::Simulated;
use seedbed_hypervisor::simulator::wire::Settings;
use seedbed_simulator::{Machines, Timing};
use tokio::sync::watch;

use crate::RealTime;
use crate::planes::Planes;

/// All hosts of this process. One that was made is there until the process ends.
#[derive(Debug, Default)]
pub struct Hosts {
    planes: Arc<Planes>,
    hosts: Mutex<BTreeMap<String, Host>>,
}

/// One host. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) simulated: Arc<Simulated>,
    machines: Machines,
    hangs: Arc<watch::Sender<bool>>,
}

impl Hosts {
    /// The host of that name, which is like that from now on. One that was not heard of before is made, with nothing on it.
    pub(crate) fn get(&self, name: &str, settings: &Settings) -> Host {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts
            .entry(name.to_owned())
            .or_insert_with(|| Host::new(name, settings, self.planes.clone()));
        host.simulated.set_facts(settings.facts(name));
        host.machines.set_timing(timing(settings));
        host.hangs.send_replace(settings.hangs);
        host.clone()
    }
}

impl Host {
    fn new(name: &str, settings: &Settings, planes: Arc<Planes>) -> Self {
        tracing::info!(host = name, "made");
        let machines = Machines::new(timing(settings), Arc::new(RealTime));
        let simulated = Arc::new(Simulated::new(settings.facts(name), Arc::new(machines.clone())));
        machines.set_host(&simulated);
        machines.set_listener(planes);
        Self {
            simulated,
            machines,
            hangs: Arc::new(watch::channel(false).0),
        }
    }

    /// Returns once the host does not hang.
    pub(crate) async fn answers(&self) {
        // The sender lives as long as the host does.
        let _ = self.hangs.subscribe().wait_for(|hangs| !hangs).await;
    }
}

fn timing(settings: &Settings) -> Timing {
    let durations = &settings.durations;
    Timing {
        boot: durations.boot,
        api_server: durations.api_server,
        init: durations.init,
        join: durations.join,
        node_ready: durations.node_ready,
        dns: durations.dns,
        // No fields of their own: what replaces something takes about as long as what made it.
        control_plane: durations.api_server * 2 + durations.init,
        kubelet: durations.join,
        addons: durations.init,
        ..Timing::default()
    }
}
