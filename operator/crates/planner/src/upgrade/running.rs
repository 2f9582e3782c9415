//! Which version a cluster's new machines are made of.

use super::version::Version;

/// The version of a new worker: that of the control plane's kubelet, which no upgrade leaves newer than what the API server behaves like.
/// Before there is one, that of the spec.
pub fn of_new_workers(spec: &str, control_plane_kubelet: Option<&str>) -> String {
    match control_plane_kubelet.and_then(Version::parse) {
        Some(version) => version.to_string(),
        None => spec.to_owned(),
    }
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
}
