//! What runs in a guest for a step of an upgrade, or to undo it.
//!
//! Each job may be run any number of times and however an earlier run ended. Its first lines say, as shell variables, what it is: the
//! step, the versions, the upgrade. Everything that an upgrade leaves in a guest is in one folder that is named by it.

mod configuration;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::{KUBEADM_PATCHES, timeouts};
use crate::document::{self, RenderError};
use crate::file::GuestFile;
use crate::job::JobFiles;
pub use configuration::{ConfigurationError, emulating, version};

/// What a guest sees the upgrade disk as: `/dev/disk/by-id/virtio-<this>`.
pub const DISK_SERIAL: &str = "seedbed-upgrade";

/// What a preflight runs in a guest, with `bash`: it tells of memory, disks, certificates and etcd, and changes nothing.
pub const FACTS: &str = include_str!("facts.sh");
/// What [`FACTS`] is called where it runs.
pub const FACTS_NAME: &str = "seedbed-facts";

/// A job of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Keep what the control plane is restored from.
    Snapshot,
    /// Put programs and images on the disk.
    Preload,
    /// Replace the control plane's programs.
    ControlPlane,
    /// End the emulation, and note the new version in kubeadm's configuration.
    Commit,
    /// Replace etcd.
    Etcd,
    /// Replace the kubelet.
    Kubelet,
    /// Replace kube-proxy and CoreDNS.
    Addons,
    /// Remove what [`Job::Snapshot`] kept.
    UndoSnapshot,
    /// Remove what [`Job::Preload`] put there.
    UndoPreload,
    /// Put the control plane back as it was.
    UndoControlPlane,
    /// Put the kubelet back that was there before.
    UndoKubelet,
    /// Look whether what [`Job::Snapshot`] kept is whole, and make ready what etcd is restored to. Nothing is taken back.
    PrepareRestore,
    /// Restore etcd, and put the control plane's manifests back.
    Restore,
}

const HEAD: &str = include_str!("head.sh");

impl Job {
    /// Every job.
    pub const ALL: [Self; 13] = [
        Self::Snapshot,
        Self::Preload,
        Self::ControlPlane,
        Self::Commit,
        Self::Etcd,
        Self::Kubelet,
        Self::Addons,
        Self::UndoSnapshot,
        Self::UndoPreload,
        Self::UndoControlPlane,
        Self::UndoKubelet,
        Self::PrepareRestore,
        Self::Restore,
    ];

    /// Its name, in the first line of its script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Preload => "preload",
            Self::ControlPlane => "control-plane",
            Self::Commit => "commit",
            Self::Etcd => "etcd",
            Self::Kubelet => "kubelet",
            Self::Addons => "addons",
            Self::UndoSnapshot => "undo-snapshot",
            Self::UndoPreload => "undo-preload",
            Self::UndoControlPlane => "undo-control-plane",
            Self::UndoKubelet => "undo-kubelet",
            Self::PrepareRestore => "prepare-restore",
            Self::Restore => "restore",
        }
    }

    /// Whether it belongs to taking something back: it may come when that has begun.
    pub fn is_undo(self) -> bool {
        matches!(
            self,
            Self::UndoSnapshot
                | Self::UndoPreload
                | Self::UndoControlPlane
                | Self::UndoKubelet
                | Self::PrepareRestore
                | Self::Restore
        )
    }

    /// Whether kubeadm's configuration in the cluster is given a new form with it.
    pub fn changes_configuration(self) -> bool {
        matches!(self, Self::ControlPlane | Self::Commit)
    }

    fn body(self) -> String {
        match self {
            Self::Snapshot => include_str!("snapshot.sh").to_owned(),
            Self::Preload => include_str!("preload.sh").to_owned(),
            Self::ControlPlane | Self::Etcd => include_str!("control-plane.sh").to_owned(),
            Self::Commit => concat!(include_str!("control-plane.sh"), include_str!("commit.sh")).to_owned(),
            Self::Kubelet => include_str!("kubelet.sh").to_owned(),
            Self::Addons => include_str!("addons.sh").to_owned(),
            Self::UndoSnapshot => include_str!("undo-snapshot.sh").to_owned(),
            Self::UndoPreload => include_str!("undo-preload.sh").to_owned(),
            Self::UndoControlPlane => include_str!("undo-control-plane.sh").to_owned(),
            Self::UndoKubelet => include_str!("undo-kubelet.sh").to_owned(),
            Self::PrepareRestore => include_str!("prepare-restore.sh").to_owned(),
            Self::Restore => {
                concat!(include_str!("prepare-restore.sh"), include_str!("restore.sh")).to_owned()
            }
        }
    }
}

/// What a job is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Which job it is.
    pub job: Job,
    /// Its token.
    pub token: String,
    /// UID of the upgrade.
    pub upgrade: String,
    /// The version of before.
    pub from: String,
    /// The new version.
    pub to: String,
    /// The minor version that the new control plane emulates, such as `1.35`, if it does.
    pub emulated: Option<String>,
    /// Tokens of earlier attempts, which may still run.
    pub stop: Vec<String>,
    /// kubeadm's `ClusterConfiguration`, where the job changes it.
    pub configuration: Option<String>,
}

