//! How an upgrade goes on: from the steps as they were written down and from what was seen, to what is written down or done next.
//!
//! Nothing is done that was not written down as [`UpgradeStepState::Running`] or [`UpgradeStepState::Undoing`] before. A pass either
//! writes or does something, never both, so that whoever dies in between leaves what the next one can look up: each attempt has a
//! token, and by that a guest knows whether its job was started.

mod machine;
mod news;
mod rebuilt;
mod restore;
mod soak;
mod step;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use seedbed_crds::reasons::Reason;
use seedbed_crds::{UndoCause, UpgradePhase, UpgradeStep, UpgradeStepState as State, UpgradeUndo};

use super::effect::Effect;
use crate::names;
pub use machine::{Job, Machine, Node};
pub use news::{News, news};
pub use soak::{Check, CheckState, Watched};
use step::Work;

/// How often a step is tried before it is given up, where it can be undone; after that number it asks for a person, where it cannot.
pub const MAX_ATTEMPTS: i32 = 3;
/// Pause after the first attempt that failed; each further one doubles it.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// The steps of an upgrade, as far as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Saga {
    /// UID of the upgrade.
    pub uid: String,
    /// The steps in their order.
    pub steps: Vec<UpgradeStep>,
    /// Why it is undone, if it is.
    pub undo: Option<UpgradeUndo>,
    /// How often a step has changed its state.
    pub transitions: i64,
}

/// How an upgrade ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The cluster runs the new version.
    Done,
    /// A person wanted it undone, and it is.
    Cancelled,
    /// It failed, and is undone.
    RolledBack,
}

/// What was seen of the cluster as a whole, for the steps that watch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All that the step asks for is so.
    Well,
    /// It is not, or cannot be seen: why.
    Unwell(String),
    /// Nobody had the time to look since the operator was started. That says nothing of the cluster, and is over soon.
    NotLookedAt,
}

/// What decides how an upgrade goes on.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Whether `spec.paused` of the cluster is set.
    pub paused: bool,
    /// Why a person wants it undone, if so.
    pub cancel: Option<String>,
    /// Whether `Commit` may follow.
    pub approved: bool,
    /// Whether the snapshot is to be restored where it fails after `Commit`.
    pub restores: bool,
    /// How long the new control plane is watched.
    pub soak: Duration,
    /// The machines that the present step is done to, in their order.
    pub machines: Vec<Machine>,
    /// How many of them may be worked on at once.
    pub width: usize,
    /// The version to upgrade to, as kubelets tell it.
    pub to: String,
    /// The cluster as the present step wants it.
    pub health: Health,
    /// What more is watched of it in `Soak`.
    pub watched: Watched,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Write this down, and look again.
    Write(Box<Saga>),
    /// Do this to these machines, and look again.
    Do(Vec<(String, Effect)>),
    /// Do nothing yet.
    Wait(Wait),
    /// Nothing is left to do.
    Ended(End),
}

/// Why nothing is done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Why.
    pub reason: Reason,
    /// What is waited for.
    pub message: String,
    /// Whether a person should do something.
    pub stalled: bool,
}

impl Wait {
    /// A wait that will pass by itself.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            stalled: false,
        }
    }
}

impl Saga {
    /// The first state of an upgrade whose preflight has passed just now.
    pub fn begun(uid: String, steps: Vec<UpgradeStep>, now: Timestamp) -> Self {
        let mut saga = Self {
            uid,
            steps,
            undo: None,
            transitions: 1,
        };
        let preflight = saga
            .steps
            .iter_mut()
            .take_while(|s| s.phase == UpgradePhase::Preflight);
        for step in preflight {
            step.state = State::Succeeded;
            step.attempt = 1;
            step.started_at = Some(Time(now));
            step.finished_at = Some(Time(now));
        }
        saga
    }

    /// Whether anything of it was begun.
    pub fn has_begun(&self) -> bool {
        self.steps.iter().any(|step| step.state != State::Planned)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        if self.current().is_some() || self.steps.is_empty() {
            return None;
        }
        Some(match self.undo.as_ref().map(|undo| undo.cause) {
            None => End::Done,
            Some(UndoCause::Cancelled) => End::Cancelled,
            Some(UndoCause::StepFailed | UndoCause::SoakFailed | UndoCause::FailedAfterCommit) => {
                End::RolledBack
            }
        })
    }

    /// The step that is to be done, or undone, now.
    pub fn current(&self) -> Option<usize> {
        if self.undo.is_some() {
            let stands = |step: &UpgradeStep| !matches!(step.state, State::Planned | State::Undone);
            self.steps.iter().rposition(stands)
        } else {
            self.steps.iter().position(|step| step.state != State::Succeeded)
        }
    }

