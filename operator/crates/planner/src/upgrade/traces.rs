//! What an upgrade leaves in a cluster, and how far it must have been: for one of which nothing is recorded any more.

use super::version::{Version, hop};

/// What was seen of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// The version that its API server runs.
    pub serves: Version,
    /// The minor version that the API server behaves like, such as `1.35`, where it says so.
    pub behaves_like: Option<String>,
    /// The version in kubeadm's configuration, which `Commit` changes as the last thing.
    pub configured: Version,
    /// Whether kubeadm's configuration has the API server emulate an older version.
    pub emulates: bool,
    /// Versions of the kubelets.
    pub kubelets: Vec<Version>,
}

/// How far an upgrade was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The version of before.
    pub from: Version,
    /// Whether `Commit` was begun.
    pub passed: bool,
}

/// How far an upgrade to that version was; none where nothing speaks of one.
pub fn progress(traces: &Traces, to: Version) -> Option<Progress> {
    let from = if traces.configured == to {
        let older = traces
            .kubelets
            .iter()
            .filter(|kubelet| hop(**kubelet, to).is_ok());
        *older.max()?
    } else {
        traces.configured
    };
    hop(from, to).ok()?;
    if traces.serves != from && traces.serves != to {
        return None;
    }
    // Commit takes the emulation out of the configuration first; going back, the API server is the old one before the configuration is.
    let ends_emulation = from.series() != to.series()
        && traces.serves == to
        && (!traces.emulates || traces.behaves_like == Some(to.series()));
    Some(Progress {
        from,
        passed: traces.configured == to || ends_emulation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "v1.35.4";
    const NEW: &str = "v1.36.3";

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn traces(
        serves: &str,
        behaves_like: &str,
        configured: &str,
        emulates: bool,
        kubelets: &[&str],
    ) -> Traces {
        Traces {
            serves: version(serves),
            behaves_like: Some(behaves_like.to_owned()),
            configured: version(configured),
            emulates,
            kubelets: kubelets.iter().map(|text| version(text)).collect(),
        }
    }

    fn passed(traces: &Traces) -> Option<bool> {
        let progress = progress(traces, version(NEW))?;
        assert_eq!(progress.from, version(OLD));
        Some(progress.passed)
    }

    #[test]
    fn before_commit_it_can_be_taken_back() {
        for traces in [
            traces(OLD, "1.35", OLD, false, &[OLD]),
            traces(OLD, "1.35", OLD, true, &[OLD]),
            traces(NEW, "1.35", OLD, true, &[OLD]),
        ] {
            assert_eq!(passed(&traces), Some(false), "{traces:?}");
        }
    }

    #[test]
    fn from_the_first_thing_that_commit_changes_it_cannot() {
        for traces in [
            traces(NEW, "1.35", OLD, false, &[OLD]),
            traces(NEW, "1.36", OLD, false, &[OLD]),
            traces(NEW, "1.36", NEW, false, &[OLD]),
            traces(NEW, "1.36", NEW, false, &[NEW, OLD]),
        ] {
            assert_eq!(passed(&traces), Some(true), "{traces:?}");
        }
    }

    #[test]
    fn between_patches_the_configuration_alone_tells() {
        let to = version("v1.35.6");
        let at = |configured| {
            let traces = traces("v1.35.6", "1.35", configured, false, &[OLD]);
            progress(&traces, to).map(|progress| progress.passed)
        };
        assert_eq!(at(OLD), Some(false));
        assert_eq!(at("v1.35.6"), Some(true));
    }

    #[test]
    fn where_all_is_new_or_of_another_version_nothing_speaks_of_one() {
        for traces in [
            traces(NEW, "1.36", NEW, false, &[NEW, NEW]),
            traces("v1.37.0", "1.37", "v1.37.0", false, &["v1.37.0"]),
            traces("v1.37.0", "1.37", OLD, false, &[OLD]),
            traces("v1.34.1", "1.34", "v1.34.1", false, &["v1.34.1"]),
        ] {
            assert_eq!(passed(&traces), None, "{traces:?}");
        }
    }
}
