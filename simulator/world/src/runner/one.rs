//! One seed in this process.

use std::collections::BTreeSet;

use super::number;
use crate::entropy;
use crate::logs::Logs;
use crate::sim::{self, Script};

/// The line before what was not as it should be.
pub(super) const PROBLEM: &str = "PROBLEM ";
/// The line before how many events there are.
pub(super) const EVENTS: &str = "EVENTS ";

/// One seed, and what is left of its script and printed of it.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct One {
    pub(super) seed: u64,
    pub(super) only: Option<BTreeSet<usize>>,
    pub(super) calm: bool,
    pub(super) script: bool,
    pub(super) log: bool,
    pub(super) told: bool,
}

impl One {
    pub(super) fn of(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Reads arguments.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut one = Self::of(number("the seed", arguments.next())?);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--only" => {
                    let list = arguments.next().unwrap_or_default();
                    let numbers = list.split(',').filter(|word| !word.is_empty());
                    let numbers = numbers.map(|word| number("--only", Some(word.to_owned())));
                    one.only = Some(numbers.collect::<Result<_, _>>()?);
                }
                "--calm" => one.calm = true,
                "--script" => one.script = true,
                "--log" => one.log = true,
                "--told" => one.told = true,
                other => return Err(format!("{other} is not known")),
            }
        }
        Ok(one)
    }

    /// The arguments that [`One::parse`] reads it from, what is printed apart.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["one".to_owned(), self.seed.to_string()];
        if let Some(only) = &self.only {
            let list: Vec<_> = only.iter().map(ToString::to_string).collect();
            arguments.extend(["--only".to_owned(), list.join(",")]);
        }
        if self.calm {
            arguments.push("--calm".to_owned());
        }
        arguments
    }

    /// Simulates it; whether all was as it should be.
    pub fn run(&self) -> bool {
        entropy::follow(self.seed);
        let logs = Logs::keep();
        let script = Script::of(self.seed);
        let keep = |index: usize| self.only.as_ref().is_none_or(|only| only.contains(&index));
        let outcome = sim::run(self.seed, &script.only(keep, !self.calm), &logs);
        if self.script {
            println!("{}", script.describe(keep));
        }
        if self.log {
            println!("{}", outcome.log);
        }
        if self.told {
            println!("{}", logs.text());
        }
        println!("{EVENTS}{}", script.len());
        println!("ELAPSED {} s of virtual time", outcome.elapsed.as_secs());
        if let Some(problem) = &outcome.problem {
            println!("{PROBLEM}{problem}");
        }
        outcome.problem.is_none()
    }
}
