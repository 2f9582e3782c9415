//! That the oracle bites: every bug that can be planted into the operator is found within a few seeds.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use seedbed_planted::{Bug, plant};
use seedbed_simulation::entropy;
use seedbed_simulation::logs::Logs;
use seedbed_simulation::sim::{Script, run};
use tracing_subscriber::util::SubscriberInitExt as _;

/// How many seeds a bug may need. Without a bug none of them finds anything.
const SEEDS: u64 = 100;

/// The seed that is tried first: the one that found the bug when this was written. The others follow, and those before it.
fn first(bug: Bug) -> u64 {
    match bug {
        Bug::SkipDrain => 43,
        Bug::SkipUidCheck => 51,
        Bug::IgnoreDeleting => 70,
        Bug::AdoptUnowned => 29,
        Bug::NoRequeueAfterFailure => 22,
        _ => 1,
    }
}

/// A test for each bug. In an unoptimised build they take minutes: `make planted` runs them.
fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = Bug::ALL.iter().map(|bug| {
        let is_found = move || found(*bug);
        Trial::test(format!("{bug:?}"), is_found).with_ignored_flag(true)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn found(bug: Bug) -> Result<(), Failed> {
    for seed in (first(bug)..=SEEDS).chain(1..first(bug)) {
        if let Some(problem) = simulated(seed, bug) {
            let first = problem.lines().next().unwrap_or_default();
            println!("{bug:?}: seed {seed}: {first}");
            return Ok(());
        }
    }
    Err(format!("none of {SEEDS} seeds finds it").into())
}

/// What is wrong with that seed. It has a thread of its own, whose randomness follows from it from the start.
fn simulated(seed: u64, bug: Bug) -> Option<String> {
    let work = move || {
        entropy::follow(seed);
        let _planted = plant(bug);
        let logs = Logs::default();
        let _kept = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(logs.clone())
            .set_default();
        run(seed, &Script::of(seed), &logs).problem
    };
    std::thread::spawn(work).join().unwrap()
}
