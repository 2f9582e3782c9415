//! What is done to a world: drawn from a seed before anything happens, so that any part of it can be left out.

use std::fmt;
use std::time::Duration;

use seedbed_simulator::Failure;

use super::calls::{Arm, Class};
use super::weather::Weather;
use crate::Chance;

/// Clusters that there may be, by their names.
pub(crate) const CLUSTERS: [&str; 3] = ["a", "b", "c"];
/// Pools that there may be, and whose they are.
pub(crate) const POOLS: [(&str, &str); 4] = [("a-w", "a"), ("b-w", "b"), ("c-w", "c"), ("a-x", "a")];

/// All that is done to a world.
#[derive(Debug, Clone)]
pub struct Script {
    /// How many hosts there are.
    pub(crate) hosts: usize,
    /// Whether instances of the operator elect a leader.
    pub(crate) election: bool,
    /// Whether the seed has a garbage collector.
    pub(crate) collects_garbage: bool,
    /// How long things take, and how often calls fail just so.
    pub(crate) weather: Weather,
    /// What happens, in order.
    pub(crate) events: Vec<Event>,
    /// How long until everything is mended.
    pub(crate) length: Duration,
    /// Whether there is a newer version, to which clusters are upgraded.
    pub(crate) upgrades: bool,
}

/// Something that happens at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What happens. A machine is meant by its place among those that are there then, or the first again after the last.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A user makes a cluster on the host of that place, if there is none of its name.
    MakeCluster(usize, u64),
    /// A user makes a pool, if there is none of its name.
    MakePool(usize, u64),
    Scale(usize, u64),
    /// A user gives the machines of a pool that many GiB.
    ResizePool(usize, u64),
    /// A user has the machines of a pool replaced by upgrades, or their kubelets.
    ReplaceWorkers(usize, bool),
    /// A user gives the control plane that many GiB, which the schema allows until it is initialised.
    ResizeControlPlane(usize, u64),
    Pause(usize, bool),
    Retain(usize, bool),
    DeleteCluster(usize),
    DeletePool(usize),
    /// A user asks for the plan of a cluster's upgrade, if there is none yet.
    PlanUpgrade(usize),
    DeleteUpgrade(usize),
    /// A user asks for the newer version of a cluster, or for the older one.
    EditVersion(usize, bool),
    /// A user makes an upgrade of a cluster by hand, whose control plane is watched for that many seconds.
    Upgrade(usize, u64),
    /// A user cancels one of a cluster's upgrades.
    CancelUpgrade(usize, u64),
    /// A user wants one of them taken back by its snapshot where it fails after `Commit`.
    RestoreOnFailure(usize, u64),
    /// The next jobs of a cluster's upgrade fail, if it can be taken back in no other way.
    FailUpgrade(usize),
    /// What the control plane of a cluster would be restored from is damaged, where its upgrade has passed its point of no return.
    DamageSnapshot(usize),
    /// A user deletes one of them.
    DropUpgrade(usize, u64),
    /// A backup without statuses is restored, as far as one of them goes.
    LoseStatus(usize, u64),
    /// The same of a cluster and all that belongs to it.
    LoseStatuses(usize),
    /// Somebody deletes a cluster's journal.
    LoseJournal(usize),
    DeleteMachine(u64),
    /// A user deletes one of a cluster's Secrets.
    DeleteSecret(usize, &'static str),
    /// A user keeps something in a child cluster.
    WriteChild(usize, u64),
    /// A user runs pods in a child cluster, of which a budget lets all, all but one or none go.
    RunPods(usize, u64),
    /// Somebody makes a domain, network and volume on a host, with the names that the operator would use.
    Foreign(u64, usize),
    Kill,
    StartAnother,
    AskToStop,
    SuspendOperator(Duration),
    /// Somebody sets the clock on the operator's machine.
    SetClock(i64),
    Arm(Arm),
    /// Watches of that kind bring nothing for so long.
    Hold(&'static str, Duration),
    /// Watches of that kind break.
    Break(&'static str),
    /// The API server forgets what happened so far.
    Compact,
    Disconnect(u64, Duration),
    Reboot(u64, bool),
    CutPower(u64),
    Crash(u64),
    SuspendMachine(u64, Duration),
    Mute(u64, Duration),
    Isolate(u64, Duration),
    /// The operator does not reach a cluster's API.
    CutOff(usize, Duration),
    FillPool(u64, Duration),
    /// The next jobs in a machine fail.
    FailJobs(u64, u32, Failure),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} {:?}", self.at.as_secs_f64(), self.what)
    }
}

