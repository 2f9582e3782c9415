//! Whether the versions fit.

use seedbed_crds::PreflightCheck;

use super::{Findings, Seen};
use crate::upgrade::version::{KUBELET_LAG, Version, hop, kubelet_skew};

pub(super) fn path(seen: &Seen, findings: &mut Findings) {
    let object = format!("DevCluster {}", seen.cluster);
    let check = PreflightCheck::VersionPath;
    let Some(from) = findings.known(check, &object, "the version of its API server", &seen.from) else {
        return;
    };
    if let Err(message) = hop(*from, seen.to) {
        findings.error(check, object, message);
    }
}

/// Kubelets have to fit the API server as it is, and the target before they are upgraded themselves.
pub(super) fn skew(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::Skew;
    let object = format!("DevCluster {}", seen.cluster);
    let Some(nodes) = findings.known(check, &object, "its nodes", &seen.nodes) else {
        return;
    };
    let from = findings.known(check, &object, "the version of its API server", &seen.from);
    for node in nodes {
        let object = format!("Node {}", node.name);
        let Some(kubelet) = Version::parse(&node.kubelet) else {
            let message = format!(
                "its kubelet says that its version is {:?}, expected one such as v1.35.4: look at the kubelet",
                node.kubelet
            );
            findings.error(check, object, message);
            continue;
        };
        let now = from.and_then(|from| kubelet_skew(kubelet, *from));
        let then = kubelet_skew(kubelet, seen.to).filter(|_| kubelet <= seen.to);
        if let Some(wrong) = now {
            let message = format!("{wrong}: give the node a kubelet that fits before the upgrade");
            findings.error(check, object, message);
        } else if let Some(wrong) = then {
            let how = match &node.held_by {
                None => "upgrade the node first".to_owned(),
                Some(pool) => format!(
                    "NodePool {pool} is held back: set its spec.holdVersion to false, and delete the DevMachine of this name, which is then made anew of the version that the cluster runs"
                ),
            };
            let message = format!(
                "after the upgrade of the control plane to {}, {wrong}: {how}",
                seen.to
            );
            findings.error(check, object, message);
        } else if let Some(pool) = node.held_by.as_ref().filter(|_| kubelet < seen.to) {
            let message = format!(
                "its kubelet stays {kubelet}, because NodePool {pool} is held back; it may be {KUBELET_LAG} minor versions older than the API server at most"
            );
            findings.warning(check, object, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use seedbed_crds::PreflightSeverity;

    use super::super::seen::tests::{has, only, well};
    use super::*;
    use crate::Observed;

    #[test]
    fn a_target_that_cannot_be_reached_is_an_error() {
        let seen = Seen {
            to: Version::parse("v1.37.0").unwrap(),
            ..well()
        };
        let (severity, object, message) = only(&seen);
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "DevCluster demo")
        );
        has(&message, &["v1.37.0", "v1.35.4", "upgrade to a v1.36 first"]);
    }

    #[rstest]
    #[case("v1.33.2", &[])]
    #[case("v1.32.9", &["after the upgrade of the control plane to v1.36.3", "kubelet v1.32.9", "upgrade the node first"])]
    #[case("v1.31.0", &["more than 3 minor versions older than the API server's 1.35"])]
    #[case("v1.36.0", &["newer than the API server's 1.35"])]
    #[case("garbage", &["\"garbage\"", "expected one such as"])]
    fn kubelets_have_to_fit_before_and_after(#[case] kubelet: &str, #[case] parts: &[&str]) {
        let mut seen = well();
        if let Observed::Known(nodes) = &mut seen.nodes {
            nodes[1].kubelet = kubelet.into();
        }
        if parts.is_empty() {
            assert_eq!(super::super::check(&seen, &[]), []);
            return;
        }
        let (severity, object, message) = only(&seen);
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "Node demo-w-0")
        );
        has(&message, parts);
    }

    #[rstest]
    #[case("v1.35.4", PreflightSeverity::Warning, &["stays v1.35.4", "NodePool demo-w is held back"])]
    #[case("v1.33.0", PreflightSeverity::Warning, &["3 minor versions older", "at most"])]
    #[case("v1.32.9", PreflightSeverity::Error, &["after the upgrade", "set its spec.holdVersion to false", "delete the DevMachine"])]
    fn a_pool_that_is_held_back_is_told_and_stops_what_would_leave_it_too_far_behind(
        #[case] kubelet: &str,
        #[case] expected: PreflightSeverity,
        #[case] parts: &[&str],
    ) {
        let mut seen = well();
        if let Observed::Known(nodes) = &mut seen.nodes {
            nodes[1].kubelet = kubelet.into();
            nodes[1].held_by = Some("demo-w".into());
        }
        let (severity, object, message) = only(&seen);
        assert_eq!((severity, object.as_str()), (expected, "Node demo-w-0"));
        has(&message, parts);
    }
}
