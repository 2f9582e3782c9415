//! Decides what becomes of calls, by the script and the weather, and lets the oracle look at each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::calls::Arm;
use super::oracle::Oracle;
use super::weather::Weather;
use crate::Chance;
use crate::step::{Delivery, Director, End, Fate, Step};

/// How many calls in one second of virtual time are too many: nothing that waits calls so often.
const SPINS: u64 = 5_000;

/// Decides what becomes of calls.
pub(crate) struct Conductor {
    state: Mutex<State>,
    oracle: OnceLock<Arc<Oracle>>,
}

struct State {
    chance: Chance,
    weather: Weather,
    arms: Vec<Arm>,
    /// Kinds whose watches bring nothing until then.
    held: BTreeMap<&'static str, Instant>,
    /// Kinds whose watches break at their next event.
    broken: Vec<&'static str>,
    second: u64,
    calls: u64,
    /// Calls that may have changed something, leases and agents' commands apart.
    changes: u64,
    begun: Instant,
}

impl Conductor {
    pub(crate) fn new(chance: Chance, weather: Weather) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                chance,
                weather,
                arms: Vec::new(),
                held: BTreeMap::new(),
                broken: Vec::new(),
                second: 0,
                calls: 0,
                changes: 0,
                begun: Instant::now(),
            }),
            oracle: OnceLock::new(),
        })
    }

    pub(crate) fn set_oracle(&self, oracle: Arc<Oracle>) {
        // The first one counts, and there is no other.
        let _ = self.oracle.set(oracle);
    }

    pub(crate) fn arm(&self, arm: Arm) {
        self.lock().arms.push(arm);
    }

    pub(crate) fn hold(&self, kind: &'static str, time: Duration) {
        self.lock().held.insert(kind, Instant::now() + time);
    }

    pub(crate) fn break_watches(&self, kind: &'static str) {
        self.lock().broken.push(kind);
    }

    /// From now on everything goes well, and at once.
    pub(crate) fn calm(&self) {
        let mut state = self.lock();
        state.weather = Weather::default();
        state.arms.clear();
        state.held.clear();
        state.broken.clear();
    }

    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ending(&mut self, step: &Step) -> End {
        let armed = self.arms.iter_mut().position(|arm| {
            if !arm.class.is(step) {
                return false;
            }
            let now = arm.after == 0;
            arm.after = arm.after.saturating_sub(1);
            now
        });
        let Some(index) = armed else {
            let Self { weather, chance, .. } = self;
            return weather.failure(step, chance).unwrap_or_default();
        };
        let end = self.arms[index].end.clone();
        self.arms[index].times -= 1;
        if self.arms[index].times == 0 {
            self.arms.remove(index);
        }
        end
    }

    /// Whether calls are made without end and without time going by.
    fn spins(&mut self) -> bool {
        let second = self.begun.elapsed().as_secs();
        if second != self.second {
            self.second = second;
            self.calls = 0;
        }
        self.calls += 1;
        self.calls > SPINS
    }
}

/// The kind that a path is about, as it stands in the path.
fn kind(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl Director for Conductor {
    fn fate(&self, step: &Step) -> Fate {
        let mut state = self.lock();
        if state.spins() {
            if let Some(oracle) = self.oracle.get() {
                oracle.violated(&format!(
                    "the operator spins: more than {SPINS} calls within a second, at last {step}"
                ));
            }
            return Fate {
                end: End::Hangs,
                ..Fate::default()
            };
        }
        let State { weather, chance, .. } = &mut *state;
        let (before, after) = (weather.way(step, chance), weather.way(step, chance));
        let end = state.ending(step);
        if matches!(end, End::Late(_))
            && let Some(oracle) = self.oracle.get()
        {
            oracle.comes_late(step);
        }
        Fate { before, end, after }
    }

    fn delivery(&self, step: &Step) -> Delivery {
        let mut state = self.lock();
        let kind = kind(&step.object);
        if let Some(index) = state.broken.iter().position(|of| *of == kind) {
            state.broken.remove(index);
            return Delivery::Broken;
        }
        let held = state
            .held
            .get(kind)
            .map(|until| until.saturating_duration_since(Instant::now()))
            .unwrap_or_default();
        let State { weather, chance, .. } = &mut *state;
        match held + weather.event(kind, chance) {
            Duration::ZERO => Delivery::Now,
            delay => Delivery::After(delay),
        }
    }

    fn host_event(&self, _: &str, _: &str) -> Delivery {
        let mut state = self.lock();
        let State { weather, chance, .. } = &mut *state;
        match weather.host_event(chance) {
            Duration::ZERO => Delivery::Now,
            delay => Delivery::After(delay),
        }
    }

    fn later(&self, delay: Duration) -> Duration {
        let mut state = self.lock();
        let State { weather, chance, .. } = &mut *state;
        weather.later(delay, chance)
    }

    fn collected(&self) {
        if let Some(oracle) = self.oracle.get() {
            oracle.user_did();
        }
    }

    fn doing(&self, step: &Step) {
        if let Some(oracle) = self.oracle.get() {
            oracle.doing(step);
        }
    }

    fn done(&self, step: &Step, answer: &str) {
        if step.changes && step.verb != "agent" && !step.object.contains("/leases") {
            self.lock().changes += 1;
        }
        if let Some(oracle) = self.oracle.get() {
            oracle.done(step, answer);
        }
    }
}
