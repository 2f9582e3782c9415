//! Whether the user's own checks hold before anything is begun: one that does not says nothing of the upgrade.

use seedbed_crds::PreflightCheck;

use super::{CheckTried, Findings, Seen};

pub(super) fn checks(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::Checks;
    for tried in &seen.checks {
        let (name, object) = match tried {
            CheckTried::Probe(name, _) | CheckTried::Job(name, _) => (name, format!("check {name}")),
        };
        match tried {
            CheckTried::Probe(_, found) => {
                let Some(Err(why)) = findings.known(check, &object, "what it asks", found) else {
                    continue;
                };
                let message = format!(
                    "{why}: before the upgrade already, so that it would be undone in any case; mend what answers there, or check {name} in spec.checks"
                );
                findings.error(check, object, message);
            }
            CheckTried::Job(_, found) => {
                let what = "whether the cluster's API takes its Job";
                let Some(Err(why)) = findings.known(check, &object, what, found) else {
                    continue;
                };
                let message = format!(
                    "the cluster's API does not take its Job: {why}: mend the template of check {name} in spec.checks"
                );
                findings.error(check, object, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use seedbed_crds::PreflightSeverity;

    use super::super::check;
    use super::super::seen::tests::{has, only, well};
    use super::*;
    use crate::Observed;

    #[rstest]
    #[case::probe(
        CheckTried::Probe("shop".into(), Observed::Known(Err("found 503".into()))),
        PreflightSeverity::Error,
        &["found 503: before the upgrade already", "check shop in spec.checks"]
    )]
    #[case::job(
        CheckTried::Job("shop".into(), Observed::Known(Err("restartPolicy: Required value".into()))),
        PreflightSeverity::Error,
        &["does not take its Job: restartPolicy: Required value", "template of check shop"]
    )]
    #[case::unseen(
        CheckTried::Job("shop".into(), Observed::Unknown("no route".into())),
        PreflightSeverity::Unknown,
        &["could not be seen: no route"]
    )]
    fn a_check_that_does_not_hold_before_the_upgrade_is_told(
        #[case] tried: CheckTried,
        #[case] expected: PreflightSeverity,
        #[case] parts: &[&str],
    ) {
        let mut seen = well();
        seen.checks = vec![tried];
        let (severity, object, message) = only(&seen);
        assert_eq!((severity, object.as_str()), (expected, "check shop"));
        has(&message, parts);
    }

    #[test]
    fn checks_that_hold_are_not_in_the_way() {
        let mut seen = well();
        seen.checks = vec![
            CheckTried::Probe("a".into(), Observed::Known(Ok(()))),
            CheckTried::Job("b".into(), Observed::Known(Ok(()))),
        ];
        assert_eq!(check(&seen, &[]), []);
    }
}
