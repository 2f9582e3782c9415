//! Every effect, and an operator that is killed before it, after it, and after what it wrote of it: the end is the same, and as much was
//! done as by one that was not killed.
//!
//! The effects are those that the planner lists. One that no scenario reaches fails a test.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "crash_matrix/followed.rs"]
mod followed;
#[path = "crash_matrix/ledger.rs"]
mod ledger;
#[path = "crash_matrix/run.rs"]
mod run;
#[path = "crash_matrix/saboteur.rs"]
mod saboteur;
#[path = "crash_matrix/scenarios.rs"]
mod scenarios;

use std::collections::BTreeSet;

use run::{Report, run};
use saboteur::{Moment, Point};
use scenarios::Scenario;
use seedbed_planner::effect;

/// Runs a scenario with the operator killed at every point of every effect that no earlier scenario reached.
fn killed_everywhere(scenario: &Scenario) {
    let earlier = SCENARIOS.iter().take_while(|s| s.name != scenario.name);
    let known: BTreeSet<_> = earlier.flat_map(|s| run(s, None).reached).collect();
    let undisturbed = run(scenario, None);
    let mut problems = Vec::new();
    let mut points = 0;
    for effect in undisturbed.reached.difference(&known) {
        let steps = undisturbed.steps.get(effect).copied().unwrap_or_default();
        let moments = (0..steps)
            .flat_map(|step| [Moment::BeforeStep(step), Moment::AfterStep(step)])
            .chain([Moment::BeforeCommit, Moment::AfterCommit]);
        for moment in moments {
            let point = Point {
                effect: effect.clone(),
                moment,
            };
            points += 1;
            let report = run(scenario, Some(point.clone()));
            problems.extend(difference(&point, &undisturbed, &report));
        }
    }
    assert!(points > 0, "{}: it reaches nothing new", scenario.name);
    assert!(
        problems.is_empty(),
        "{}: {} of {points} points:\n{}",
        scenario.name,
        problems.len(),
        problems.join("\n")
    );
}

/// What is another than without the kill.
fn difference(point: &Point, expected: &Report, found: &Report) -> Option<String> {
    let mut told = Vec::new();
    if !found.killed {
        told.push("the operator was not killed".to_owned());
    }
    if let Some(problem) = &found.problem {
        told.push(problem.clone());
    }
    for (what, expected, found) in [
        ("end", &expected.end, &found.end),
        ("done", &expected.done, &found.done),
    ] {
        for line in expected.difference(found) {
            told.push(format!("{what}: missing: {line}"));
        }
        for line in found.difference(expected) {
            told.push(format!("{what}: instead: {line}"));
        }
    }
    (!told.is_empty()).then(|| format!("{point:?}\n  {}", told.join("\n  ")))
}

#[test]
fn every_effect_is_reached_by_a_scenario() {
    let mut reached = BTreeSet::new();
    for scenario in SCENARIOS {
        let report = run(scenario, None);
        assert_eq!(report.problem, None, "{}", scenario.name);
        reached.extend(report.reached);
    }
    let missing: Vec<String> = effect::all()
        .iter()
        .map(|(kind, name)| format!("{kind} {name}"))
        .filter(|effect| !reached.contains(effect))
        .collect();
    assert!(missing.is_empty(), "no scenario reaches {missing:?}");
}

macro_rules! matrix {
    ($($test:ident: $scenario:ident;)+) => {
        /// All of them, in the order in which they count: an effect is tried in the first scenario that reaches it.
        const SCENARIOS: &[Scenario] = &[$(scenarios::$scenario),+];

        $(#[test]
        fn $test() {
            killed_everywhere(&scenarios::$scenario);
        })+
    };
}

matrix! {
    a_cluster_is_made: MADE;
    a_range_that_another_cluster_has_is_given_back: CONTESTED;
    a_pool_gets_a_worker_less: SHRUNK;
    a_cluster_is_deleted: DELETED;
    a_cluster_is_let_go_with_its_machines: RETAINED;
    a_control_plane_that_never_came_up_is_replaced: REPLACED;
    kubeadm_fails: FAILED;
    the_control_plane_begins_anew_while_a_worker_joins: BEGUN_ANEW;
    an_address_that_no_machine_has_is_released: RESERVED;
    an_address_that_a_machine_has_is_reserved_again: LOST;
    a_node_that_no_machine_is_goes: STRAYED;
    what_lost_its_owner_is_removed: ORPHANED;
    a_cluster_is_upgraded: UPGRADED;
    a_version_is_set_back: SET_BACK;
    a_disk_that_was_kept_is_taken_back: REVERTED;
}
