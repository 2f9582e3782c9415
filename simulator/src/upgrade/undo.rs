//! The jobs that take back what others did.

use std::sync::Arc;

use super::{Machines, REPLACED_WITHIN, Run};
use crate::cluster;

impl Machines {
    pub(super) fn undo_snapshot(&self, run: &Arc<Run>) {
        self.in_job(run, |disk| disk.upgrades.forget(&run.script.upgrade));
        self.finish(run);
    }

    pub(super) fn undo_preload(&self, run: &Arc<Run>) {
        self.in_job(run, |disk| disk.upgrades.forget_programs(&run.script.upgrade));
        self.finish(run);
    }

    /// The API is not asked: what a kubelet is, it tells when it can.
    pub(super) fn undo_kubelet(&self, run: &Arc<Run>) {
        let from = &run.script.from;
        let put_back = self.in_job(run, |disk| {
            if let Some(before) = disk.upgrades.before(&run.script.upgrade) {
                disk.kubelet = Some(before.clone());
            }
            disk.kubelet.clone()
        });
        match put_back {
            None => {}
            Some(found) if found.as_ref() == Some(from) => {
                self.finish(run);
                self.report_ready(&run.boot);
            }
            Some(found) => {
                let found = found.unwrap_or_else(|| "none".to_owned());
                let why = format!("found kubelet {found}, expected {from}: what was kept of it is gone");
                self.refuse(run, &why);
            }
        }
    }

    /// Where nothing was kept nothing was changed either, or it cannot be put back.
    pub(super) fn undo_control_plane(&self, run: &Arc<Run>) {
        let upgrade = &run.script.upgrade;
        let known = self.in_job(run, |disk| {
            let changed = disk
                .cluster
                .as_ref()
                .and_then(|cluster| cluster.changed_by.as_ref());
            (disk.upgrades.saved(upgrade).is_some(), changed == Some(upgrade))
        });
        match known {
            None => {}
            Some((true, _)) => {
                let (before, _) = self.replacement();
                self.step(run, before, Self::restore_manifests);
            }
            Some((false, true)) => self.refuse(run, "there is no snapshot to restore from"),
            Some((false, false)) => self.finish(run),
        }
    }

    fn restore_manifests(&self, run: &Arc<Run>) {
        let changed = self.in_job(run, |disk| {
            let saved = disk.upgrades.saved(&run.script.upgrade)?.manifests.clone();
            let cluster = disk.cluster.as_mut()?;
            cluster.changed_by = None;
            (std::mem::replace(&mut cluster.manifests, saved.clone()) != saved).then_some(())
        });
        if changed.flatten().is_some() {
            self.restart_api(&run.boot, Self::show_components);
        }
        let (_, rest) = self.replacement();
        self.step(run, rest, |machines, run| {
            let from = Some(run.script.from.clone());
            machines.when_served(run, REPLACED_WITHIN, from, Self::restore_configuration);
        });
    }

    fn restore_configuration(&self, run: &Arc<Run>) {
        let saved = self.in_job(run, |disk| {
            let saved = disk.upgrades.saved(&run.script.upgrade)?;
            Some(saved.configuration.clone())
        });
        let Some(text) = saved.flatten() else {
            return self.refuse(run, "there is no snapshot to restore from");
        };
        let written = self.in_api(run, |store, _| {
            cluster::configuration(store).as_ref() == Some(&text) || cluster::set_configuration(store, &text)
        });
        if written == Some(true) {
            self.finish(run);
        } else {
            self.refuse(run, "kubeadm's configuration could not be put back");
        }
    }
}