impl Script {
    /// The script of that seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed).of("script");
        let clusters = 1 + usize::try_from(chance.below(3)).unwrap_or_default();
        let hosts = 1 + usize::try_from(chance.below(2)).unwrap_or_default();
        let length = chance.between(Duration::from_mins(1), Duration::from_mins(12));
        let mut events = Vec::new();
        for index in 0..clusters {
            let at = chance.between(Duration::ZERO, Duration::from_secs(20));
            events.push(Event {
                at,
                what: What::MakeCluster(index, chance.number()),
            });
        }
        for (index, (_, of)) in POOLS.iter().enumerate() {
            if CLUSTERS[..clusters].contains(of) && chance.happens(700_000) {
                let at = chance.between(Duration::ZERO, Duration::from_secs(40));
                events.push(Event {
                    at,
                    what: What::MakePool(index, chance.below(4)),
                });
            }
        }
        for draw in [
            user,
            user,
            operator,
            calls,
            calls,
            calls,
            watches,
            hosts_and_guests,
            hosts_and_guests,
        ] {
            // Some seeds have none of a sort, and some many.
            let most = [0, 2, 6, 14][usize::try_from(chance.below(4)).unwrap_or_default()];
            for _ in 0..chance.below(most + 1) {
                let at = chance.between(Duration::ZERO, length);
                events.push(Event {
                    at,
                    what: draw(&mut chance, clusters),
                });
            }
        }
        events.extend(upgrades(&mut Chance::new(seed).of("upgrades"), clusters, length));
        let carried_out = carried_out(
            &mut Chance::new(seed).of("upgrades that are carried out"),
            clusters,
            length,
        );
        let upgrades = !carried_out.is_empty();
        events.extend(carried_out);
        if upgrades {
            let chance = &mut Chance::new(seed).of("upgrades that are restored");
            events.extend(restored(chance, clusters, length));
            let chance = &mut Chance::new(seed).of("upgrades that replace workers");
            events.extend(replaced(chance, clusters, length));
        }
        events.sort_by_key(|event| event.at);
        Self {
            hosts,
            election: chance.happens(400_000),
            collects_garbage: Chance::new(seed).of("collector").happens(500_000),
            weather: Weather::drawn(&mut chance),
            events,
            length,
            upgrades,
        }
    }

    /// The same with no more than those of its events, or without its weather.
    #[must_use]
    pub fn only(&self, keep: impl Fn(usize) -> bool, weather: bool) -> Self {
        let events = self.events.iter().enumerate();
        Self {
            events: events
                .filter(|(index, _)| keep(*index))
                .map(|(_, event)| event.clone())
                .collect(),
            weather: if weather {
                self.weather.clone()
            } else {
                Weather::default()
            },
            ..self.clone()
        }
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events that are kept, a line each.
    pub fn describe(&self, keep: impl Fn(usize) -> bool) -> String {
        let mut text = format!("{:?}\n", self.weather);
        for (index, event) in self.events.iter().enumerate().filter(|(index, _)| keep(*index)) {
            text += &format!("{index:>4} {event}\n");
        }
        text
    }
}

/// Drawn by themselves, so that all else of a seed stays as it is without them.
fn upgrades(chance: &mut Chance, clusters: usize, length: Duration) -> Vec<Event> {
    let many = if chance.happens(500_000) {
        chance.below(5)
    } else {
        0
    };
    let one = |_| {
        let cluster = usize::try_from(chance.below(clusters as u64)).unwrap_or_default();
        Event {
            at: chance.between(Duration::ZERO, length),
            what: if chance.happens(750_000) {
                What::PlanUpgrade(cluster)
            } else {
                What::DeleteUpgrade(cluster)
            },
        }
    };
    (0..many).map(one).collect()
}

/// The same of those that are carried out.
fn carried_out(chance: &mut Chance, clusters: usize, length: Duration) -> Vec<Event> {
    let many = if chance.happens(500_000) {
        1 + chance.below(7)
    } else {
        0
    };
    let one = |_| {
        let cluster = usize::try_from(chance.below(clusters as u64)).unwrap_or_default();
        let at = chance.between(Duration::ZERO, length);
        let what = match chance.below(12) {
            0..=3 => What::EditVersion(cluster, chance.happens(750_000)),
            4..=6 => What::Upgrade(cluster, chance.below(90)),
            7 | 8 => What::CancelUpgrade(cluster, chance.number()),
            9 => What::DropUpgrade(cluster, chance.number()),
            10 if chance.happens(500_000) => What::LoseStatuses(cluster),
            10 => What::LoseStatus(cluster, chance.number()),
            _ => What::LoseJournal(cluster),
        };
        Event { at, what }
    };
    (0..many).map(one).collect()
}

