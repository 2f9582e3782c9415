//! The jobs of an upgrade.
//!
//! A job is steps with time between them. It goes on only while its unit runs: what a job that was cut off would have done does not
//! happen. What a kubelet does because files were replaced is not the job's, and happens all the same.

mod control_plane;
mod kept;
mod nodes;
mod prepare;
mod restore;
mod script;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use seedbed_kubeadm::upgrade::Job;
use seedbed_simulated_api::Store;

use crate::control_plane::Manifests;
use crate::machines::{Boot, Disk, Machines};
pub(crate) use kept::Kept;
pub use kept::Leftover;
use kept::Saved;
pub use restore::Restored;
pub(crate) use script::Script;

/// Between two attempts to reach the API server.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a job tries to reach the API server.
const REACHED_WITHIN: Duration = Duration::from_mins(5);
/// How long a job waits for an API server that is to be another one.
const REPLACED_WITHIN: Duration = Duration::from_mins(15);

/// A job that runs.
struct Run {
    boot: Boot,
    token: String,
    script: Script,
    /// It fails after it did what it does.
    fails: bool,
}

/// What a job does next.
type Next = fn(&Machines, &Arc<Run>);

impl Machines {
    /// What upgrades left in the guest that is on under that name.
    pub fn upgrade_leftovers(&self, domain: &str) -> Vec<Leftover> {
        let state = self.lock();
        let disk = state
            .on
            .get(domain)
            .and_then(|power| state.disks.get(&power.disk));
        disk.map(|disk| disk.upgrades.all()).unwrap_or_default()
    }

    pub(crate) fn begin_upgrade(&self, boot: Boot, token: String, script: Script, fails: bool) {
        let run = &Arc::new(Run {
            boot,
            token,
            script,
            fails,
        });
        let is_undone = self.in_job(run, |disk| {
            if run.script.undo && run.script.job != Job::PrepareRestore {
                disk.upgrades.set_undone(&run.script.upgrade);
            }
            !run.script.undo && disk.upgrades.is_undone(&run.script.upgrade)
        });
        if is_undone == Some(true) {
            self.refuse(run, "the upgrade is being undone");
            return;
        }
        match run.script.job {
            Job::Snapshot => self.snapshot(run),
            Job::Preload => self.preload(run),
            Job::ControlPlane | Job::Commit | Job::Etcd => self.replace_control_plane(run),
            Job::Kubelet => self.step(run, self.timing().kubelet, Self::replace_kubelet),
            Job::Addons => self.addons(run),
            Job::UndoSnapshot => self.step(run, self.timing().snapshot, Self::undo_snapshot),
            Job::UndoPreload => self.step(run, self.timing().snapshot, Self::undo_preload),
            Job::UndoControlPlane => self.undo_control_plane(run),
            Job::UndoKubelet => self.step(run, self.timing().kubelet, Self::undo_kubelet),
            Job::PrepareRestore => self.step(run, self.timing().snapshot, Self::prepare_restore),
            Job::Restore => self.restore(run),
        }
    }

    /// Does something with the disk of the job's machine, if the job runs.
    fn in_job<T>(&self, run: &Run, work: impl FnOnce(&mut Disk) -> T) -> Option<T> {
        let done = self.in_boot(&run.boot, |disk| disk.os.runs(&run.token).then(|| work(disk)));
        done.flatten()
    }

    /// The job goes on after that long.
    fn step(&self, run: &Arc<Run>, delay: Duration, next: Next) {
        let run = run.clone();
        self.after(delay, move |machines| {
            if machines.in_job(&run, |_| ()).is_some() {
                next(machines, &run);
            }
        });
    }

    /// The job goes on once it reaches an API server, of that version where one is given.
    fn when_served(&self, run: &Arc<Run>, limit: Duration, version: Option<String>, next: Next) {
        let deadline = self.time_after(limit);
        self.ask_for_version(run, deadline, version, next);
    }

    fn ask_for_version(
        &self,
        run: &Arc<Run>,
        deadline: jiff::Timestamp,
        version: Option<String>,
        next: Next,
    ) {
        if self.in_job(run, |_| ()).is_none() {
            return;
        }
        let serves = self.served(run);
        let is_it = |serves: &Manifests| version.as_ref().is_none_or(|version| *version == serves.version);
        if serves.as_ref().is_some_and(is_it) {
            next(self, run);
        } else if self.0.timers.now() < deadline {
            let run = run.clone();
            self.after(PAUSE, move |machines| {
                machines.ask_for_version(&run, deadline, version, next);
            });
        } else {
            let found = serves.map_or("no answer".to_owned(), |serves| serves.version);
            let wanted = version.unwrap_or_else(|| "one".to_owned());
            self.refuse(
                run,
                &format!("the API server did not answer in time: found {found}, expected {wanted}"),
            );
        }
    }

    /// What the API server is that the machine's node is registered with, if it answers the machine.
    fn served(&self, run: &Run) -> Option<Manifests> {
        let (_, server) = self.in_job(run, |disk| disk.node.clone())??;
        if self.is_silent(&run.boot.domain) {
            return None;
        }
        let state = self.lock();
        let cluster = state.cluster_at(server)?;
        cluster.answers.then(|| cluster.serves.clone())
    }

    /// Does something in the API that the machine's node is registered with, if it answers the machine.
    fn in_api<T>(&self, run: &Run, work: impl FnOnce(&mut Store, jiff::Timestamp) -> T) -> Option<T> {
        let (_, server) = self.in_job(run, |disk| disk.node.clone())??;
        if self.is_silent(&run.boot.domain) {
            return None;
        }
        self.with_api(server, work)
    }

    /// The job fails.
    fn refuse(&self, run: &Run, why: &str) {
        self.in_job(run, |disk| {
            disk.os.log(&run.token, &format!("seedbed: {why}\n"));
            disk.os.end(&run.token, 1);
        });
    }

    /// The job did all that it does.
    fn finish(&self, run: &Run) {
        if run.fails {
            self.fail(&run.boot, &run.token, "late");
        } else {
            self.in_job(run, |disk| disk.os.end(&run.token, 0));
        }
    }
}
