//! A machine's node, as its kubelet and its cluster tell it.

use std::net::Ipv4Addr;

use crate::cluster;
use crate::machines::{Boot, Machines, State};

impl Machines {
    /// The nodes of the cluster at that address whose machines have power, and the versions of their kubelets, by the nodes' names.
    pub fn kubelets(&self, address: Ipv4Addr) -> Vec<(String, String)> {
        let state = self.lock();
        let disks = state.on.values().filter_map(|power| state.disks.get(&power.disk));
        let mut found: Vec<_> = disks
            .filter_map(|disk| disk.node.as_ref().zip(disk.kubelet.clone()))
            .filter(|((_, of), _)| *of == address)
            .map(|((node, _), kubelet)| (node.name.clone(), kubelet))
            .collect();
        found.sort();
        found
    }

    /// The kubelet of a machine, if it is a node, registers it where it is not and says that it is Ready, as soon as it can.
    pub(crate) fn report_ready(&self, boot: &Boot) {
        let boot = boot.clone();
        self.after(self.timing().node_ready, move |machines| {
            let known = machines.in_boot(&boot, |disk| {
                let manifests = disk.cluster.as_ref().map(|cluster| cluster.manifests.clone());
                Some((disk.node.clone()?, disk.kubelet.clone()?, manifests))
            });
            let Some(((node, server), kubelet, manifests)) = known.flatten() else {
                return;
            };
            let told = (!machines.is_silent(&boot.domain)).then_some(()).and_then(|()| {
                machines.with_api(server, |store, now| {
                    cluster::register(store, &node, manifests.as_ref(), &kubelet, now);
                    cluster::set_ready(store, &node.name, true, now);
                })
            });
            if told.is_none() {
                machines.report_ready(&boot);
            }
        });
    }

    /// Nobody heard for a while of those of the cluster's nodes that have such a name: they are not Ready any more, but where a machine
    /// runs that is this node. A cluster whose API does not answer notices that when it does.
    pub(crate) fn missed(&self, server: Ipv4Addr, of: impl Fn(&str) -> bool + Send + 'static) {
        let running = self.kubelets(server);
        let noticed = self.with_api(server, |store, now| {
            for node in cluster::nodes(store) {
                if of(&node) && !running.iter().any(|(name, _)| *name == node) {
                    cluster::set_ready(store, &node, false, now);
                }
            }
        });
        if noticed.is_none() && self.knows(server) {
            self.after(self.timing().node_monitor_grace, move |machines| {
                machines.missed(server, of);
            });
        }
    }
}

impl State {
    /// The version of the kubelet that joins the cluster at that address: that of its API server as it behaves. One that emulates the
    /// minor version of before has nodes of before.
    pub(crate) fn kubelet_to_join(&self, address: Ipv4Addr) -> Option<String> {
        let control_plane = self.control_plane_at(address)?;
        let serves = &control_plane.cluster.as_ref()?.serves;
        match &serves.emulated {
            Some(_) => control_plane.kubelet.clone(),
            None => Some(serves.version.clone()),
        }
    }
}
