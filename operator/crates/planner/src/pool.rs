//! Which machines of a pool are made and which are removed.

use std::collections::BTreeSet;

use seedbed_crds::IntOrPercent;
use seedbed_planted::planted;

crate::effect::effects! {
    /// What is done to a pool.
    pub enum Effect of "NodePool" {
        /// Keep the object until its machines are gone.
        AddFinalizer => "keeping the object until its end",
        /// Make the object of a worker.
        CreateMachine => "making a worker",
        /// Delete the object of a worker.
        DeleteMachine => "removing a worker",
        /// Let the object go.
        RemoveFinalizer => "letting the object go",
    }
}

/// A machine of a pool as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolMachine {
    /// Its name.
    pub name: String,
    /// Its index in the pool; none where its name does not follow the pool's.
    pub index: Option<u32>,
    /// Whether it is of the present template.
    pub up_to_date: bool,
    /// Whether its node is Ready.
    pub ready: bool,
    /// Whether it goes.
    pub going: Going,
}

/// Whether a machine of a pool goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Going {
    /// It stays.
    No,
    /// Its deletion was asked for, and no answer came: it may go at any moment.
    InDoubt,
    /// It is being deleted.
    Yes,
}

/// How machines are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// How many machines there may be above the wanted number.
    pub max_surge: u32,
    /// How many Ready machines may be missing below the wanted number.
    pub max_unavailable: u32,
}

impl Rollout {
    /// The strategy in numbers. Percentages are of `replicas`: surge rounded up, unavailable rounded down; if both come to 0,
    /// one may be unavailable, as in a Deployment.
    pub fn resolve(max_surge: &IntOrPercent, max_unavailable: &IntOrPercent, replicas: u32) -> Self {
        let max_surge = resolve(max_surge, replicas, true);
        let max_unavailable = resolve(max_unavailable, replicas, false);
        Self {
            max_surge,
            max_unavailable: if max_surge == 0 {
                max_unavailable.max(1)
            } else {
                max_unavailable
            },
        }
    }
}

fn resolve(value: &IntOrPercent, of: u32, up: bool) -> u32 {
    match value {
        IntOrPercent::Int(n) => u32::try_from(*n).unwrap_or(0),
        IntOrPercent::Percent(text) => {
            let percent: u32 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = of * percent.min(100);
            if up { product.div_ceil(100) } else { product / 100 }
        }
    }
}

/// What to do with a pool now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolPlan {
    /// Indices of machines to make.
    pub create: Vec<u32>,
    /// Names of machines to delete.
    pub delete: Vec<String>,
    /// Name of the upgrade that has to end before more machines are made.
    pub waits_for: Option<String>,
}

impl PoolPlan {
    /// Whether machines are made or deleted.
    pub fn changes_something(&self) -> bool {
        !self.create.is_empty() || !self.delete.is_empty()
    }
}

/// What to do with a pool now, towards `replicas` machines of the present template.
///
/// Machines being deleted still count against the surge, because they still take up the host. A machine that is not Ready
/// may always be replaced: nothing runs on it that could be lost. One that may go at any moment is deleted, whatever is wanted by now:
/// another one that went in its place could be one too many.
pub fn plan(replicas: u32, strategy: Rollout, machines: &[PoolMachine]) -> PoolPlan {
    let staying: Vec<&PoolMachine> = machines.iter().filter(|m| m.going == Going::No).collect();
    let (current, outdated): (Vec<&PoolMachine>, Vec<&PoolMachine>) =
        staying.iter().partition(|m| m.up_to_date);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);

    let wanted = replicas.saturating_sub(count(current.len()));
    let there = if planted!(IgnoreDeleting) {
        staying.len()
    } else {
        machines.len()
    };
    let room = (replicas + strategy.max_surge).saturating_sub(count(there));
    let create = free_indices(machines, wanted.min(room));

    let mut ready = count(staying.iter().filter(|m| m.ready).count());
    let floor = replicas.saturating_sub(strategy.max_unavailable);
    let mut surplus = count(staying.len()).saturating_sub(replicas);
    let in_doubt = machines.iter().filter(|m| m.going == Going::InDoubt);
    let mut delete: Vec<String> = in_doubt.map(|m| m.name.clone()).collect();

    let mut candidates = outdated;
    candidates.sort_by_key(|m| (m.ready, std::cmp::Reverse(m.index)));
    for machine in candidates {
        // An outdated machine goes when it is one too many anyway, or when the pool can spare it.
        let spare = if machine.ready {
            ready > floor
        } else {
            strategy.max_unavailable > 0 || surplus > 0 || wanted == 0
        };
        if !spare {
            continue;
        }
        if machine.ready {
            ready -= 1;
        }
        surplus = surplus.saturating_sub(1);
        delete.push(machine.name.clone());
    }

    let mut too_many = count(current.len()).saturating_sub(replicas);
    let mut candidates = current;
    candidates.sort_by_key(|m| (m.ready, std::cmp::Reverse(m.index)));
    for machine in candidates {
        if too_many == 0 {
            break;
        }
        too_many -= 1;
        delete.push(machine.name.clone());
    }
    PoolPlan {
        create,
        delete,
        waits_for: None,
    }
}

