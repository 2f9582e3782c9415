//! Single calls that go wrong.

use std::time::Duration;

use crate::Chance;
use crate::step::{Boundary, End, Refusal, Step};

/// Kinds that the operator watches, by their names in paths.
pub(crate) const WATCHED: [&str; 7] = [
    "devclusters",
    "nodepools",
    "devmachines",
    "hypervisorhosts",
    "kubernetesreleases",
    "nodes",
    "deployments",
];

/// A sort of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// Everything that may change something, where it is called.
    Change(Where),
    Look(Where),
    /// Writes of a kind, by its name in paths; with the method.
    Write(&'static str, &'static str),
    /// Writes of a status.
    Status,
    /// A method of a host.
    Host(&'static str),
    /// Everything that would be asked of the lease.
    Lease,
}

/// Where something is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    Seed,
    Child,
    Host,
}

impl Where {
    fn of(boundary: &Boundary) -> Self {
        match boundary {
            Boundary::Seed => Self::Seed,
            Boundary::Child(_) => Self::Child,
            Boundary::Host(_) => Self::Host,
        }
    }
}

impl Class {
    /// One of the kinds that are watched.
    pub(crate) fn watched(chance: &mut Chance) -> &'static str {
        chance.pick(&WATCHED).copied().unwrap_or(WATCHED[0])
    }

    fn drawn(chance: &mut Chance) -> Self {
        let place = [Where::Seed, Where::Host, Where::Host, Where::Child];
        let place = chance.pick(&place).copied().unwrap_or(Where::Host);
        match chance.below(12) {
            0..=2 => Self::Change(place),
            3 => Self::Look(place),
            4 => Self::Write(
                "devmachines",
                chance
                    .pick(&["POST", "DELETE", "PATCH"])
                    .copied()
                    .unwrap_or("POST"),
            ),
            5 => Self::Write(
                "configmaps",
                chance.pick(&["POST", "PUT"]).copied().unwrap_or("PUT"),
            ),
            6 => Self::Write(
                "secrets",
                chance.pick(&["POST", "DELETE"]).copied().unwrap_or("POST"),
            ),
            7 => Self::Status,
            8..=10 => match chance.pick(&HOST).copied().unwrap_or("define_domain") {
                "detach_disk" => Self::Host(chance.of("disk").pick(&DISK).copied().unwrap_or("detach_disk")),
                verb => Self::Host(verb),
            },
            _ => Self::Lease,
        }
    }

    pub(crate) fn is(&self, step: &Step) -> bool {
        let place = Where::of(&step.boundary);
        let lease = step.object.contains("/leases/");
        match self {
            Self::Change(of) => *of == place && step.changes && !lease && step.verb != "agent",
            Self::Look(of) => *of == place && !step.changes && !lease && step.verb != "WATCH",
            Self::Write(kind, verb) => {
                let mut words = step.object.split('/');
                place == Where::Seed && step.verb == *verb && words.any(|word| word == *kind)
            }
            Self::Status => place == Where::Seed && step.changes && step.object.ends_with("/status"),
            Self::Host(verb) => place == Where::Host && step.verb == *verb,
            Self::Lease => lease,
        }
    }

    fn place(&self) -> Where {
        match self {
            Self::Change(of) | Self::Look(of) => *of,
            Self::Write(..) | Self::Status | Self::Lease => Where::Seed,
            Self::Host(_) => Where::Host,
        }
    }

    fn changes(&self) -> bool {
        !matches!(self, Self::Look(_))
    }
}

const HOST: [&str; 19] = [
    "ensure_network",
    "reserve_address",
    "release_address",
    "delete_network",
    "create_volume",
    "upload_volume",
    "delete_volume",
    "define_domain",
    "start_domain",
    "destroy_domain",
    "undefine_domain",
    "disown_domain",
    "attach_disk",
    "detach_disk",
    "agent",
    "agent",
    "inventory",
    "domain",
    "network",
];

/// Those that are made in upgrades only.
const DISK: [&str; 4] = ["detach_disk", "keep_disk", "merge_disk", "revert_disk"];

/// The next calls of a sort go wrong, after some of them went well.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    pub(crate) class: Class,
    /// How many go well before.
    pub(crate) after: u64,
    /// How many go wrong.
    pub(crate) times: u64,
    pub(crate) end: End,
}

impl Arm {
    pub(crate) fn drawn(chance: &mut Chance) -> Self {
        let class = Class::drawn(chance);
        let end = end(&class, chance);
        let once = matches!(end, End::KilledBefore | End::KilledAfter);
        Self {
            after: chance.below(6),
            times: if once { 1 } else { 1 + chance.below(4) },
            class,
            end,
        }
    }
}

fn end(class: &Class, chance: &mut Chance) -> End {
    let refusal = match class.place() {
        Where::Host if chance.happens(400_000) => Refusal::Answered(0),
        Where::Host => Refusal::Unreachable,
        Where::Seed | Where::Child => match chance.below(5) {
            0 => Refusal::Unreachable,
            1 => Refusal::Answered(500),
            2 => Refusal::Answered(503),
            3 if class.changes() => Refusal::Answered(409),
            _ => Refusal::Answered(429),
        },
    };
    let done = match refusal {
        Refusal::Answered(0 | 409 | 429) => Refusal::Unreachable,
        ref other => other.clone(),
    };
    match chance.below(9) {
        0 | 1 => End::Refused(refusal),
        2 | 3 if class.changes() => End::Lost(done),
        4 => End::Hangs,
        5 if class.changes() => End::DoneAndHangs,
        6 if class.changes() => End::Late(chance.between(Duration::from_secs(1), Duration::from_mins(2))),
        7 => End::KilledBefore,
        _ => End::KilledAfter,
    }
}
