//! Making a failure as small as it gets: leaving out events for as long as it fails in the same way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::many::{Ended, command, output, simulate};
use super::one::One;

/// How long is tried.
const BUDGET: Duration = Duration::from_mins(2);
/// How many lines of the end of the log are shown.
const LINES: usize = 60;

/// Prints what failed, the command that repeats it, and the least that is needed for it.
pub(super) fn report(seed: u64, ended: &Ended) {
    let problem = ended.problem.clone().unwrap_or_default();
    println!("\n==== seed {seed}: {problem}");
    println!("repeat it: make sim SEEDS=1 FROM={seed} VERBOSE=1");
    let least = least(seed, ended);
    println!(
        "the least that fails so: seedbed-sim {}",
        least.arguments().join(" ")
    );
    if let Ok((text, _)) = output(command(&least, &["--script", "--log"])) {
        let (script, log) = text.split_once("\n\n").unwrap_or((&text, ""));
        println!("{script}\n…");
        let lines: Vec<_> = log.lines().collect();
        // What happens once everything is mended is only waited for.
        let until = lines
            .iter()
            .position(|line| line.contains("==="))
            .unwrap_or(lines.len());
        let until = lines
            .iter()
            .position(|line| line.contains("VIOLATION"))
            .map_or(until, |at| at + 1);
        for line in &lines[until.saturating_sub(LINES)..until] {
            println!("{line}");
        }
    }
}

/// The smallest part of the script that was found to fail in the same way, within the budget.
fn least(seed: u64, ended: &Ended) -> One {
    let wanted = sort(ended.problem.as_deref().unwrap_or_default());
    let begun = Instant::now();
    let fails = |one: &One| {
        let ended = simulate(one);
        ended.problem.is_some_and(|problem| sort(&problem) == wanted)
    };
    let mut kept = One {
        only: Some((0..ended.events).collect()),
        ..One::of(seed)
    };
    let calm = One {
        calm: true,
        ..kept.clone()
    };
    if fails(&calm) {
        kept = calm;
    }
    let mut size = ended.events.div_ceil(2);
    while size > 0 && begun.elapsed() < BUDGET {
        let all: Vec<usize> = kept.only.iter().flatten().copied().collect();
        for part in all.chunks(size) {
            let rest: BTreeSet<usize> = kept
                .only
                .iter()
                .flatten()
                .copied()
                .filter(|i| !part.contains(i))
                .collect();
            let smaller = One {
                only: Some(rest),
                ..kept.clone()
            };
            if begun.elapsed() < BUDGET && fails(&smaller) {
                kept = smaller;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    kept
}

/// The sort of a problem: its words up to the first name or number.
fn sort(problem: &str) -> String {
    problem
        .split([' ', '\n'])
        .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || ",:'".contains(c)))
        .take(8)
        .collect::<Vec<_>>()
        .join(" ")
}
