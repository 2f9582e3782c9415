//! The jobs that change nothing that runs: what an upgrade is undone with, and what it is done with.

use std::sync::{Arc, Weak};

use super::{Machines, REACHED_WITHIN, Run, Saved};
use crate::cluster;

impl Machines {
    pub(super) fn snapshot(&self, run: &Arc<Run>) {
        let known = self.in_job(run, |disk| {
            disk.upgrades.forget_others(&run.script.upgrade);
            (
                disk.cluster.is_some(),
                disk.upgrades.saved(&run.script.upgrade).is_some(),
            )
        });
        match known {
            None => {}
            Some((_, true)) => self.finish(run),
            Some((false, _)) => self.refuse(run, "no container of etcd runs"),
            Some((true, false)) => self.step(run, self.timing().snapshot, |machines, run| {
                machines.when_served(run, REACHED_WITHIN, None, Self::save);
            }),
        }
    }

    fn save(&self, run: &Arc<Run>) {
        let seen = self.in_api(run, |store, now| {
            Some((cluster::configuration(store)?, store.snapshot(), now))
        });
        let Some((configuration, etcd, taken)) = seen.flatten() else {
            self.refuse(run, "there is no ConfigMap kube-system/kubeadm-config");
            return;
        };
        self.in_job(run, |disk| {
            let manifests = disk.cluster.as_ref()?.manifests.clone();
            let saved = Saved {
                manifests,
                etcd,
                taken,
                is_damaged: false,
                configuration,
            };
            disk.upgrades.save(&run.script.upgrade, saved);
            Some(())
        });
        self.finish(run);
    }

    pub(super) fn preload(&self, run: &Arc<Run>) {
        let there_are = self.in_job(run, |disk| {
            disk.upgrades.forget_others(&run.script.upgrade);
            disk.upgrades.programs(&run.script.upgrade).is_some()
        });
        if there_are == Some(true) {
            self.finish(run);
            return;
        }
        self.step(run, self.timing().preload, |machines, run| {
            if !machines.has_upgrade_disk(run) {
                let why = format!("the upgrade disk {} did not appear", run.script.serial);
                machines.refuse(run, &why);
                return;
            }
            machines.in_job(run, |disk| {
                disk.upgrades
                    .set_programs(&run.script.upgrade, Some(&run.script.to));
            });
            machines.finish(run);
        });
    }

    /// Whether the machine sees the upgrade disk.
    fn has_upgrade_disk(&self, run: &Run) -> bool {
        let host = self.0.host.get().and_then(Weak::upgrade);
        host.is_some_and(|host| {
            let disks = host.attached(&run.boot.domain);
            disks.iter().any(|disk| disk.serial == run.script.serial)
        })
    }
}