    /// Whether the point of no return is behind it: from the moment at which that was written down, until a snapshot is restored.
    pub fn has_passed(&self) -> bool {
        self.steps.iter().any(|step| {
            step.phase == UpgradePhase::Commit && !matches!(step.state, State::Planned | State::Undone)
        })
    }

    /// How many steps stand.
    pub fn done(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.state == State::Succeeded)
            .count()
    }

    /// Names the jobs of that attempt at a step, or at undoing it.
    pub fn token(&self, step: &UpgradeStep, undo: bool, attempt: i32) -> String {
        let what = if undo {
            format!("undo {}", step.id)
        } else {
            step.id.clone()
        };
        names::job_token(&self.uid, "", &what, attempt)
    }

    /// Tokens of the last attempts at a step before the present one, those before it was undone included: whatever of them still runs is
    /// stopped before the next.
    pub fn earlier_tokens(&self, step: &UpgradeStep) -> Vec<String> {
        let undoing = matches!(step.state, State::Undoing | State::UndoFailed | State::Undone);
        let of = |undo: bool, last: i32| {
            let first = (last - MAX_ATTEMPTS).max(0) + 1;
            (first..=last).map(move |attempt| self.token(step, undo, attempt))
        };
        if undoing {
            // Attempts are counted anew where undoing begins; and where records were lost, there may have been more than are known.
            let tried = step.tried.max(MAX_ATTEMPTS);
            of(false, tried).chain(of(true, step.attempt - 1)).collect()
        } else {
            of(false, step.attempt - 1).collect()
        }
    }

    /// The same with one step changed.
    fn with(&self, index: usize, change: impl FnOnce(&mut UpgradeStep)) -> Self {
        let mut next = self.clone();
        if let Some(step) = next.steps.get_mut(index) {
            change(step);
        }
        next.transitions += 1;
        next
    }

    /// The same with the next attempt at a step, or at undoing it, written down.
    fn begin(&self, index: usize, undo: bool, attempt: i32, now: Timestamp) -> Self {
        let token = self.steps.get(index).map(|step| self.token(step, undo, attempt));
        self.with(index, |step| {
            if undo && !matches!(step.state, State::UndoFailed) {
                step.tried = step.attempt;
            }
            step.state = if undo { State::Undoing } else { State::Running };
            step.attempt = attempt;
            step.token = token;
            step.started_at = Some(Time(now));
            step.finished_at = None;
            step.unwell_since = None;
        })
    }

    /// Whether Jobs of checks were begun in the cluster.
    pub fn has_begun_checks(&self) -> bool {
        let mut watches = self.steps.iter().filter_map(|step| step.watch.as_ref());
        watches.any(|watch| !watch.jobs.is_empty())
    }

    fn undone_because(&self, cause: UndoCause, message: String, now: Timestamp) -> Self {
        Self {
            undo: Some(UpgradeUndo {
                cause,
                message,
                since: Time(now),
                writes_lost_since: None,
                reverted_disks: Vec::new(),
            }),
            transitions: self.transitions + 1,
            ..self.clone()
        }
    }
}

/// How an upgrade that was begun goes on.
pub fn advance(saga: &Saga, seen: &Seen, now: Timestamp) -> Decision {
    if let Some(end) = saga.end() {
        return Decision::Ended(end);
    }
    if let Some(why) = &seen.cancel
        && saga.undo.is_none()
        && !saga.has_passed()
    {
        return write(saga.undone_because(UndoCause::Cancelled, why.clone(), now));
    }
    if seen.paused {
        let message = "spec.paused of the DevCluster is true";
        return Decision::Wait(Wait::new(Reason::Paused, message));
    }
    let Some((index, step)) = saga
        .current()
        .and_then(|index| Some((index, saga.steps.get(index)?)))
    else {
        return Decision::Ended(End::Done);
    };
    match step.state {
        State::Planned => begin_step(saga, index, step, seen, now),
        State::Running | State::Undoing => work(saga, index, step, seen, now),
        State::Failed if saga.undo.is_none() => again(saga, index, step, seen, now),
        State::UndoFailed if restore::is_taken_back(saga, step, seen) => write(saga.resumed(index)),
        State::UndoFailed => undo_again(saga, index, step, now),
        State::Failed | State::Succeeded => begin_undo(saga, index, step, now),
        // `current` gives none of these.
        State::Undone => Decision::Ended(End::RolledBack),
    }
}

fn begin_step(saga: &Saga, index: usize, step: &UpgradeStep, seen: &Seen, now: Timestamp) -> Decision {
    if step.phase == UpgradePhase::Commit && !seen.approved {
        let message = "the new control plane was watched for long enough: annotate this ClusterUpgrade with seedbed.dev/approve=true to go on past the point of no return, or set spec.cancel to true to go back";
        return Decision::Wait(Wait::new(Reason::WaitingForApproval, message));
    }
    write(saga.begin(index, false, 1, now))
}

