//! `kubectl seedbed`: brings an embedded seed up on this machine, leads into it, and takes it down.

mod approve;
mod arguments;
mod checkout;
mod console;
mod down;
mod error;
mod inside;
mod prepare;
mod progress;
mod root;
mod sample;
mod status;
mod up;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    arguments::{Arguments, Verb},
    console::Console,
    error::Error,
};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut console = Console::new();
    match run(&arguments, &mut console) {
        Ok(code) => code,
        Err(error) => {
            console.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, console: &mut Console) -> Result<ExitCode, Error> {
    root::become_root()?;
    let instance = seedbed_seed::Instance::new(&arguments.instance)?;
    match &arguments.verb {
        Verb::Up(options) => up::up(&instance, options, console)?,
        Verb::Down(options) => down::down(&instance, options, console)?,
        Verb::Shell => return inside::shell(&instance, console),
        Verb::Run { command } => return inside::run(&instance, command),
        Verb::Status => return status::status(&instance, console),
        Verb::Approve(options) => approve::approve(&instance, options, console)?,
        Verb::Supervise => seedbed_seed::supervise(&instance)?,
    }
    Ok(ExitCode::SUCCESS)
}
