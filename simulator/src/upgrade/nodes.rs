//! The jobs that replace a kubelet, and what runs on every node.

use std::sync::Arc;

use super::{Machines, REACHED_WITHIN, Run};
use crate::cluster;

impl Machines {
    pub(super) fn replace_kubelet(&self, run: &Arc<Run>) {
        let is_new = self.in_job(run, |disk| {
            let is_new = disk.kubelet.as_ref() == Some(&run.script.to);
            if is_new {
                disk.upgrades.set_programs(&run.script.upgrade, None);
            }
            is_new
        });
        if is_new == Some(true) {
            self.finish(run);
        } else {
            self.when_served(run, REACHED_WITHIN, None, Self::install_kubelet);
        }
    }

    fn install_kubelet(&self, run: &Arc<Run>) {
        let Some(serves) = self.served(run) else { return };
        let to = &run.script.to;
        if minor(to) > minor(serves.behaves_like()) {
            let why = format!(
                "kubelet {to} is newer than the API server, which behaves like {}",
                serves.behaves_like()
            );
            return self.refuse(run, &why);
        }
        let installed = self.in_job(run, |disk| {
            if disk.upgrades.programs(&run.script.upgrade) != Some(to) {
                let found = disk.kubelet.as_deref().unwrap_or("none");
                return Err(format!(
                    "found kubelet {found}, expected {to}: what Preload had put there is gone"
                ));
            }
            disk.upgrades.set_programs(&run.script.upgrade, None);
            let before = disk.kubelet.replace(to.clone());
            disk.upgrades.keep_before(&run.script.upgrade, before);
            let manifests = disk.cluster.as_ref().map(|cluster| cluster.manifests.clone());
            Ok((disk.node.clone(), manifests))
        });
        match installed {
            None => return,
            Some(Err(why)) => return self.refuse(run, &why),
            // A kubelet that begins says that it is not Ready first.
            Some(Ok((Some((node, _)), manifests))) => {
                self.in_api(run, |store, now| {
                    cluster::register(store, &node, manifests.as_ref(), to, now);
                });
            }
            Some(Ok((None, _))) => {}
        }
        self.finish(run);
        self.report_ready(&run.boot);
    }

    pub(super) fn addons(&self, run: &Arc<Run>) {
        if self.in_job(run, |disk| disk.cluster.is_some()) == Some(false) {
            return self.refuse(run, "this machine is no control plane");
        }
        self.step(run, self.timing().addons, |machines, run| {
            machines.when_served(run, REACHED_WITHIN, None, |machines, run| machines.finish(run));
        });
    }
}

/// The first two numbers of a version.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