/// What is next after an attempt that failed.
fn again(saga: &Saga, index: usize, step: &UpgradeStep, seen: &Seen, now: Timestamp) -> Decision {
    let failure = step.failure.clone().unwrap_or_default();
    if step.attempt >= MAX_ATTEMPTS && (!saga.has_passed() || seen.restores) {
        let message = format!("{} failed {} times: {failure}", step.id, step.attempt);
        return write(saga.given_up(message, now));
    }
    if is_due(step, now) {
        return write(saga.begin(index, false, step.attempt + 1, now));
    }
    let message = format!(
        "{}: attempt {} failed, and is followed by another one: {failure}",
        step.id, step.attempt
    );
    tried_again(Reason::StepFailed, message, step)
}

fn undo_again(saga: &Saga, index: usize, step: &UpgradeStep, now: Timestamp) -> Decision {
    if is_due(step, now) {
        return write(saga.begin(index, true, step.attempt + 1, now));
    }
    let failure = step.failure.clone().unwrap_or_default();
    let how = step.compensation.clone().unwrap_or_default();
    let message = format!(
        "{} could not be undone ({how}): attempt {} failed, and is followed by another one: {failure}",
        step.id, step.attempt
    );
    tried_again(Reason::UndoFailed, message, step)
}

/// A step that changed nothing is undone by being written down as undone.
fn begin_undo(saga: &Saga, index: usize, step: &UpgradeStep, now: Timestamp) -> Decision {
    if saga.undoes_by_doing(step.phase) {
        return write(saga.begin(index, true, 1, now));
    }
    write(saga.with(index, |step| step.state = State::Undone))
}

fn is_due(step: &UpgradeStep, now: Timestamp) -> bool {
    let doublings = u32::try_from(step.attempt - 1).unwrap_or(0).min(10);
    let pause = (FIRST_PAUSE * 2i32.pow(doublings)).min(LONGEST_PAUSE);
    step.finished_at
        .as_ref()
        .is_none_or(|at| now.duration_since(at.0) >= pause)
}

fn work(saga: &Saga, index: usize, step: &UpgradeStep, seen: &Seen, now: Timestamp) -> Decision {
    let undo = step.state == State::Undoing;
    // One that is to be undone is not gone on with.
    if !undo && saga.undo.is_some() {
        return begin_undo(saga, index, step, now);
    }
    match step::work(step, undo, seen, now) {
        Work::Done => write(finished(saga, index, undo, now)),
        Work::Failed(why) => write(saga.with(index, |step| {
            step.state = if undo { State::UndoFailed } else { State::Failed };
            step.finished_at = Some(Time(now));
            step.failure = Some(why);
        })),
        Work::Note(watch) => write(saga.with(index, |step| step.watch = Some(watch))),
        Work::Unwell(since) => write(saga.with(index, |step| step.unwell_since = since.map(Time))),
        Work::Breach(why) if saga.has_passed() => write(saga.given_up(why, now)),
        Work::Breach(why) => write(saga.undone_because(UndoCause::SoakFailed, why, now)),
        Work::Do(effects) => Decision::Do(effects),
        Work::Revert(machine, why) => write(saga.reverting(machine, &why)),
        Work::Wait(mut wait) => {
            if undo && wait.reason == Reason::Upgrading {
                wait.reason = Reason::Undoing;
            }
            Decision::Wait(wait)
        }
    }
}

/// A step is done, or undone; and the next one begins with the same write, where nobody is asked before.
fn finished(saga: &Saga, index: usize, undo: bool, now: Timestamp) -> Saga {
    let next = saga.with(index, |step| {
        step.state = if undo { State::Undone } else { State::Succeeded };
        step.finished_at = Some(Time(now));
        step.failure = None;
    });
    let following = next.current().and_then(|at| Some((at, next.steps.get(at)?)));
    match following {
        Some((at, step)) if !undo && step.phase != UpgradePhase::Commit => next.begin(at, false, 1, now),
        Some((at, step)) if undo && next.undoes_by_doing(step.phase) => next.begin(at, true, 1, now),
        _ => next,
    }
}

fn write(saga: Saga) -> Decision {
    Decision::Write(Box::new(saga))
}

/// What is tried again asks for a person, once it was tried often enough.
fn tried_again(reason: Reason, message: String, step: &UpgradeStep) -> Decision {
    Decision::Wait(Wait {
        stalled: step.attempt >= MAX_ATTEMPTS,
        ..Wait::new(reason, message)
    })
}
