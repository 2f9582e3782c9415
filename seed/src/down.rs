//! Taking an instance down until nothing of it is left on the machine.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    error::{Error, Result},
    instance::{Instance, Mode, Settings},
    kubectl::Kubectl,
    leftovers, libvirt,
    namespace::Namespaces,
    report::{Outcome, Report},
    slots::Slots,
    supervisor::Control,
};

/// How an instance is taken down.
#[derive(Clone, Copy, Debug)]
pub struct DownOptions {
    /// Do not ask the operator to delete the clusters; remove what is provably of this instance.
    pub force: bool,
    /// How long the operator may take to delete the clusters.
    pub patience: Duration,
}

impl Default for DownOptions {
    fn default() -> Self {
        Self {
            force: false,
            patience: Duration::from_mins(10),
        }
    }
}

impl Instance {
    /// Deletes the clusters, stops everything and removes it. An instance that does not exist is no error.
    pub fn down(&self, options: DownOptions, report: &mut dyn Report) -> Result<()> {
        if !self.root().exists() {
            self.is_not_there(report);
            return Ok(());
        }
        let lock =
            self.lock(|| report.begin("lock", "waiting for another run that works on this instance"))?;
        let there = self.folder().exists();
        // Without settings, `up` was interrupted before it did anything.
        if let Some(settings) = self.settings()? {
            self.take_down(&settings, options, report)?;
        }
        self.remove_folder()?;
        Slots::open(self.root())?.give_back(self.name())?;
        self.remove_traces()?;
        drop(lock);
        if there {
            report.end(
                "instance",
                &Outcome::Changed(format!("{self} is gone, nothing of it is left")),
            );
        } else {
            self.is_not_there(report);
        }
        Ok(())
    }

    fn is_not_there(&self, report: &mut dyn Report) {
        let folder = self.folder().display().to_string();
        report.end(
            "instance",
            &Outcome::Unchanged(format!("{self} is not there ({folder})")),
        );
    }

    fn take_down(&self, settings: &Settings, options: DownOptions, report: &mut dyn Report) -> Result<()> {
        if !options.force {
            let deleted = delete_clusters(self, settings, options.patience, report)?;
            if deleted && settings.mode == Mode::Namespace {
                self.refuse_to_lose_machines(settings)?;
            }
        }
        let stopped = Control::of(self).stop()?;
        let outcome = match stopped {
            0 => Outcome::Unchanged("none was running".to_owned()),
            _ => Outcome::Changed("operator, kube-apiserver, etcd and their supervisor stopped".to_owned()),
        };
        report.end("processes", &outcome);
        match settings.mode {
            Mode::Namespace => {
                let namespaces = Namespaces::of(self);
                let there = namespaces.remove()?;
                let what = format!(
                    "network namespace {} with all that ran in it",
                    namespaces.net_name
                );
                report.end("namespaces", &Outcome::of(there, what));
            }
            Mode::System => {
                let removed = leftovers::remove(self, settings)?;
                let what = if removed.is_empty() {
                    "nothing left on it".to_owned()
                } else {
                    removed.join(", ")
                };
                report.end("libvirt", &Outcome::of(!removed.is_empty(), what));
            }
            // Its machines ended with the simulator.
            Mode::None => {}
        }
        let left = Namespaces::of(self).left()?;
        if !left.is_empty() {
            return Err(Error::Left {
                what: format!("the instance {self}"),
                left,
            });
        }
        Ok(())
    }

    /// Machines that are left when all clusters are deleted were kept on purpose, and would go with the instance's libvirt.
    fn refuse_to_lose_machines(&self, settings: &Settings) -> Result<()> {
        let kept = libvirt::names(self, settings, "list the machines", &["list", "--all", "--name"])?;
        if kept.is_empty() {
            return Ok(());
        }
        Err(Error::unexpected(
            format!("the libvirt of the instance {self}"),
            format!("machines that no cluster owns: {}", kept.join(", ")),
            "none, since they would go with it (they were left by `deletionPolicy: Retain`, or made by hand): remove them with \
             `make run CMD='virsh undefine …'`, or run `make down FORCE=1`",
        ))
    }

    /// Removes the folder. Half of one must not be taken for an instance, so it loses its name first.
    fn remove_folder(&self) -> Result<()> {
        let doomed = self.root().join(format!(".removing-{self}"));
        remove_tree(&doomed)?;
        match fs::rename(self.folder(), &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::file("rename", self.folder())(error)),
            Ok(()) => remove_tree(&doomed),
        }
    }
}

