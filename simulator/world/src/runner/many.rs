//! Many seeds, each in a process of its own.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::minimise;
use super::number;
use super::one::{EVENTS, One, PROBLEM};

/// How long a seed may take in real time.
const LIMIT: Duration = Duration::from_mins(5);
/// Of so many seeds one is simulated twice, and has to go the same way in every line.
const TWICE: u64 = 50;
/// How many failures are made as small as they get.
const MINIMISED: u64 = 3;

/// Seeds one after another.
#[derive(Debug, Clone)]
pub struct Many {
    seeds: u64,
    from: u64,
    jobs: usize,
}

/// How a process that simulated a seed ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// What was not as it should be.
    pub(super) problem: Option<String>,
    /// How many events the seed's script has.
    pub(super) events: usize,
}

impl Many {
    /// Reads arguments.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let mut many = Self {
            seeds: 100,
            from: 0,
            jobs,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seeds" => many.seeds = number("--seeds", arguments.next())?,
                "--from" => many.from = number("--from", arguments.next())?,
                "--jobs" => many.jobs = number("--jobs", arguments.next())?,
                other => return Err(format!("{other} is not known")),
            }
        }
        Ok(many)
    }

    /// Simulates them; whether all was as it should be.
    pub fn run(&self) -> bool {
        println!(
            "simulating {} seeds from {} on, {} at a time",
            self.seeds, self.from, self.jobs
        );
        let begun = Instant::now();
        let next = AtomicU64::new(0);
        let failed = Mutex::new(Vec::new());
        let done = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..self.jobs {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::SeqCst);
                        if index >= self.seeds {
                            return;
                        }
                        let seed = self.from.wrapping_add(index);
                        let one = One::of(seed);
                        let ended = if index.is_multiple_of(TWICE) {
                            simulate_twice(&one)
                        } else {
                            simulate(&one)
                        };
                        let count = done.fetch_add(1, Ordering::SeqCst) + 1;
                        if let Some(problem) = &ended.problem {
                            println!("seed {seed}: {problem}");
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            failed.push((seed, ended));
                        }
                        if count.is_multiple_of(100) {
                            println!("{count} of {}: {}", self.seeds, rate(count, begun.elapsed()));
                        }
                    }
                });
            }
        });
        let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.sort_by_key(|(seed, _)| *seed);
        for (seed, ended) in failed.iter().take(usize::try_from(MINIMISED).unwrap_or_default()) {
            minimise::report(*seed, ended);
        }
        let wrong = failed.len() as u64;
        let word = if wrong == 0 { "ok" } else { "FAILED" };
        println!(
            "{} from {} on: {}",
            self.seeds,
            self.from,
            rate(self.seeds, begun.elapsed())
        );
        println!(
            "test result: {word}. {} passed; {wrong} failed; 0 ignored",
            self.seeds - wrong
        );
        wrong == 0
    }
}

fn rate(seeds: u64, time: Duration) -> String {
    let per_minute = seeds * 60_000 / u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{per_minute} seeds a minute")
}

/// The command that simulates it, with what is to be printed.
pub(super) fn command(one: &One, printed: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("seedbed-sim"));
    let mut command = Command::new(program);
    command.args(one.arguments()).args(printed);
    command
}

/// Simulates it in two processes, whose logs have to be the same.
fn simulate_twice(one: &One) -> Ended {
    let log = || output(command(one, &["--log"])).map(|(text, _)| text);
    let ended = simulate(one);
    match (log(), log()) {
        (Ok(first), Ok(second)) if first == second => ended,
        (Ok(first), Ok(second)) => {
            let differing = first.lines().zip(second.lines()).find(|(a, b)| a != b);
            Ended {
                problem: Some(format!("two runs of it differ, first in {differing:?}")),
                ..ended
            }
        }
        (Err(error), _) | (_, Err(error)) => Ended {
            problem: Some(format!("its process: {error}")),
            ..ended
        },
    }
}

/// Simulates it in a process of its own.
pub(super) fn simulate(one: &One) -> Ended {
    let (text, finished) = match output(command(one, &[])) {
        Ok(output) => output,
        Err(error) => (format!("{PROBLEM}its process: {error}"), true),
    };
    let text = format!("\n{text}");
    let of = |prefix: &str| {
        let (_, rest) = text.split_once(&format!("\n{prefix}"))?;
        Some(rest.trim().to_owned())
    };
    let events = of(EVENTS)
        .and_then(|rest| rest.lines().next()?.parse().ok())
        .unwrap_or_default();
    let problem = if !finished {
        Some(format!("it takes more than {} s", LIMIT.as_secs()))
    } else if events == 0 && of(PROBLEM).is_none() {
        Some("its process ended before the seed did".to_owned())
    } else {
        of(PROBLEM)
    };
    Ended { problem, events }
}

/// What the command prints, and whether it ended within the limit.
pub(super) fn output(mut command: Command) -> std::io::Result<(String, bool)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut pipe = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        if let Some(pipe) = &mut pipe {
            // A process that is killed leaves what it had printed until then.
            let _ = pipe.read_to_string(&mut text);
        }
        text
    });
    let begun = Instant::now();
    let mut finished = true;
    while child.try_wait()?.is_none() {
        if begun.elapsed() > LIMIT {
            finished = false;
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok((reader.join().unwrap_or_default(), finished))
}
