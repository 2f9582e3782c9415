//! Kills the operator at one point of one effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use seedbed_simulation::{Director, End, Fate, Step, World};

use crate::followed;
use crate::ledger::Ledger;

/// When the operator is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Before the effect's step of that number that can change something, from 0.
    BeforeStep(usize),
    /// After it, before it hears of it.
    AfterStep(usize),
    /// After the effect, before its pass calls anything else: before the status is written, if it is.
    BeforeCommit,
    /// After the status was written or, where none is, before anything else is called.
    AfterCommit,
}

/// A point at which the operator is killed: where the effect is carried out for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Kind and name of the effect.
    pub effect: String,
    /// When.
    pub moment: Moment,
}

/// Kills the operator at one point, and follows what is done.
pub struct Saboteur {
    point: Option<Point>,
    state: Mutex<State>,
    world: OnceLock<World>,
}

#[derive(Default)]
struct State {
    killed: bool,
    reached: BTreeSet<String>,
    /// The carrying out of each effect that came first.
    first: BTreeMap<String, u64>,
    /// How many of its steps can change something.
    steps: BTreeMap<String, usize>,
    /// The pass in which the effect was done.
    done: Option<u64>,
    ledger: Ledger,
}

impl Saboteur {
    pub fn new(point: Option<Point>) -> Arc<Self> {
        Arc::new(Self {
            point,
            state: Mutex::default(),
            world: OnceLock::new(),
        })
    }

    /// Tells it the world that it is the director of.
    pub fn watch(&self, world: &World) {
        let _ = self.world.set(world.clone());
    }

    pub fn killed(&self) -> bool {
        self.lock().killed
    }

    pub fn reached(&self) -> BTreeSet<String> {
        self.lock().reached.clone()
    }

    pub fn steps(&self) -> BTreeMap<String, usize> {
        self.lock().steps.clone()
    }

    /// What was done on hosts, a line each.
    pub fn ledger(&self) -> Vec<String> {
        self.lock().ledger.lines()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, step: &Step, state: &mut State) -> End {
        let done = followed::take_done();
        state
            .reached
            .extend(done.iter().map(|(_, effect)| effect.clone()));
        let Some(point) = self.point.as_ref().filter(|_| !state.killed) else {
            if let Some((id, effect)) = followed::effect() {
                count(state, id, &effect, step);
            }
            return End::Done;
        };
        if state.done.is_none()
            && let Some((pass, _)) = done.iter().find(|(_, effect)| *effect == point.effect)
        {
            state.done = Some(*pass);
        }
        match (followed::effect(), state.done) {
            (Some((id, effect)), None) if effect == point.effect => {
                let number = count(state, id, &effect, step);
                match point.moment {
                    Moment::BeforeStep(wanted) if number == Some(wanted) => End::KilledBefore,
                    Moment::AfterStep(wanted) if number == Some(wanted) => End::KilledAfter,
                    _ => End::Done,
                }
            }
            (_, Some(pass)) => after(point, pass, step),
            _ => End::Done,
        }
    }
}

/// What becomes of a call after the effect was done.
fn after(point: &Point, pass: u64, step: &Step) -> End {
    let in_pass = followed::pass() == Some(pass);
    let writes_status = step.verb == "PUT" && step.object.ends_with("/status");
    match point.moment {
        Moment::AfterCommit if in_pass && writes_status => End::KilledAfter,
        // A background task has no pass, and an event about a failure or a change comes before or after the status.
        Moment::AfterCommit if in_pass && step.object.contains("/events") => End::Done,
        Moment::BeforeCommit | Moment::AfterCommit => End::KilledBefore,
        _ => End::Done,
    }
}

/// The number of a step that can change something, in the first carrying out of the effect.
fn count(state: &mut State, id: u64, effect: &str, step: &Step) -> Option<usize> {
    let first = *state.first.entry(effect.to_owned()).or_insert(id);
    if first != id || !step.changes {
        return None;
    }
    let steps = state.steps.entry(effect.to_owned()).or_default();
    *steps += 1;
    Some(*steps - 1)
}

impl Director for Saboteur {
    fn fate(&self, step: &Step) -> Fate {
        let mut state = self.lock();
        let end = self.end(step, &mut state);
        if end != End::Done {
            state.killed = true;
        }
        Fate {
            end,
            ..Fate::default()
        }
    }

    fn doing(&self, step: &Step) {
        if let Some(world) = self.world.get() {
            self.lock().ledger.before(world, step);
        }
    }

    fn done(&self, step: &Step, _: &str) {
        if let Some(world) = self.world.get() {
            self.lock().ledger.after(world, step);
        }
    }
}
