//! Which version a cluster's new machines are made of.

use std::collections::BTreeSet;

use super::version::Version;

/// The version of a new worker: that of the control plane's kubelet, which no upgrade leaves newer than what the API server behaves like.
/// Before there is one, that of the spec.
pub fn of_new_workers(spec: &str, control_plane_kubelet: Option<&str>) -> String {
    match control_plane_kubelet.and_then(Version::parse) {
        Some(version) => version.to_string(),
        None => spec.to_owned(),
    }
}

/// The version of a new worker of a pool that is held back: the oldest of those that its nodes have, and none that is newer than the
/// control plane's kubelet; none where it has no node.
pub fn of_held_pool<'a>(
    control_plane_kubelet: Option<&str>,
    kubelets: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let newest = control_plane_kubelet.and_then(Version::parse);
    let oldest = kubelets.filter_map(Version::parse).min()?;
    Some(newest.map_or(oldest, |newest| oldest.min(newest)).to_string())
}

/// Whether a worker is of a version that no upgrade takes from it: it is newer than the control plane's kubelet, or older, and the cluster
/// has come to the version that is asked for. Where none is asked for, older ones are as they should be.
pub fn is_skewed(asked: Option<&str>, control_plane_kubelet: Option<&str>, kubelet: Option<&str>) -> bool {
    let version = |text: Option<&str>| text.and_then(Version::parse);
    match (version(control_plane_kubelet), version(kubelet)) {
        (Some(control_plane), Some(kubelet)) if kubelet < control_plane => {
            version(asked) == Some(control_plane)
        }
        (Some(control_plane), Some(kubelet)) => kubelet > control_plane,
        _ => false,
    }
}

/// The versions of a pool's kubelets, for people: each once, the oldest first; none where it has no node.
pub fn told<'a>(kubelets: impl Iterator<Item = &'a str>) -> Option<String> {
    let versions: BTreeSet<_> = kubelets.filter_map(Version::parse).collect();
    let texts: Vec<_> = versions.iter().map(Version::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_worker_is_like_the_control_plane_and_before_there_is_one_like_the_spec() {
        assert_eq!(of_new_workers("v1.35.4", None), "v1.35.4");
        assert_eq!(of_new_workers("v1.35.4", Some("v1.36.3")), "v1.36.3");
        assert_eq!(of_new_workers("v1.36.3", Some("v1.35.4+build")), "v1.35.4");
        assert_eq!(of_new_workers("v1.36.3", Some("")), "v1.36.3");
    }

    #[test]
    fn an_older_worker_is_skewed_once_its_cluster_has_come_to_what_is_asked_for() {
        let (old, new, asked) = (Some("v1.35.4"), Some("v1.36.3"), Some("v1.36.3"));
        assert!(is_skewed(asked, new, old));
        assert!(!is_skewed(asked, new, new));
        assert!(!is_skewed(asked, old, old), "an upgrade brings both along");
        assert!(!is_skewed(old, new, old), "what runs is not what is asked for");
        assert!(
            !is_skewed(asked, None, old),
            "nothing is known of the control plane"
        );
        assert!(!is_skewed(asked, new, None), "it is no node");
        assert!(!is_skewed(None, new, old), "its pool is held back");
    }

    #[test]
    fn a_worker_that_is_newer_than_the_control_plane_is_skewed_whatever_is_asked_for() {
        let (old, new) = (Some("v1.35.4"), Some("v1.36.3"));
        for asked in [None, old, new] {
            assert!(is_skewed(asked, old, new), "{asked:?}");
        }
    }

    #[test]
    fn a_pool_that_is_held_back_goes_by_its_oldest_node() {
        let kubelets = ["v1.36.3", "v1.35.4+build", "", "v1.36.3"];
        let held = of_held_pool(Some("v1.36.3"), kubelets.into_iter());
        assert_eq!(held.as_deref(), Some("v1.35.4"));
        assert_eq!(told(kubelets.into_iter()).as_deref(), Some("v1.35.4, v1.36.3"));
        assert_eq!(of_held_pool(Some("v1.36.3"), [].into_iter()), None);
        assert_eq!(told([""].into_iter()), None);
    }

    #[test]
    fn a_new_worker_of_a_pool_that_is_held_back_is_not_newer_than_the_control_plane() {
        let held = of_held_pool(Some("v1.35.4"), ["v1.36.3"].into_iter());
        assert_eq!(held.as_deref(), Some("v1.35.4"));
    }
}
