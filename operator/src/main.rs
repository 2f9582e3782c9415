//! `seedbed-operator`.

use std::process::ExitCode;

use clap::Parser;
use seedbed_operator::{Args, run};

fn main() -> ExitCode {
    run(Args::parse())
}
