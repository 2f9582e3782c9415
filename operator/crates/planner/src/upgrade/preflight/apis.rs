//! Whether the target still has the APIs that are in use, and can behave like the old version.

use seedbed_crds::PreflightCheck;

use super::{Findings, RemovedApi, Seen};
use crate::upgrade::version::{Hop, Version, hop};

pub(super) fn removed(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::RemovedAPIs;
    let object = format!("DevCluster {}", seen.cluster);
    let what = "which API versions were asked for";
    for api in findings
        .known(check, &object, what, &seen.survey.requested)
        .into_iter()
        .flatten()
    {
        if is_removed(api, seen.to) {
            let message = format!(
                "it was asked for since the API server started, and is not served any more from {} on: have its clients use another version; the audit annotation k8s.io/deprecated names them, and the API server forgets it when it is restarted",
                api.removed
            );
            findings.error(check, format!("{} {}", api.resource, api.group_version), message);
        }
    }
    let what = "in which versions objects of custom kinds are stored";
    for kind in findings
        .known(check, &object, what, &seen.survey.custom_kinds)
        .into_iter()
        .flatten()
    {
        let message = format!(
            "objects of it are, or once were, stored as {}, which is not served: write all of them once more, and take it out of status.storedVersions",
            kind.unserved.join(", ")
        );
        findings.warning(check, format!("CustomResourceDefinition {}", kind.name), message);
    }
}

/// Whether the target does not have it any more.
fn is_removed(api: &RemovedApi, to: Version) -> bool {
    Version::parse(&format!("v{}.0", api.removed))
        .is_some_and(|removed| (removed.major, removed.minor) <= (to.major, to.minor))
}

/// A patch emulates nothing.
pub(super) fn alpha_gates(seen: &Seen, findings: &mut Findings) {
    let is_patch = seen
        .from
        .known()
        .is_some_and(|from| hop(*from, seen.to) == Ok(Hop::Patch));
    if is_patch {
        return;
    }
    let check = PreflightCheck::AlphaGates;
    let object = format!("DevCluster {}", seen.cluster);
    let Some(gates) = findings.known(
        check,
        &object,
        "the API server's feature gates",
        &seen.survey.gates,
    ) else {
        return;
    };
    if gates.alpha.is_empty() {
        return;
    }
    let alpha: Vec<&str> = gates.alpha.iter().map(String::as_str).collect();
    let message = format!(
        "the API server has alpha features on ({}): an API server that emulates an older version refuses to start with one; turn them off in spec.kubeadm before the upgrade",
        alpha.join(", ")
    );
    findings.error(check, object, message);
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use seedbed_crds::PreflightSeverity;

    use super::super::seen::tests::{has, only, surveyed};
    use super::super::{CustomKind, FeatureGates, check};
    use super::*;
    use crate::Observed;

    fn requested(removed: &str) -> Seen {
        surveyed(|survey| {
            survey.requested = Observed::Known(vec![RemovedApi {
                group_version: "flowcontrol.apiserver.k8s.io/v1beta3".into(),
                resource: "flowschemas".into(),
                removed: removed.into(),
            }]);
        })
    }

    #[rstest]
    #[case("1.32")]
    #[case("1.36")]
    fn what_is_asked_for_and_not_in_the_target_is_an_error(#[case] removed: &str) {
        let (severity, object, message) = only(&requested(removed));
        assert_eq!(
            (severity, object.as_str()),
            (
                PreflightSeverity::Error,
                "flowschemas flowcontrol.apiserver.k8s.io/v1beta3"
            )
        );
        has(&message, &[removed, "have its clients use another version"]);
    }

    #[rstest]
    #[case("1.37")]
    #[case("2.0")]
    #[case("")]
    fn what_the_target_still_has_is_none(#[case] removed: &str) {
        assert_eq!(check(&requested(removed), &[]), []);
    }

    #[test]
    fn a_custom_kind_that_is_stored_as_what_is_not_served_is_a_warning() {
        let (severity, object, message) = only(&surveyed(|survey| {
            survey.custom_kinds = Observed::Known(vec![CustomKind {
                name: "widgets.example.com".into(),
                unserved: vec!["v1alpha1".into()],
            }]);
        }));
        assert_eq!(
            (severity, object.as_str()),
            (
                PreflightSeverity::Warning,
                "CustomResourceDefinition widgets.example.com"
            )
        );
        has(&message, &["v1alpha1", "status.storedVersions"]);
    }

    #[test]
    fn alpha_features_forbid_to_emulate_and_nothing_else() {
        let with_alpha = |to: &str| {
            let alpha = ["Fancy".to_owned(), "Daring".to_owned()].into();
            Seen {
                to: Version::parse(to).unwrap(),
                ..surveyed(|survey| survey.gates = Observed::Known(FeatureGates { alpha }))
            }
        };
        let (severity, object, message) = only(&with_alpha("v1.36.3"));
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "DevCluster demo")
        );
        has(&message, &["(Daring, Fancy)", "turn them off"]);
        assert_eq!(check(&with_alpha("v1.35.5"), &[]), []);
    }
}
