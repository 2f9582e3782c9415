//! Disks that are kept as they were.

use jiff::Timestamp;
use seedbed_simulated_api::Snapshot;

use crate::machines::{Disk, Machines};
use crate::upgrade::Restored;

/// What is kept of a disk.
pub(crate) struct Layer {
    disk: Disk,
    /// All objects of the cluster, where the disk is a control plane's.
    etcd: Option<Snapshot>,
    since: Timestamp,
}

impl Machines {
    /// What is on the disk now is kept.
    pub(crate) fn keep(&self, volume: &str) {
        let since = self.0.timers.now();
        let mut state = self.lock();
        let Some(disk) = state.disks.get(volume).cloned() else {
            return;
        };
        let cluster = disk.cluster.as_ref();
        let etcd = cluster.map(|cluster| cluster.api.with(|store| store.snapshot()));
        state
            .layers
            .insert(volume.to_owned(), Layer { disk, etcd, since });
    }

    /// On the disk is again what was kept of it: what was written to the API of its cluster since then is lost.
    pub(crate) fn revert(&self, volume: &str) {
        let process = self.next_server();
        let restored = self.0.timers.now();
        let mut state = self.lock();
        let Some(layer) = state.layers.remove(volume) else {
            return;
        };
        let mut disk = layer.disk;
        if let Some((cluster, etcd)) = disk.cluster.as_mut().zip(layer.etcd) {
            cluster.answers = false;
            cluster.process = process;
            cluster.api.with(|store| store.restore(&etcd, 0));
            state.restores.push(Restored {
                address: cluster.address,
                taken: layer.since,
                restored,
            });
        }
        state.disks.insert(volume.to_owned(), disk);
    }
}
