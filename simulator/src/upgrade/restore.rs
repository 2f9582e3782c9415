//! The jobs that restore a cluster from the snapshot.

use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Machines, Run};
use crate::cluster;
use crate::machines::{Boot, Disk};

/// How much higher the resourceVersion is after a restore than it was when the snapshot was taken.
const BUMP: u64 = 1_000_000_000;

/// A cluster was restored: what was written to its API between these two moments is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The address of its API.
    pub address: Ipv4Addr,
    /// When the snapshot was taken.
    pub taken: Timestamp,
    /// When it was restored.
    pub restored: Timestamp,
}

impl Machines {
    /// The restores that there were.
    pub fn restores(&self) -> Vec<Restored> {
        self.lock().restores.clone()
    }

    /// The snapshots that upgrades took in that machine cannot be read any more.
    pub fn damage_snapshots(&self, domain: &str) {
        let mut state = self.lock();
        let disk = state.on.get(domain).map(|power| power.disk.clone());
        if let Some(disk) = disk.and_then(|disk| state.disks.get_mut(&disk)) {
            disk.upgrades.damage();
        }
    }

    pub(super) fn prepare_restore(&self, run: &Arc<Run>) {
        match self.in_job(run, |disk| ready(disk, &run.script.upgrade)) {
            None => {}
            Some(Ok(())) => self.finish(run),
            Some(Err(why)) => self.refuse(run, why),
        }
    }

    pub(super) fn restore(&self, run: &Arc<Run>) {
        let upgrade = &run.script.upgrade;
        let ready = self.in_job(run, |disk| {
            ready(disk, upgrade).map(|()| disk.upgrades.is_restored(upgrade))
        });
        let (before, _) = self.replacement();
        match ready {
            None => {}
            Some(Ok(true)) => self.step(run, before, Self::finish_restore),
            Some(Ok(false)) => self.step(run, before, Self::stop_control_plane),
            Some(Err(why)) => self.refuse(run, why),
        }
    }

    /// Its manifests are gone until etcd is restored, however often the machine boots meanwhile.
    fn stop_control_plane(&self, run: &Arc<Run>) {
        let process = self.next_server();
        let stopped = self.in_job(run, |disk| {
            let cluster = disk.cluster.as_mut()?;
            self.ends(cluster);
            cluster.process = process;
            cluster.is_stopped = true;
            Some(())
        });
        match stopped.flatten() {
            Some(()) => self.step(run, self.timing().snapshot, Self::restore_etcd),
            None => self.refuse(run, "this machine is no control plane"),
        }
    }

    fn restore_etcd(&self, run: &Arc<Run>) {
        let upgrade = &run.script.upgrade;
        let restored = self.in_job(run, |disk| {
            let saved = disk.upgrades.saved(upgrade)?.clone();
            let cluster = disk.cluster.as_mut()?;
            cluster.api.with(|store| store.restore(&saved.etcd, BUMP));
            cluster.manifests = saved.manifests;
            cluster.changed_by = None;
            cluster.is_stopped = false;
            disk.upgrades.set_restored(upgrade);
            Some((cluster.address, saved.taken))
        });
        let Some((address, taken)) = restored.flatten() else {
            return self.refuse(run, "there is no snapshot to restore from");
        };
        let restored = self.0.timers.now();
        self.lock().restores.push(Restored {
            address,
            taken,
            restored,
        });
        self.restart_api(&run.boot, |machines, boot| {
            machines.show_components(boot);
            machines.nodes_report(boot);
        });
        self.step(run, self.timing().snapshot, Self::finish_restore);
    }

    fn finish_restore(&self, run: &Arc<Run>) {
        self.finish(run);
    }

    /// What the API says of nodes is of another time: their kubelets tell it anew, and those of which nobody hears are noticed.
    fn nodes_report(&self, boot: &Boot) {
        let Some(address) = self
            .in_boot(boot, |disk| disk.cluster.as_ref().map(|cluster| cluster.address))
            .flatten()
        else {
            return;
        };
        for boot in self.lock().boots_at(address) {
            self.report_ready(&boot);
        }
        self.after(self.timing().node_monitor_grace, move |machines| {
            let kubelets = machines.lock().kubelets(address);
            machines.with_api(address, |store, now| {
                for node in cluster::nodes(store) {
                    if !kubelets.contains(&node) {
                        cluster::set_ready(store, &node, false, now);
                    }
                }
            });
        });
    }
}

/// Whether all is ready to restore etcd, or it is restored; if not, why.
fn ready(disk: &Disk, upgrade: &str) -> Result<(), &'static str> {
    match disk.upgrades.saved(upgrade) {
        None => Err("there is no snapshot to restore; nothing was touched"),
        Some(saved) if saved.is_damaged => Err("the snapshot is damaged; nothing was touched"),
        Some(_) => Ok(()),
    }
}
