//! What a preflight comes to.

use seedbed_crds::reasons::Reason;
use seedbed_crds::{PreflightFinding, PreflightSeverity};

use super::plan::Plan;
use super::preflight::{count, counted};
use super::version::Version;
use crate::conditions::Summary;

/// How many findings a condition's message has in full.
const TOLD: usize = 3;

/// How the upgrade as a whole is doing: whatever stops it, or cannot be seen, speaks before what does not.
pub fn summary(findings: &[PreflightFinding]) -> Summary {
    let of = |severity| told(counted(findings, severity));
    if let Some(errors) = of(PreflightSeverity::Error) {
        return Summary::Stalled(Reason::PreflightFailed, errors);
    }
    match of(PreflightSeverity::Unknown) {
        Some(unknown) => Summary::Unknown(Reason::PreflightUnknown, unknown),
        None => Summary::Ready,
    }
}

/// What is said where nothing stops it.
pub fn passed(plan: &Plan, from: Version, to: Version, findings: &[PreflightFinding]) -> String {
    let warnings = match count(findings, PreflightSeverity::Warning) {
        0 => "no warnings".to_owned(),
        1 => "1 warning".to_owned(),
        many => format!("{many} warnings"),
    };
    format!(
        "the upgrade from {from} to {to} has {} steps, and can be undone until {}; {warnings}",
        plan.steps.len(),
        plan.point_of_no_return
    )
}

fn told<'a>(findings: impl Iterator<Item = &'a PreflightFinding>) -> Option<String> {
    let all: Vec<_> = findings.collect();
    if all.is_empty() {
        return None;
    }
    let mut parts: Vec<String> = all
        .iter()
        .take(TOLD)
        .map(|f| format!("{}: {}: {}", f.check.as_str(), f.object, f.message))
        .collect();
    if all.len() > TOLD {
        parts.push(format!("and {} more in status.findings", all.len() - TOLD));
    }
    Some(parts.join("\n"))
}

#[cfg(test)]
mod tests {
    use seedbed_crds::PreflightCheck;

    use super::*;
    use crate::upgrade::plan::{Machines, plan};
    use crate::upgrade::version::Hop;

    fn finding(object: &str, severity: PreflightSeverity, skipped: bool) -> PreflightFinding {
        PreflightFinding {
            check: PreflightCheck::NodesReady,
            object: object.into(),
            severity,
            message: "it is not Ready".into(),
            skipped,
        }
    }

    #[test]
    fn an_error_speaks_before_what_is_unknown_and_both_before_a_warning() {
        use PreflightSeverity::{Error, Unknown, Warning};
        let all = [
            finding("a", Error, false),
            finding("b", Unknown, false),
            finding("c", Warning, false),
        ];
        assert!(
            matches!(summary(&all), Summary::Stalled(Reason::PreflightFailed, m) if m == "NodesReady: a: it is not Ready")
        );
        assert!(matches!(
            summary(&all[1..]),
            Summary::Unknown(Reason::PreflightUnknown, _)
        ));
        assert_eq!(summary(&all[2..]), Summary::Ready);
        assert_eq!(summary(&[finding("a", Error, true)]), Summary::Ready);
    }

    #[test]
    fn a_message_has_the_first_findings_and_the_number_of_the_rest() {
        let all: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|name| finding(name, PreflightSeverity::Error, false))
            .into();
        let Summary::Stalled(_, message) = summary(&all) else {
            panic!("{:?}", summary(&all));
        };
        assert_eq!(message.lines().count(), 4, "{message}");
        assert!(message.ends_with("and 2 more in status.findings"), "{message}");
    }

    #[test]
    fn what_passed_says_how_long_it_can_be_undone() {
        let v = |text| Version::parse(text).unwrap();
        let (from, to) = (v("v1.35.4"), v("v1.36.3"));
        let machines = Machines {
            cluster: "demo".into(),
            control_planes: vec!["demo-cp-0".into()],
            ..Machines::default()
        };
        let plan = plan(Hop::Minor, from, to, &machines);
        let warning = finding("a", PreflightSeverity::Warning, false);
        assert_eq!(
            passed(&plan, from, to, &[warning]),
            "the upgrade from v1.35.4 to v1.36.3 has 10 steps, and can be undone until Commit; 1 warning"
        );
    }
}
