//! The jobs that replace what a control plane runs. A cluster's objects stay.

use std::sync::Arc;
use std::time::Duration;

use super::{Job, Machines, REACHED_WITHIN, REPLACED_WITHIN, Run};
use crate::cluster;
use crate::control_plane::Manifests;

impl Machines {
    /// From the beginning of a replacement to the moment when the manifests are replaced, and from there to its end.
    pub(super) fn replacement(&self) -> (Duration, Duration) {
        let all = self.timing().control_plane;
        let before = all / 5;
        (before, all.saturating_sub(before))
    }

    pub(super) fn replace_control_plane(&self, run: &Arc<Run>) {
        let missing = self.in_job(run, |disk| {
            let (upgrade, to) = (&run.script.upgrade, &run.script.to);
            // A kubelet's own replacement brings the other programs too, and what Preload had put there goes.
            let has_programs =
                disk.upgrades.programs(upgrade) == Some(to) || disk.kubelet.as_ref() == Some(to);
            if disk.cluster.is_none() {
                Some("this machine is no control plane".to_owned())
            } else if disk.upgrades.saved(upgrade).is_none() {
                Some("there is no snapshot to go back to".to_owned())
            } else if !has_programs {
                Some(format!("there is no kubeadm {to}"))
            } else {
                None
            }
        });
        match missing {
            None => {}
            Some(Some(why)) => self.refuse(run, &why),
            Some(None) => self.when_served(run, REACHED_WITHIN, None, Self::configure),
        }
    }

    fn configure(&self, run: &Arc<Run>) {
        let (job, to) = (run.script.job, &run.script.to);
        let Some(serves) = self.served(run) else { return };
        if job != Job::ControlPlane && serves.version != *to {
            let why = format!("found an API server {}, expected {to}", serves.version);
            return self.refuse(run, &why);
        }
        if job == Job::Etcd && serves.emulated.is_some() {
            return self.refuse(run, "the API server still emulates another version");
        }
        if let Some(text) = &run.script.configuration
            && self.in_api(run, |store, _| cluster::set_configuration(store, text)) != Some(true)
        {
            return self.refuse(run, "replace_configuration did not succeed in time");
        }
        let (before, _) = self.replacement();
        self.step(run, before, Self::replace_manifests);
    }

    /// All of them in one instant: a loss of power finds the old ones, or the new ones.
    fn replace_manifests(&self, run: &Arc<Run>) {
        let script = &run.script;
        let changed = self.in_job(run, |disk| {
            let cluster = disk.cluster.as_mut()?;
            let (emulated, etcd) = match script.job {
                Job::ControlPlane => (script.emulated.clone(), cluster.manifests.etcd.clone()),
                Job::Etcd => (None, script.to.clone()),
                _ => (None, cluster.manifests.etcd.clone()),
            };
            let wanted = Manifests {
                version: script.to.clone(),
                emulated,
                etcd,
            };
            if cluster.manifests == wanted {
                return None;
            }
            cluster.manifests = wanted;
            cluster.changed_by = Some(script.upgrade.clone());
            Some(())
        });
        // What is as it shall be is not restarted.
        if changed.flatten().is_some() {
            self.restart_api(&run.boot, Self::show_components);
        }
        let (_, rest) = self.replacement();
        self.step(run, rest, |machines, run| {
            let to = Some(run.script.to.clone());
            machines.when_served(run, REPLACED_WITHIN, to, Self::control_plane_replaced);
        });
    }

    fn control_plane_replaced(&self, run: &Arc<Run>) {
        if run.script.job == Job::Commit {
            let to = &run.script.to;
            let written = self.in_api(run, |store, _| {
                let text = cluster::configuration(store)?;
                cluster::set_configuration(store, &of_version(&text, to)).then_some(())
            });
            if written.flatten().is_none() {
                return self.refuse(run, "phase upload-config did not succeed in time");
            }
        }
        self.finish(run);
    }
}

/// The `ClusterConfiguration` with that version, and as it is otherwise.
fn of_version(text: &str, version: &str) -> String {
    const KEY: &str = "kubernetesVersion:";
    let lines = text.lines().filter(|line| !line.starts_with(KEY));
    let mut changed: String = lines.flat_map(|line| [line, "\n"]).collect();
    changed.extend([KEY, " ", version, "\n"]);
    changed
}

#[cfg(test)]
mod tests {
    use super::of_version;

    #[test]
    fn the_version_alone_is_another_one() {
        let text = "kind: ClusterConfiguration\nkubernetesVersion: v1.35.4\netcd:\n  kubernetesVersion: x\n";
        assert_eq!(
            of_version(text, "v1.36.3"),
            "kind: ClusterConfiguration\netcd:\n  kubernetesVersion: x\nkubernetesVersion: v1.36.3\n"
        );
    }
}
