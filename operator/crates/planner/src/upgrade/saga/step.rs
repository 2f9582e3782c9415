//! What a step that is under way does now.

use jiff::{SignedDuration, Timestamp};
use seedbed_crds::reasons::Reason;
use seedbed_crds::{UpgradePhase, UpgradeStep, UpgradeTargetKind, UpgradeWatch};

use super::machine::{self, Task, Tried};
use super::soak::soak;
use super::{Health, Machine, Seen, Wait};
use crate::Observed;
use crate::upgrade::effect::Effect;
use crate::upgrade::saga::Job;

/// How long a job may run. It is no measure of how long it takes, only an end to one that hangs.
const LONGEST_JOB: SignedDuration = SignedDuration::from_mins(45);
/// How long a job's start may be tried in vain.
const LONGEST_START: SignedDuration = SignedDuration::from_mins(15);
/// After how long a look at the end that finds something wrong asks for a person.
const VERIFIED_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// What a step does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// It is done.
    Done,
    /// It failed.
    Failed(String),
    /// This is to be written down of the cluster that is watched.
    Note(UpgradeWatch),
    /// Since when the cluster is unwell is to be written down.
    Unwell(Option<Timestamp>),
    /// The cluster was unwell for too long.
    Breach(String),
    /// Do this.
    Do(Vec<(String, Effect)>),
    /// It is to be written down that the disk of the machine of that name is to be taken back, and why.
    Revert(String, String),
    /// Wait.
    Wait(Wait),
}

/// What a step that is under way does now.
pub(super) fn work(step: &UpgradeStep, undo: bool, seen: &Seen, now: Timestamp) -> Work {
    let since = step
        .started_at
        .as_ref()
        .map_or(SignedDuration::ZERO, |at| now.duration_since(at.0));
    match step.phase {
        UpgradePhase::Preflight => Work::Done,
        UpgradePhase::Soak => soak(step, seen, since, now),
        UpgradePhase::Verify if !undo => verify(seen, since),
        _ => machines(step, undo, seen, since),
    }
}

fn verify(seen: &Seen, since: SignedDuration) -> Work {
    match &seen.health {
        Health::Well => merged(seen),
        Health::NotLookedAt => {
            let message = "the upgraded cluster is looked at";
            Work::Wait(Wait::new(Reason::Upgrading, message))
        }
        Health::Unwell(why) if since >= VERIFIED_WITHIN && seen.restores => Work::Breach(format!(
            "the upgraded cluster was not as it should be after {} min: {why}",
            since.as_mins()
        )),
        Health::Unwell(why) => {
            let message = format!("the upgraded cluster is looked at: {why}");
            Work::Wait(Wait {
                stalled: since >= VERIFIED_WITHIN,
                ..Wait::new(Reason::Upgrading, message)
            })
        }
    }
}

/// What was kept is not needed any more.
fn merged(seen: &Seen) -> Work {
    let (mut effects, mut waits) = (Vec::new(), Vec::new());
    for machine in &seen.machines {
        match machine.merge() {
            Some(machine::Work::Do(effect)) => effects.push((machine.name.clone(), effect)),
            Some(machine::Work::Wait(wait)) => waits.push(wait),
            _ => {}
        }
    }
    match (effects.is_empty(), waits.is_empty()) {
        (false, _) => Work::Do(effects),
        (true, false) => Work::Wait(told(waits)),
        (true, true) => Work::Done,
    }
}

/// As many machines at once as may be; no further one is begun where one has failed.
fn machines(step: &UpgradeStep, undo: bool, seen: &Seen, since: SignedDuration) -> Work {
    let of_pool = step.target.kind == UpgradeTargetKind::NodePool;
    let task = Task::of(step.phase, of_pool, undo);
    let tried = Tried {
        since,
        attempt: step.attempt,
    };
    let (mut effects, mut waits, mut failed) = (Vec::new(), Vec::new(), None);
    let mut busy = 0;
    let works: Vec<_> = seen
        .machines
        .iter()
        .map(|m| (m, m.work(task, &seen.to, undo, tried)))
        .collect();
    let (begun, fresh): (Vec<_>, Vec<_>) = works
        .into_iter()
        .filter(|(_, work)| *work != machine::Work::Done)
        .partition(|(machine, _)| machine.is_begun());
    for (machine, work) in begun {
        match work {
            machine::Work::Failed(why) => {
                failed.get_or_insert(why);
                continue;
            }
            machine::Work::Revert(why) => return Work::Revert(machine.name.clone(), why),
            machine::Work::Do(effect) => effects.push((machine.name.clone(), effect)),
            machine::Work::Wait(wait) if is_overdue(machine, seen, since) => {
                failed.get_or_insert(format!(
                    "{} for {} min, which is too long",
                    wait.message,
                    since.as_mins()
                ));
                continue;
            }
            machine::Work::Wait(wait) => waits.push(wait),
            machine::Work::Done => {}
        }
        busy += 1;
    }
    let stands_alone = !of_pool && (undo || step.phase != UpgradePhase::Nodes);
    for (machine, work) in fresh {
        if failed.is_some() || busy >= seen.width {
            break;
        }
        busy += 1;
        match work {
            machine::Work::Do(_) if stands_alone && since >= LONGEST_START => {
                failed = Some(format!(
                    "{}: its job could not be started for {} min",
                    machine.name,
                    since.as_mins()
                ));
                busy -= 1;
            }
            machine::Work::Do(effect) => effects.push((machine.name.clone(), effect)),
            machine::Work::Wait(wait) => waits.push(wait),
            machine::Work::Failed(_) | machine::Work::Revert(_) | machine::Work::Done => {}
        }
    }
    match (failed, busy) {
        // The others come to their end first.
        (Some(why), 0) => Work::Failed(why),
        (None, 0) => Work::Done,
        _ if !effects.is_empty() => Work::Do(effects),
        _ => Work::Wait(told(waits)),
    }
}

/// Whether a job runs for longer than any should, those before it on the same pool included.
fn is_overdue(machine: &Machine, seen: &Seen, since: SignedDuration) -> bool {
    let turns = i32::try_from(seen.machines.len()).unwrap_or(i32::MAX).max(1);
    machine.job == Observed::Known(Job::Running) && since >= LONGEST_JOB * turns
}

/// What all of them wait for, as one.
fn told(waits: Vec<Wait>) -> Wait {
    let mut waits = waits.into_iter();
    let first = waits.next();
    let others = waits.len();
    let mut wait = first.unwrap_or_else(|| Wait::new(Reason::Upgrading, "other machines come to their end"));
    if others > 0 {
        let machines = if others == 1 { "machine" } else { "machines" };
        wait.message = format!("{}; and {others} more {machines}", wait.message);
    }
    wait
}
