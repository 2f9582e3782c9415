//! What is said of an upgrade that was not begun: pure, from what was planned and found.

use jiff::Timestamp;
use seedbed_crds::reasons::Reason;
use seedbed_crds::{ClusterUpgrade, ClusterUpgradeStatus, PreflightSeverity};
use seedbed_planner::conditions::{self, Summary};
use seedbed_planner::upgrade::preflight::{MAX_FINDINGS, count};
use seedbed_planner::upgrade::verdict;

use super::observe::{Checked, Outlook};

/// The status of an upgrade that was not begun.
pub fn build(
    upgrade: &ClusterUpgrade,
    outlook: Outlook,
    summary: &Summary,
    runs: Option<&str>,
    now: Timestamp,
) -> ClusterUpgradeStatus {
    let checked = match outlook {
        Outlook::NotNow(_) => None,
        // What stands in the way of doing it again is of no interest.
        Outlook::Checked(checked) if runs.is_some() => Some(Checked {
            findings: Vec::new(),
            ..checked
        }),
        Outlook::Checked(checked) => Some(checked),
    };
    let (reason, said) = match runs {
        Some(runs) => (Reason::Upgraded, runs.to_owned()),
        None => (
            Reason::PreflightPassed,
            checked.as_ref().and_then(said).unwrap_or_default(),
        ),
    };
    let old = upgrade.status.clone().unwrap_or_default();
    let generation = upgrade.metadata.generation;
    let findings = summary.findings_of_end(reason, &said);
    let status = ClusterUpgradeStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, findings, generation, now),
        phase: Some(if runs.is_some() { "Done" } else { phase(summary) }.to_owned()),
        to: Some(upgrade.spec.version.clone()),
        ..ClusterUpgradeStatus::default()
    };
    match checked {
        None => status,
        Some(checked) => with(status, checked),
    }
}

/// What is said where nothing stops it.
fn said(checked: &Checked) -> Option<String> {
    let (plan, from) = (checked.plan.as_ref()?, checked.from?);
    Some(verdict::passed(plan, from, checked.to, &checked.findings))
}

fn with(status: ClusterUpgradeStatus, checked: Checked) -> ClusterUpgradeStatus {
    let number = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
    let of = |severity| number(count(&checked.findings, severity));
    let (errors, warnings) = (of(PreflightSeverity::Error), of(PreflightSeverity::Warning));
    let mut findings = checked.findings;
    findings.truncate(MAX_FINDINGS);
    let (steps, point_of_no_return) = match checked.plan {
        Some(plan) => (plan.steps, Some(plan.point_of_no_return)),
        None => (Vec::new(), None),
    };
    ClusterUpgradeStatus {
        from: checked.from.map(|from| from.to_string()),
        step: (!steps.is_empty()).then(|| format!("0/{}", steps.len())),
        steps,
        point_of_no_return,
        findings,
        error_count: errors,
        warning_count: warnings,
        ..status
    }
}

fn phase(summary: &Summary) -> &'static str {
    match summary {
        Summary::Ready | Summary::Progressing(Reason::Upgrading, _) => "Planned",
        Summary::Progressing(Reason::Queued, _) => "Queued",
        Summary::Degraded(Reason::Cancelled, _) => "Cancelled",
        other => other.phase(),
    }
}