/// The job's files and script.
pub fn render(input: &Input) -> Result<JobFiles, RenderError> {
    let work = format!("/run/seedbed/{}", input.token);
    let mut script = String::new();
    let undo = if input.job.is_undo() { "yes" } else { "no" };
    // None of these has a character that the shell would take for its own.
    for (name, value) in [
        ("job", input.job.name()),
        ("upgrade", &input.upgrade),
        ("from", &input.from),
        ("to", &input.to),
        ("emulated", input.emulated.as_deref().unwrap_or_default()),
        ("undo", undo),
        ("serial", DISK_SERIAL),
        ("work", &work),
        ("stop", &input.stop.join(" ")),
    ] {
        let _ = writeln!(script, "{name}='{value}'");
    }
    script.push_str(HEAD);
    script.push_str(&input.job.body());
    let document = upgrade_configuration(input);
    let mut files = vec![GuestFile::public(
        format!("{work}/upgrade.yaml"),
        document::value_to_yaml("UpgradeConfiguration", &document)?,
    )];
    if let Some(configuration) = &input.configuration {
        files.push(GuestFile::public(
            format!("{work}/cluster-configuration.yaml"),
            configuration.clone(),
        ));
    }
    Ok(JobFiles { files, script })
}

/// <https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/#kubeadm-k8s-io-v1beta4-UpgradeConfiguration>. Certificates are
/// left as they are, and etcd until its own step: what kubeadm cannot put back is not changed by the way.
fn upgrade_configuration(input: &Input) -> Value {
    let etcd = input.job == Job::Etcd;
    let mut timeouts = timeouts();
    timeouts["upgradeManifests"] = "15m0s".into();
    let patches = json!({"directory": KUBEADM_PATCHES});
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "UpgradeConfiguration",
        "apply": {
            "kubernetesVersion": input.to,
            "etcdUpgrade": etcd,
            "certificateRenewal": false,
            "forceUpgrade": true,
            "imagePullPolicy": "IfNotPresent",
            "patches": patches,
        },
        "node": {"etcdUpgrade": etcd, "certificateRenewal": false, "imagePullPolicy": "IfNotPresent", "patches": patches},
        "timeouts": timeouts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(job: Job) -> Input {
        Input {
            job,
            token: "abc123".into(),
            upgrade: "6f1c".into(),
            from: "v1.35.4".into(),
            to: "v1.36.3".into(),
            emulated: Some("1.35".into()),
            stop: vec!["old1".into()],
            configuration: job
                .changes_configuration()
                .then(|| "kind: ClusterConfiguration\n".into()),
        }
    }

    #[test]
    fn every_script_is_one_that_bash_can_read() {
        let jobs = Job::ALL.map(|job| (job.name(), render(&input(job)).unwrap().script));
        for (job, script) in jobs.into_iter().chain([(FACTS_NAME, FACTS.to_owned())]) {
            let file = tempfile(&script);
            let read = std::process::Command::new("bash")
                .arg("-n")
                .arg(&file)
                .output()
                .unwrap();
            std::fs::remove_file(&file).unwrap();
            assert!(
                read.status.success(),
                "{job:?}: {}",
                String::from_utf8_lossy(&read.stderr)
            );
        }
    }

    fn tempfile(content: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("seedbed-upgrade-{}.sh", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn etcd_is_left_alone_until_its_own_step() {
        for job in Job::ALL {
            let files = render(&input(job)).unwrap().files;
            let text = String::from_utf8(files[0].content.clone()).unwrap();
            assert_eq!(text.contains("etcdUpgrade: true"), job == Job::Etcd, "{job:?}");
            assert!(text.contains("certificateRenewal: false"));
        }
    }

    /// A name that a file was given a moment ago is not on a disk that is kept then.
    #[test]
    fn the_snapshot_is_on_the_disk_when_its_job_ends() {
        let script = render(&input(Job::Snapshot)).unwrap().script;
        assert!(
            script.ends_with("mv -- \"$part\" \"$home/saved\"\nsync\n"),
            "{script}"
        );
        for (before, _) in script.match_indices("exit 0\n") {
            assert!(script[..before].trim_end().ends_with("sync"), "{script}");
        }
    }

    #[test]
    fn what_is_undone_does_not_ask_whether_it_is_undone() {
        for job in Job::ALL {
            let script = render(&input(job)).unwrap().script;
            let expected = if job.is_undo() {
                "undo='yes'\n"
            } else {
                "undo='no'\n"
            };
            assert!(script.contains(expected), "{job:?}");
            assert_eq!(
                script.contains("touch \"$home.undone\""),
                // As long as nothing is taken back, the upgrade can go on.
                job.is_undo() && job != Job::PrepareRestore,
                "{job:?}"
            );
        }
    }
}