fn remove_tree(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Deletes all clusters through the API, so that the operator does it in its order, and waits for the end of it. Returns
/// whether there are none any more; no means that the seed could not be asked.
fn delete_clusters(
    instance: &Instance,
    settings: &Settings,
    patience: Duration,
    report: &mut dyn Report,
) -> Result<bool> {
    let kubectl = Kubectl::of(instance, settings);
    let what = "devclusters.seedbed.dev";
    let Some(found) = clusters(instance, &kubectl, report)? else {
        return Ok(false);
    };
    if found.is_empty() {
        report.end("clusters", &Outcome::Unchanged("none".to_owned()));
        return Ok(true);
    }
    report.begin("clusters", &format!("deleting {}", names(&found).join(", ")));
    kubectl.run(
        "delete the clusters",
        &["delete", what, "--all", "--all-namespaces", "--wait=false"],
    )?;
    let until = Instant::now() + patience;
    let mut said = String::new();
    loop {
        let Some(left) = clusters(instance, &kubectl, report)? else {
            return Ok(false);
        };
        if left.is_empty() {
            report.end(
                "clusters",
                &Outcome::Changed(format!("{} deleted", names(&found).join(", "))),
            );
            return Ok(true);
        }
        let state: Vec<_> = left.iter().map(why_not_gone).collect();
        let state = state.join("; ");
        if Instant::now() > until {
            return Err(Error::TimedOut {
                what: "the clusters were not deleted (`make down FORCE=1` removes the instance all the same)"
                    .to_owned(),
                limit: patience,
                found: state,
                log: instance.log(crate::up::OPERATOR_UNIT),
            });
        }
        if state != said {
            report.begin("clusters", &state);
            said = state;
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// How long a seed that runs may take to answer: one whose processes were killed is just being started again.
const ANSWER_LIMIT: Duration = Duration::from_secs(45);

/// The clusters of the seed; none where the seed does not run, which is said.
fn clusters(instance: &Instance, kubectl: &Kubectl, report: &mut dyn Report) -> Result<Option<Vec<Value>>> {
    let arguments = [
        "get",
        "devclusters.seedbed.dev",
        "--all-namespaces",
        "--request-timeout=10s",
    ];
    let until = Instant::now() + ANSWER_LIMIT;
    loop {
        if Control::of(instance).running()?.is_none() {
            let what = "the seed does not run; its machines are removed with it";
            report.end("clusters", &Outcome::Unchanged(what.to_owned()));
            return Ok(None);
        }
        let found = match kubectl.json("list the clusters", &arguments) {
            Ok(list) => return Ok(Some(list["items"].as_array().cloned().unwrap_or_default())),
            Err(Error::Command { output, .. })
                if output.contains("the server doesn't have a resource type") =>
            {
                return Ok(Some(Vec::new()));
            }
            Err(Error::Command { output, .. }) => output,
            Err(error) => return Err(error),
        };
        if Instant::now() > until {
            return Err(Error::TimedOut {
                what: "the seed did not say which clusters there are (`make down FORCE=1` removes the instance all the same)"
                    .to_owned(),
                limit: ANSWER_LIMIT,
                found,
                log: instance.log("kube-apiserver"),
            });
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn names(clusters: &[Value]) -> Vec<String> {
    clusters.iter().map(name).collect()
}

fn name(cluster: &Value) -> String {
    let metadata = &cluster["metadata"];
    let part = |key: &str| metadata[key].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

/// What the operator says of a cluster that is being deleted.
fn why_not_gone(cluster: &Value) -> String {
    let conditions = cluster["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .into_iter()
        .find(|condition| condition["type"] == "Ready");
    let text = |key: &str| {
        ready
            .and_then(|ready| ready[key].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    match (text("reason"), text("message")) {
        (reason, _) if reason.is_empty() => format!("{} says nothing yet", name(cluster)),
        (reason, message) => format!("{} {reason}: {message}", name(cluster)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{report::Silent, testing::folder};

    #[test]
    fn a_cluster_that_stays_says_why() {
        let cluster = json!({
            "metadata": {"namespace": "default", "name": "demo"},
            "status": {"conditions": [{"type": "Ready", "reason": "Deleting", "message": "2 machines left"}]},
        });
        assert_eq!(why_not_gone(&cluster), "default/demo Deleting: 2 machines left");
    }

    #[test]
    fn taking_down_what_is_not_there_is_no_error() {
        let root = folder("down");
        let instance = Instance::below(&root.join("state"), "t").unwrap();
        instance.down(DownOptions::default(), &mut Silent).unwrap();
        assert!(!root.join("state").exists());
    }

    #[test]
    fn what_interrupted_runs_left_is_removed() {
        let root = folder("down-left");
        let state = root.join("state");
        let instance = Instance::below(&state, "t").unwrap();
        fs::create_dir_all(state.join(".removing-t/etcd")).unwrap();
        fs::create_dir_all(instance.folder()).unwrap();
        instance.down(DownOptions::default(), &mut Silent).unwrap();
        assert!(!state.exists());
    }
}
