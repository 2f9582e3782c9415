//! What is in the way of an upgrade: pure functions from what was seen to findings.
//!
//! What could not be seen is a finding too, of severity Unknown: it never counts as right.

mod apis;
mod certificates;
mod checks;
mod cluster;
mod etcd;
mod guests;
mod nodes;
mod release;
mod resources;
mod seen;
mod versions;
mod workloads;

use std::collections::BTreeMap;

use seedbed_crds::{PreflightCheck, PreflightFinding, PreflightSeverity};

use crate::Observed;
pub use guests::{Certificate, ControlPlaneFacts, EtcdFacts, Filesystem, GuestFacts, Use};
pub use seen::{
    Budget, CheckTried, ControlPlanePod, CustomKind, FeatureGates, NodeSeen, OnHost, Operation, RemovedApi,
    Seen, ServiceName, StoredVersion, Survey, Webhook,
};

/// What is written to a status at most: an object has to stay within what the API server stores.
pub const MAX_FINDINGS: usize = 200;

/// All that was found, the worst first. Findings of checks that are to be skipped are listed as such.
pub fn check(seen: &Seen, skip: &[PreflightCheck]) -> Vec<PreflightFinding> {
    let checks: [fn(&Seen, &mut Findings); 18] = [
        versions::path,
        versions::skew,
        release::release,
        cluster::ready,
        cluster::paused,
        cluster::operations,
        nodes::ready,
        nodes::pressure,
        nodes::control_plane_pods,
        etcd::healthy,
        certificates::valid,
        resources::enough,
        apis::removed,
        apis::alpha_gates,
        workloads::webhooks,
        workloads::budgets,
        release::capacity,
        checks::checks,
    ];
    let mut findings = Findings::default();
    for check in checks {
        check(seen, &mut findings);
    }
    findings.finished(skip)
}

/// How many findings count with that severity.
pub fn count(findings: &[PreflightFinding], severity: PreflightSeverity) -> usize {
    counted(findings, severity).count()
}

/// The findings that count with that severity.
pub fn counted(
    findings: &[PreflightFinding],
    severity: PreflightSeverity,
) -> impl Iterator<Item = &PreflightFinding> {
    findings
        .iter()
        .filter(move |f| f.severity == severity && !f.skipped)
}

/// Findings as they are collected: one for each check and object, which is what their list in a status goes by.
#[derive(Default)]
struct Findings(BTreeMap<(PreflightCheck, String), (PreflightSeverity, String)>);

impl Findings {
    fn error(&mut self, check: PreflightCheck, object: impl Into<String>, message: impl Into<String>) {
        self.add(check, object.into(), PreflightSeverity::Error, message.into());
    }

    fn warning(&mut self, check: PreflightCheck, object: impl Into<String>, message: impl Into<String>) {
        self.add(check, object.into(), PreflightSeverity::Warning, message.into());
    }

    /// `what` could not be seen.
    fn unknown(&mut self, check: PreflightCheck, object: impl Into<String>, what: &str, why: &str) {
        let message = format!(
            "{what} could not be seen: {why}; nothing is concluded from that, and it is looked at again"
        );
        self.add(check, object.into(), PreflightSeverity::Unknown, message);
    }

    /// What was seen; where it could not be, that is a finding of the check.
    fn known<'a, T>(
        &mut self,
        check: PreflightCheck,
        object: impl Into<String>,
        what: &str,
        observed: &'a Observed<T>,
    ) -> Option<&'a T> {
        match observed {
            Observed::Known(value) => Some(value),
            Observed::Unknown(why) => {
                self.unknown(check, object, what, why);
                None
            }
        }
    }

    fn add(&mut self, check: PreflightCheck, object: String, severity: PreflightSeverity, message: String) {
        self.0
            .entry((check, object))
            .and_modify(|(worst, all)| {
                *worst = severity.min(*worst);
                all.push_str("; ");
                all.push_str(&message);
            })
            .or_insert((severity, message));
    }

    fn finished(self, skip: &[PreflightCheck]) -> Vec<PreflightFinding> {
        let findings = self.0.into_iter();
        let mut findings: Vec<_> = findings
            .map(|((check, object), (severity, message))| PreflightFinding {
                check,
                object,
                severity,
                message,
                skipped: skip.contains(&check),
            })
            .collect();
        // By check and object within one severity, as the map has them.
        findings.sort_by_key(|finding| (finding.skipped, finding.severity));
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_cluster_with_which_all_is_well_has_no_findings() {
        assert_eq!(check(&seen::tests::well(), &[]), []);
    }

    #[test]
    fn nothing_that_could_not_be_seen_counts_as_right() {
        let found = check(&seen::tests::unseen(), &[]);
        assert!(
            found.iter().all(|f| f.severity == PreflightSeverity::Unknown),
            "{found:#?}"
        );
        let told: BTreeSet<_> = found.iter().map(|f| f.check).collect();
        // What follows from the upgrade's and the cluster's own objects is always known.
        let known = [PreflightCheck::Paused, PreflightCheck::OtherOperation];
        let expected: BTreeSet<_> = PreflightCheck::ALL
            .iter()
            .copied()
            .filter(|check| !known.contains(check))
            .collect();
        assert_eq!(told, expected, "{found:#?}");
    }

    #[test]
    fn what_is_skipped_is_listed_last_and_does_not_count() {
        let seen = Seen {
            paused: true,
            ready: Observed::Known(Err("it is not".into())),
            ..seen::tests::well()
        };
        let found = check(&seen, &[PreflightCheck::ClusterReady]);
        let told: Vec<_> = found.iter().map(|f| (f.check, f.skipped)).collect();
        assert_eq!(
            told,
            [
                (PreflightCheck::Paused, false),
                (PreflightCheck::ClusterReady, true)
            ]
        );
        assert_eq!(count(&found, PreflightSeverity::Error), 1);
    }

    #[test]
    fn two_findings_of_a_check_at_one_object_are_one() {
        let mut findings = Findings::default();
        findings.warning(PreflightCheck::Webhooks, "A a", "one");
        findings.error(PreflightCheck::Webhooks, "A a", "two");
        findings.warning(PreflightCheck::Webhooks, "A b", "three");
        let found = findings.finished(&[]);
        let told: Vec<_> = found
            .iter()
            .map(|f| (f.object.as_str(), f.severity, f.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("A a", PreflightSeverity::Error, "one; two"),
                ("A b", PreflightSeverity::Warning, "three")
            ]
        );
    }
}
