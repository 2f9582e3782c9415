//! Whether the cluster is left to the upgrade alone, and is well.

use seedbed_crds::PreflightCheck;

use super::{Findings, Seen};

pub(super) fn ready(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::ClusterReady;
    let object = format!("DevCluster {}", seen.cluster);
    if let Some(Err(why)) = findings.known(check, &object, "whether it is Ready", &seen.ready) {
        let message = format!("it is not Ready: {why}: see its conditions, and upgrade it when it is");
        findings.error(check, object, message);
    }
}

pub(super) fn paused(seen: &Seen, findings: &mut Findings) {
    if seen.paused {
        findings.error(
            PreflightCheck::Paused,
            format!("DevCluster {}", seen.cluster),
            "spec.paused is true, so that nothing of it is changed: set it to false",
        );
    }
}

pub(super) fn operations(seen: &Seen, findings: &mut Findings) {
    for operation in &seen.operations {
        let message = format!("{}: wait until it is done", operation.what);
        findings.error(PreflightCheck::OtherOperation, operation.object.clone(), message);
    }
}

#[cfg(test)]
mod tests {
    use seedbed_crds::PreflightSeverity;

    use super::super::Operation;
    use super::super::seen::tests::{has, only, well};
    use super::*;
    use crate::Observed;

    #[test]
    fn a_cluster_that_is_not_ready_is_an_error() {
        let (severity, object, message) = only(&Seen {
            ready: Observed::Known(Err("DNSUnavailable: 0 of 2 CoreDNS pods are available".into())),
            ..well()
        });
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "DevCluster demo")
        );
        has(&message, &["is not Ready", "0 of 2 CoreDNS pods"]);
    }

    #[test]
    fn a_paused_cluster_is_an_error() {
        let (severity, object, message) = only(&Seen {
            paused: true,
            ..well()
        });
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "DevCluster demo")
        );
        has(&message, &["spec.paused is true", "set it to false"]);
    }

    #[test]
    fn what_is_under_way_is_an_error_for_each_object() {
        let operation = |object: &str, what: &str| Operation {
            object: object.into(),
            what: what.into(),
        };
        let found = super::super::check(
            &Seen {
                operations: vec![
                    operation("NodePool w", "1 of 2 machines are of the present template"),
                    operation("DevMachine w-1", "it is being deleted"),
                ],
                ..well()
            },
            &[],
        );
        let told: Vec<_> = found.iter().map(|f| (f.object.as_str(), f.severity)).collect();
        assert_eq!(
            told,
            [
                ("DevMachine w-1", PreflightSeverity::Error),
                ("NodePool w", PreflightSeverity::Error)
            ]
        );
        has(&found[0].message, &["it is being deleted", "wait"]);
    }
}