/// Drawn by themselves, too: an upgrade of one cluster, the wish to have it restored, and what makes it fail.
fn restored(chance: &mut Chance, clusters: usize, length: Duration) -> Vec<Event> {
    if !chance.happens(300_000) {
        return Vec::new();
    }
    let cluster = usize::try_from(chance.below(clusters as u64)).unwrap_or_default();
    let mut events = Vec::new();
    for _ in 0..2 {
        events.push(What::Upgrade(cluster, chance.below(30)));
        events.push(What::RestoreOnFailure(cluster, chance.number()));
    }
    // Before it has passed its point of no return nothing comes of it.
    events.extend((0..12).map(|_| What::FailUpgrade(cluster)));
    let mut damage = chance.of("damage");
    let mut at = |what| Event {
        at: chance.between(Duration::ZERO, length),
        what,
    };
    let mut events: Vec<Event> = events.into_iter().map(&mut at).collect();
    if damage.happens(500_000) {
        // As little comes of these.
        events.extend((0..6).map(|_| Event {
            at: damage.between(Duration::ZERO, length),
            what: What::DamageSnapshot(cluster),
        }));
    }
    events
}

/// Drawn by themselves, too: pools that have their machines replaced by upgrades.
fn replaced(chance: &mut Chance, clusters: usize, length: Duration) -> Vec<Event> {
    if !chance.happens(400_000) {
        return Vec::new();
    }
    let number = 1 + chance.below(3);
    let mut event = |_| Event {
        at: chance.between(Duration::ZERO, length),
        what: What::ReplaceWorkers(pool(chance, clusters), chance.happens(800_000)),
    };
    (0..number).map(&mut event).collect()
}

/// A pool of one of that many clusters.
fn pool(chance: &mut Chance, clusters: usize) -> usize {
    let pools: Vec<usize> = (0..POOLS.len())
        .filter(|index| CLUSTERS[..clusters].contains(&POOLS[*index].1))
        .collect();
    chance.pick(&pools).copied().unwrap_or_default()
}

fn user(chance: &mut Chance, clusters: usize) -> What {
    let cluster = usize::try_from(chance.below(clusters as u64)).unwrap_or_default();
    let pool = pool(chance, clusters);
    match chance.below(27) {
        0 | 1 => What::DeleteCluster(cluster),
        2..=4 => What::MakeCluster(cluster, chance.number()),
        5 | 6 => What::MakePool(pool, chance.below(4)),
        7..=9 => What::Scale(pool, chance.below(5)),
        10 | 11 => What::ResizePool(pool, 2 + chance.below(2)),
        12 => What::ResizeControlPlane(cluster, 2 + chance.below(3)),
        13 | 14 => What::Pause(cluster, chance.happens(600_000)),
        15 => What::Retain(cluster, chance.happens(700_000)),
        16 => What::DeletePool(pool),
        17 | 18 => What::DeleteMachine(chance.number()),
        19 => What::DeleteSecret(
            cluster,
            ["ca", "etcd", "proxy", "sa", "kubeconfig"][usize::try_from(chance.below(5)).unwrap_or_default()],
        ),
        20 => What::WriteChild(cluster, chance.below(1000)),
        21..=23 => What::RunPods(cluster, chance.below(1000)),
        _ => What::Foreign(chance.number(), cluster),
    }
}

fn operator(chance: &mut Chance, _: usize) -> What {
    match chance.below(6) {
        0 | 1 => What::Kill,
        2 => What::StartAnother,
        3 => What::AskToStop,
        4 => What::SuspendOperator(chance.between(Duration::from_secs(1), Duration::from_mins(1))),
        _ => What::SetClock(i64::try_from(chance.below(7200)).unwrap_or_default() - 3600),
    }
}

fn calls(chance: &mut Chance, _: usize) -> What {
    What::Arm(Arm::drawn(chance))
}

fn watches(chance: &mut Chance, _: usize) -> What {
    let kind = Class::watched(chance);
    match chance.below(4) {
        0 | 1 => What::Hold(
            kind,
            chance.between(Duration::from_millis(100), Duration::from_mins(2)),
        ),
        2 => What::Break(kind),
        _ => What::Compact,
    }
}

fn hosts_and_guests(chance: &mut Chance, clusters: usize) -> What {
    let which = chance.number();
    let cluster = usize::try_from(chance.below(clusters as u64)).unwrap_or_default();
    let time = chance.between(Duration::from_secs(1), Duration::from_mins(3));
    match chance.below(14) {
        0 | 1 => What::Disconnect(which, time),
        2 => What::Reboot(which, chance.happens(700_000)),
        3 | 4 => What::CutPower(which),
        5 => What::Crash(which),
        6 => What::SuspendMachine(which, time),
        7 => What::Mute(which, time),
        8 => What::Isolate(which, time),
        9 | 10 => What::CutOff(cluster, time),
        11 => What::FillPool(which, time),
        _ => {
            let times = 1 + u32::try_from(chance.below(4)).unwrap_or_default();
            let failure = if chance.happens(500_000) {
                Failure::Preflight
            } else {
                Failure::Late
            };
            What::FailJobs(which, times, failure)
        }
    }
}
