//! What is said of an upgrade that was begun: pure, from what was written down and what is waited for.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{ClusterUpgrade, ClusterUpgradeStatus, OnFailureAfterCommit};
use seedbed_planner::conditions::{self, Finding, Summary};
use seedbed_planner::upgrade::saga::{End, Saga, Wait};

use super::journal::Entry;

/// The status of an upgrade that was begun.
pub fn status(
    upgrade: &ClusterUpgrade,
    entry: &Entry,
    waits: Option<&Wait>,
    now: Timestamp,
) -> ClusterUpgradeStatus {
    let saga = entry.saga();
    let summary = summary(entry, &saga, waits);
    let generation = upgrade.metadata.generation;
    let old = upgrade.status.clone().unwrap_or_default();
    let done = format!("the cluster runs {}", entry.to);
    let mut findings = summary.findings_of_end(Reason::Upgraded, &done);
    findings.push(point_of_no_return(upgrade, entry, &saga));
    ClusterUpgradeStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, findings, generation, now),
        phase: Some(phase(&saga, &summary)),
        cluster_uid: Some(entry.cluster_uid.clone()),
        from: Some(entry.from.clone()),
        to: Some(entry.to.clone()),
        steps: entry.steps.clone(),
        step: Some(format!("{}/{}", saga.done(), saga.steps.len())),
        // Of one that is undone there is nothing left to undo.
        undoable: match (saga.has_passed(), saga.end()) {
            (true, _) => Some("No".to_owned()),
            (false, None) => Some("Yes".to_owned()),
            (false, Some(_)) => None,
        },
        undo: entry.undo.clone(),
        transitions: entry.transitions,
        ..old
    }
}

fn summary(entry: &Entry, saga: &Saga, waits: Option<&Wait>) -> Summary {
    let because = entry
        .undo
        .as_ref()
        .map(|undo| undo.message.clone())
        .unwrap_or_default();
    let as_before = format!("{because}; the cluster is as it was before, with {}", entry.from);
    match saga.end() {
        Some(End::Done) => return Summary::Ready,
        Some(End::RolledBack) if saga.is_restored() => {
            let message = format!(
                "{because}; the cluster is as the snapshot has it, with {}",
                entry.from
            );
            return Summary::Degraded(Reason::RestoredFromSnapshot, message);
        }
        Some(End::RolledBack) => return Summary::Degraded(Reason::RolledBack, as_before),
        Some(End::Cancelled) => return Summary::Degraded(Reason::Cancelled, as_before),
        None => {}
    }
    let step = saga.current().and_then(|index| saga.steps.get(index));
    let (id, doing) = step.map_or(("", ""), |step| {
        let doing = if saga.undo.is_some() {
            step.compensation.as_deref()
        } else {
            Some(step.message.as_str())
        };
        (step.id.as_str(), doing.unwrap_or_default())
    });
    let undone = if because.is_empty() {
        String::new()
    } else {
        format!(" ({because})")
    };
    match waits {
        None if saga.undo.is_some() => {
            Summary::Progressing(Reason::Undoing, format!("{id}: {doing}{undone}"))
        }
        None => Summary::Progressing(Reason::Upgrading, format!("{id}: {doing}")),
        Some(wait) => {
            let message = format!("{id}: {}{undone}", wait.message);
            if wait.stalled {
                Summary::Stalled(wait.reason, message)
            } else {
                Summary::Progressing(wait.reason, message)
            }
        }
    }
}

fn point_of_no_return(upgrade: &ClusterUpgrade, entry: &Entry, saga: &Saga) -> Finding {
    let type_ = condition::POINT_OF_NO_RETURN_PASSED;
    let since = |at: Option<Time>| {
        let told = at.map(|at| at.0.strftime(" since %Y-%m-%dT%H:%M:%SZ").to_string());
        told.unwrap_or_else(|| " since it was taken".to_owned())
    };
    if let Some(undo) = entry.undo.as_ref().filter(|_| saga.is_restored()) {
        let since = since(undo.writes_lost_since.clone());
        let message = if saga.has_passed() {
            format!("the snapshot is restored: what was written{since} is lost")
        } else {
            format!("the snapshot was restored: what was written{since} is lost")
        };
        return Finding::new(type_, saga.has_passed(), Reason::RestoredFromSnapshot, message);
    }
    if saga.has_passed() {
        let restores = upgrade.spec.on_failure_after_commit == OnFailureAfterCommit::RestoreSnapshot;
        let loss = if restores && saga.end().is_none() {
            let since = since(saga.snapshot_since());
            format!(
                "; if the upgrade fails, the snapshot is restored, and what was written{since} is lost, because spec.onFailureAfterCommit is RestoreSnapshot"
            )
        } else {
            String::new()
        };
        let message = format!("objects may be stored that {} cannot read{loss}", entry.from);
        return Finding::new(type_, true, Reason::CannotBeUndone, message);
    }
    let message = format!("the cluster can be taken back to {}", entry.from);
    Finding::new(type_, false, Reason::CanBeUndone, message)
}

/// One word: the phase of the step that is under way, or how it ended.
fn phase(saga: &Saga, summary: &Summary) -> String {
    match (saga.end(), summary) {
        (Some(end), _) => format!("{end:?}"),
        (None, Summary::Stalled(..)) => "Stalled".to_owned(),
        (None, Summary::Progressing(Reason::Paused, _)) => "Paused".to_owned(),
        (None, Summary::Progressing(Reason::WaitingForApproval, _)) => "Waiting".to_owned(),
        (None, _) if saga.undo.is_some() => "Undoing".to_owned(),
        (None, _) => saga
            .current()
            .and_then(|index| saga.steps.get(index))
            .map_or_else(String::new, |step| format!("{:?}", step.phase)),
    }
}
