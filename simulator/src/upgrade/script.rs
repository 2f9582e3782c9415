//! What a job of an upgrade says of itself.

use seedbed_guest::simulated::Begun;
use seedbed_kubeadm::upgrade::Job;

/// What a job of an upgrade says of itself in the first lines of its script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(super) job: Job,
    /// UID of the upgrade.
    pub(super) upgrade: String,
    /// The version of before, and the new one.
    pub(super) from: String,
    pub(super) to: String,
    /// The minor version that the new control plane behaves like, if not its own.
    pub(super) emulated: Option<String>,
    /// Whether it takes something back.
    pub(super) undo: bool,
    /// What the guest would see the upgrade disk as.
    pub(super) serial: String,
    /// Tokens of earlier attempts.
    pub(crate) stop: Vec<String>,
    /// kubeadm's `ClusterConfiguration`, where the job brings one.
    pub(super) configuration: Option<String>,
}

impl Script {
    /// Reads it; none where the job is none of an upgrade.
    pub(crate) fn read(begun: &Begun) -> Option<Self> {
        let value = |wanted: &str| {
            let mut lines = begun.script.lines().map_while(assignment);
            lines.find(|(name, _)| *name == wanted).map(|(_, value)| value)
        };
        let text = |name: &str| value(name).unwrap_or_default().to_owned();
        let work = value("work")?;
        let configuration = begun
            .own
            .iter()
            .find(|file| file.path == format!("{work}/cluster-configuration.yaml"))
            .map(|file| String::from_utf8_lossy(&file.content).into_owned());
        Some(Self {
            job: named(value("job")?)?,
            upgrade: value("upgrade")?.to_owned(),
            from: text("from"),
            to: text("to"),
            emulated: Some(text("emulated")).filter(|minor| !minor.is_empty()),
            undo: value("undo") == Some("yes"),
            serial: text("serial"),
            stop: text("stop").split_whitespace().map(str::to_owned).collect(),
            configuration,
        })
    }
}

/// The job of that name.
fn named(name: &str) -> Option<Job> {
    Job::ALL.into_iter().find(|job| job.name() == name)
}

/// A line `name='value'`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once("='")?;
    let is_name = name.chars().all(|c| c.is_ascii_lowercase());
    Some((name, value.strip_suffix('\'')?)).filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(script: &str) -> Begun {
        Begun {
            token: "t".to_owned(),
            script: script.to_owned(),
            files: Vec::new(),
            own: Vec::new(),
        }
    }

    #[test]
    fn the_first_lines_say_what_it_is() {
        let text = "job='kubelet'\nupgrade='u'\nfrom='v1.35.4'\nto='v1.36.3'\nemulated=''\nundo='no'\nwork='/run/seedbed/t'\nstop='a b'\nset -eu\nto='x'\n";
        let script = Script::read(&begun(text)).unwrap();
        assert_eq!(script.job, Job::Kubelet);
        assert_eq!((script.from.as_str(), script.to.as_str()), ("v1.35.4", "v1.36.3"));
        assert_eq!((script.emulated, script.undo), (None, false));
        assert_eq!(script.stop, ["a", "b"]);
    }

    #[test]
    fn other_scripts_are_none() {
        for text in [
            "",
            "set -eu\njob='kubelet'\n",
            "job='dance'\nupgrade='u'\nwork='w'\n",
        ] {
            assert_eq!(Script::read(&begun(text)), None, "{text}");
        }
    }
}
