//! Simulates seeds: `seedbed-sim run` many, each in a process of its own; `seedbed-sim one` a single one.
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::ExitCode;

use seedbed_simulation::runner::{Many, One};

const USAGE: &str = "usage:
  seedbed-sim run [--seeds N] [--from S] [--jobs J]    N seeds from S on, J at a time
  seedbed-sim one S [--only 1,2,…] [--calm] [--script] [--log] [--told]
      one seed; with no more than those events of its script, without its weather; and what is printed of it";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("run") => Many::parse(arguments).map(|many| many.run()),
        Some("one") => One::parse(arguments).map(|one| one.run()),
        _ => Err("neither run nor one is asked for".to_owned()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            println!("seedbed-sim: {message}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