fn free_indices(machines: &[PoolMachine], count: u32) -> Vec<u32> {
    let taken: BTreeSet<u32> = machines.iter().filter_map(|m| m.index).collect();
    (0u32..)
        .filter(|i| !taken.contains(i))
        .take(count as usize)
        .collect()
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a handful of machines"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn machine(index: u32, up_to_date: bool, ready: bool) -> PoolMachine {
        PoolMachine {
            name: format!("w-{index}"),
            index: Some(index),
            up_to_date,
            ready,
            going: Going::No,
        }
    }

    const SURGE_ONE: Rollout = Rollout {
        max_surge: 1,
        max_unavailable: 0,
    };

    #[test]
    fn a_new_pool_gets_all_its_machines_at_once() {
        assert_eq!(plan(3, SURGE_ONE, &[]).create, [0, 1, 2]);
    }

    #[test]
    fn scaling_down_takes_the_highest_index_and_what_is_not_ready_first() {
        let all = [
            machine(0, true, false),
            machine(1, true, true),
            machine(2, true, true),
        ];
        assert_eq!(plan(2, SURGE_ONE, &all).delete, ["w-0"]);
        assert_eq!(plan(1, SURGE_ONE, &all).delete, ["w-0", "w-2"]);
    }

    #[test]
    fn one_that_may_go_at_any_moment_goes_and_no_other_in_its_place() {
        let mut all = [
            machine(0, true, false),
            machine(1, true, true),
            machine(2, true, true),
        ];
        all[2].going = Going::InDoubt;
        assert_eq!(plan(2, SURGE_ONE, &all).delete, ["w-2"]);
        assert_eq!(plan(3, SURGE_ONE, &all).delete, ["w-2"]);
        all[2].going = Going::Yes;
        assert_eq!(plan(2, SURGE_ONE, &all), PoolPlan::default());
    }

    #[test]
    fn a_template_change_surges_first_and_removes_when_the_new_one_is_ready() {
        let old = [machine(0, false, true), machine(1, false, true)];
        assert_eq!(
            plan(2, SURGE_ONE, &old),
            PoolPlan {
                create: vec![2],
                delete: vec![],
                waits_for: None,
            }
        );
        let booting = [old[0].clone(), old[1].clone(), machine(2, true, false)];
        assert_eq!(plan(2, SURGE_ONE, &booting), PoolPlan::default());
        let booted = [old[0].clone(), old[1].clone(), machine(2, true, true)];
        assert_eq!(
            plan(2, SURGE_ONE, &booted),
            PoolPlan {
                create: vec![],
                delete: vec!["w-1".into()],
                waits_for: None,
            }
        );
    }

    #[test]
    fn without_surge_one_goes_before_one_comes() {
        let strategy = Rollout {
            max_surge: 0,
            max_unavailable: 1,
        };
        let old = [machine(0, false, true), machine(1, false, true)];
        assert_eq!(
            plan(2, strategy, &old),
            PoolPlan {
                create: vec![],
                delete: vec!["w-1".into()],
                waits_for: None,
            }
        );
        let mut going = old.clone();
        going[1].going = Going::Yes;
        assert_eq!(plan(2, strategy, &going), PoolPlan::default());
        assert_eq!(plan(2, strategy, &old[..1]).create, [1]);
    }

    #[test]
    fn percentages_are_rounded_as_in_a_deployment() {
        let of = |surge: &str, unavailable: &str, n| {
            Rollout::resolve(
                &IntOrPercent::Percent(surge.into()),
                &IntOrPercent::Percent(unavailable.into()),
                n,
            )
        };
        assert_eq!(
            of("25%", "25%", 5),
            Rollout {
                max_surge: 2,
                max_unavailable: 1
            }
        );
        assert_eq!(
            of("0%", "10%", 5),
            Rollout {
                max_surge: 0,
                max_unavailable: 1
            }
        );
    }

    proptest! {
        #[test]
        fn every_rollout_ends_and_never_leaves_its_bounds(
            replicas in 0u32..6,
            surge in 0u32..3,
            unavailable in 0u32..3,
            start in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..8),
            order in proptest::collection::vec(any::<u8>(), 200),
        ) {
            let strategy = Rollout::resolve(&IntOrPercent::Int(surge as i32), &IntOrPercent::Int(unavailable as i32), replicas);
            let mut machines: Vec<PoolMachine> =
                start.iter().enumerate().map(|(i, (c, r))| machine(i as u32, *c, *r)).collect();
            let initially = machines.len() as u32;
            let initially_ready = machines.iter().filter(|m| m.ready).count() as u32;
            for pick in order {
                let plan = plan(replicas, strategy, &machines);
                for index in plan.create {
                    prop_assert!(machines.iter().all(|m| m.index != Some(index)));
                    machines.push(machine(index, true, false));
                }
                for name in plan.delete {
                    machines.iter_mut().find(|m| m.name == name).unwrap().going = Going::Yes;
                }
                prop_assert!(machines.len() as u32 <= (replicas + strategy.max_surge).max(initially));
                let ready = machines.iter().filter(|m| m.ready && m.going == Going::No).count() as u32;
                prop_assert!(ready >= replicas.saturating_sub(strategy.max_unavailable).min(initially_ready));
                // One thing happens: a machine finishes going, or becomes Ready.
                let n = machines.len();
                if n == 0 { continue; }
                let at = pick as usize % n;
                if let Some(i) = (0..n).map(|i| (i + at) % n).find(|i| machines[*i].going == Going::Yes || !machines[*i].ready) {
                    if machines[i].going == Going::Yes { machines.remove(i); } else { machines[i].ready = true; }
                }
            }
            prop_assert_eq!(machines.len() as u32, replicas);
            prop_assert!(machines.iter().all(|m| m.up_to_date && m.ready && m.going == Going::No));
        }
    }
}
