//! What is told of an upgrade as it goes on.

use seedbed_crds::reasons::Reason;
use seedbed_crds::{UpgradeStep, UpgradeStepState as State};

use super::{End, Saga};

/// Something that happened to an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What sort of thing it is.
    pub reason: Reason,
    /// Whether somebody should look.
    pub alarms: bool,
    /// In words.
    pub message: String,
}

/// What is new in `after`: each step that has changed its state, that it is undone from now on or otherwise than before, and its end.
pub fn news(before: &Saga, after: &Saga) -> Vec<News> {
    let mut news = Vec::new();
    let known = before.undo.as_ref().map(|undo| &undo.message);
    if let Some(undo) = after.undo.as_ref().filter(|undo| known != Some(&undo.message)) {
        news.push(told(
            Reason::Undoing,
            true,
            format!("it is undone: {}", undo.message),
        ));
    }
    for (old, new) in before.steps.iter().zip(&after.steps) {
        if old.state != new.state {
            news.extend(of_step(new));
        }
    }
    let end = after.end().filter(|_| before.end().is_none());
    news.extend(end.map(|end| match end {
        End::Done => told(Reason::Upgraded, false, "it is done".to_owned()),
        End::Cancelled => told(
            Reason::Cancelled,
            false,
            "everything is as it was before".to_owned(),
        ),
        End::RolledBack if after.is_restored() => told(
            Reason::RestoredFromSnapshot,
            true,
            "everything is as it was when the snapshot was taken".to_owned(),
        ),
        End::RolledBack => told(
            Reason::RolledBack,
            true,
            "everything is as it was before".to_owned(),
        ),
    }));
    news
}

fn of_step(step: &UpgradeStep) -> Option<News> {
    let id = &step.id;
    let failure = || step.failure.clone().unwrap_or_default();
    Some(match step.state {
        State::Planned => return None,
        State::Running => told(
            Reason::Upgrading,
            false,
            format!("{id}: begun (attempt {}): {}", step.attempt, step.message),
        ),
        State::Succeeded => told(Reason::Upgrading, false, format!("{id}: done")),
        State::Failed => told(
            Reason::StepFailed,
            true,
            format!("{id}: attempt {} failed: {}", step.attempt, failure()),
        ),
        State::Undoing => told(
            Reason::Undoing,
            false,
            format!(
                "{id}: is undone (attempt {}): {}",
                step.attempt,
                step.compensation.as_deref().unwrap_or_default()
            ),
        ),
        State::UndoFailed => told(
            Reason::UndoFailed,
            true,
            format!("{id}: attempt {} to undo it failed: {}", step.attempt, failure()),
        ),
        State::Undone => told(Reason::Undoing, false, format!("{id}: undone")),
    })
}

fn told(reason: Reason, alarms: bool, message: String) -> News {
    News {
        reason,
        alarms,
        message,
    }
}
