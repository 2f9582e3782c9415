//! A person's own commands where the instance's parts see each other.

use std::{
    env,
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitCode},
};

use seedbed_seed::{
    Instance,
    kubeconfig::{self, Current},
};

use crate::{console::Console, error::Error};

/// Opens the person's shell.
pub(crate) fn shell(instance: &Instance, console: &mut Console) -> Result<ExitCode, Error> {
    let shell = env::var("SHELL").unwrap_or_else(|_| "/bin/bash".to_owned());
    let mut command = prepared(instance, &shell)?;
    console.plain(&format!(
        "In the instance {instance}: kubectl, virsh and curl reach the seed and every cluster. `exit` leaves."
    ));
    finish(&mut command)
}

/// Runs one command: a single text is a shell's, several words are a program and its arguments.
pub(crate) fn run(instance: &Instance, words: &[String]) -> Result<ExitCode, Error> {
    let mut command = match words {
        [text] => {
            let mut command = prepared(instance, "/bin/sh")?;
            command.arg("-c").arg(text);
            command
        }
        [program, arguments @ ..] => {
            let mut command = prepared(instance, program)?;
            command.args(arguments);
            command
        }
        [] => return Ok(ExitCode::SUCCESS),
    };
    finish(&mut command)
}

fn prepared(instance: &Instance, program: &str) -> Result<Command, Error> {
    let settings = instance.existing_settings()?;
    if instance.process("supervisor")?.is_none() {
        return Err(Error::Unexpected {
            what: format!("the instance {instance}"),
            found: "one that does not run".to_owned(),
            expected: "a running one: run `make up`".to_owned(),
        });
    }
    kubeconfig::refresh(instance, &settings, Current::Keep)?;
    let mut command = instance.command(&settings, program);
    command
        .envs(instance.environment())
        .env("PATH", search_path(instance));
    Ok(command)
}

/// The seed's programs first, then the person's own, then those of administration.
fn search_path(instance: &Instance) -> OsString {
    let mut path = instance.programs().into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    path.push(":/usr/sbin:/sbin");
    path
}

fn finish(command: &mut Command) -> Result<ExitCode, Error> {
    let status = command.status().map_err(|source| Error::Run {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    // As a shell says it: 128 and the signal's number.
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
