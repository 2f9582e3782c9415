//! The process that keeps an instance's processes running, and how it is talked to.
//!
//! It is a program of its own that outlives `up`. It starts what the instance's unit files name, starts again what
//! ends, and stops all in order when it is told to (SIGTERM); SIGHUP makes it read the unit files anew. What it
//! started dies with it, except for virtual machines. It also serves the proxy into the instance's network namespace.

mod backoff;
mod child;
mod control;
mod unit;

use std::{fs::File, path::Path};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use self::child::Keeper;
pub use self::unit::Unit;
pub(crate) use self::{
    control::{Control, NAME},
    unit::revision_of,
};
use crate::{
    error::{Error, Result},
    instance::{Instance, Mode},
    process::ProcessId,
    proxy,
};

/// Supervises an instance until it is told to stop. This is the body of the hidden command `supervise`.
pub fn supervise(instance: &Instance) -> Result<()> {
    let settings = instance.existing_settings()?;
    let signals = Signals::new([SIGHUP, SIGTERM, SIGINT])
        .map_err(Error::file("receive signals for", instance.folder()))?;
    let _only = only_one(instance)?;
    let process = ProcessId::current().ok_or_else(|| {
        Error::unexpected("/proc", "no entry for this process", "a mounted proc file system")
    })?;
    if settings.mode == Mode::Namespace {
        proxy::serve(&proxy::Rules::of(instance, &settings)?)?;
    }
    process.write(&instance.pid_file(NAME))?;
    say(&format!(
        "supervises the instance {instance} as process {}",
        process.pid
    ));
    run(instance, signals);
    crate::files::remove(&instance.pid_file(NAME))?;
    say("stopped");
    Ok(())
}

/// Two supervisors of one instance would start everything twice.
fn only_one(instance: &Instance) -> Result<File> {
    let path = instance.path("supervisor.lock");
    let file = File::create(&path).map_err(Error::file("open", &path))?;
    if file.try_lock().is_err() {
        return Err(Error::unexpected(
            format!("the instance {instance}"),
            "another supervisor",
            "none: one is enough",
        ));
    }
    Ok(file)
}

fn run(instance: &Instance, mut signals: Signals) {
    let mut keepers = Vec::new();
    reload(instance, &mut keepers);
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        reload(instance, &mut keepers);
    }
    for keeper in keepers.into_iter().rev() {
        keeper.stop();
    }
}

/// Stops what changed or is not wanted any more, then starts what is missing.
fn reload(instance: &Instance, keepers: &mut Vec<Keeper>) {
    let units = match Unit::read_all(instance) {
        Ok(units) => units,
        Err(error) => return say(&format!("the units stay as they are: {error}")),
    };
    let (kept, stale): (Vec<_>, Vec<_>) = keepers.drain(..).partition(|keeper| units.contains(&keeper.unit));
    for keeper in stale.into_iter().rev() {
        keeper.stop();
    }
    *keepers = kept;
    for unit in units {
        if !keepers.iter().any(|keeper| keeper.unit == unit) {
            keepers.push(Keeper::start(instance, unit));
        }
    }
    keepers.sort_by_key(|keeper| keeper.unit.order);
}

/// One line for the supervisor's log, which is its standard error.
#[expect(clippy::print_stderr, reason = "the supervisor's standard error is its log")]
pub(crate) fn say(text: &str) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    eprintln!("{}.{:03} {text}", now.as_secs(), now.subsec_millis());
}

/// The files whose replacement makes another supervisor necessary.
pub(crate) fn program_revision(program: &Path) -> Result<String> {
    revision_of(&[program])
}

#[cfg(test)]
mod tests;
