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

/// The version of a new worker of a pool that is held back: the oldest of those that its nodes have; none where it has no node.
pub fn of_held_pool<'a>(kubelets: impl Iterator<Item = &'a str>) -> Option<String> {
    kubelets
        .filter_map(Version::parse)
        .min()
        .map(|version| version.to_string())
}

/// Whether a worker is left behind: the cluster has come to the version that is asked for, up to the control plane's kubelet, and the
/// worker's is older.
pub fn is_behind(asked: &str, control_plane_kubelet: Option<&str>, kubelet: Option<&str>) -> bool {
    let version = |text: Option<&str>| text.and_then(Version::parse);
    let asked = version(Some(asked));
    asked.is_some()
        && version(control_plane_kubelet) == asked
        && version(kubelet).is_some_and(|kubelet| Some(kubelet) < asked)
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
    fn a_worker_is_behind_once_its_cluster_has_come_to_what_is_asked_for() {
        let (old, new) = (Some("v1.35.4"), Some("v1.36.3"));
        assert!(is_behind("v1.36.3", new, old));
        assert!(!is_behind("v1.36.3", new, new));
        assert!(!is_behind("v1.36.3", old, old), "an upgrade brings both along");
        assert!(
            !is_behind("v1.35.4", new, old),
            "what runs is not what is asked for"
        );
        assert!(
            !is_behind("v1.36.3", None, old),
            "nothing is known of the control plane"
        );
        assert!(!is_behind("v1.36.3", new, None), "it is no node");
        assert!(
            !is_behind("newest", Some("newest"), old),
            "no version is asked for"
        );
    }

    #[test]
    fn a_pool_that_is_held_back_goes_by_its_oldest_node() {
        let kubelets = ["v1.36.3", "v1.35.4+build", "", "v1.36.3"];
        assert_eq!(of_held_pool(kubelets.into_iter()).as_deref(), Some("v1.35.4"));
        assert_eq!(told(kubelets.into_iter()).as_deref(), Some("v1.35.4, v1.36.3"));
        assert_eq!(of_held_pool([].into_iter()), None);
        assert_eq!(told([""].into_iter()), None);
    }
}
