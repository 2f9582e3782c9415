//! How long things take, and how often calls fail just so.

use std::collections::BTreeMap;
use std::time::Duration;

use super::calls::WATCHED;
use crate::Chance;
use crate::step::{Boundary, End, Refusal, Step};

/// How long things take at most, in milliseconds, and how many calls of a million fail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    api: u64,
    host: u64,
    child: u64,
    host_events: u64,
    watches: BTreeMap<&'static str, u64>,
    /// By how many percent what takes time in machines may take more or less.
    machines: u64,
    api_failures: u64,
    host_failures: u64,
    child_failures: u64,
}

impl Weather {
    pub(crate) fn drawn(chance: &mut Chance) -> Self {
        let mut one_of = |from: &[u64]| chance.pick(from).copied().unwrap_or_default();
        Self {
            api: one_of(&[0, 5, 50, 500]),
            host: one_of(&[0, 10, 200, 2_000]),
            child: one_of(&[0, 10, 200, 2_000]),
            host_events: one_of(&[0, 20, 500, 10_000]),
            watches: WATCHED
                .into_iter()
                .map(|kind| (kind, one_of(&[0, 0, 10, 200, 3_000])))
                .collect(),
            machines: one_of(&[0, 10, 50]),
            api_failures: one_of(&[0, 0, 1_000, 20_000]),
            host_failures: one_of(&[0, 0, 1_000, 20_000]),
            child_failures: one_of(&[0, 0, 1_000, 50_000]),
        }
    }

    /// How long a call is on its way.
    pub(crate) fn way(&self, step: &Step, chance: &mut Chance) -> Duration {
        let most = match &step.boundary {
            Boundary::Seed => self.api,
            Boundary::Child(_) => self.child,
            Boundary::Host(_) => self.host,
        };
        up_to(most, chance)
    }

    pub(crate) fn event(&self, kind: &str, chance: &mut Chance) -> Duration {
        up_to(self.watches.get(kind).copied().unwrap_or_default(), chance)
    }

    pub(crate) fn host_event(&self, chance: &mut Chance) -> Duration {
        up_to(self.host_events, chance)
    }

    pub(crate) fn later(&self, delay: Duration, chance: &mut Chance) -> Duration {
        let percent = 100 - self.machines + chance.below(2 * self.machines + 1);
        delay * u32::try_from(percent).unwrap_or(100) / 100
    }

    /// Whether the call fails just so.
    pub(crate) fn failure(&self, step: &Step, chance: &mut Chance) -> Option<End> {
        let often = match &step.boundary {
            Boundary::Seed => self.api_failures,
            Boundary::Child(_) => self.child_failures,
            Boundary::Host(_) => self.host_failures,
        };
        if !chance.happens(often) {
            return None;
        }
        let refusal = match (&step.boundary, chance.below(5)) {
            (Boundary::Host(_), 0) if step.verb != "agent" => Refusal::Answered(0),
            (Boundary::Host(_), _) | (_, 0) => Refusal::Unreachable,
            (_, 1) => Refusal::Answered(500),
            (_, 2) => Refusal::Answered(429),
            (_, 3) if step.changes => Refusal::Answered(409),
            _ => Refusal::Answered(503),
        };
        // Who answers that it is too busy, or will not, or has another version, has not done it.
        let may_be_done = !matches!(refusal, Refusal::Answered(0 | 409 | 429));
        Some(if may_be_done && chance.happens(400_000) {
            End::Lost(refusal)
        } else {
            End::Refused(refusal)
        })
    }
}

fn up_to(most: u64, chance: &mut Chance) -> Duration {
    if most == 0 {
        return Duration::ZERO;
    }
    Duration::from_millis(chance.below(most + 1))
}
