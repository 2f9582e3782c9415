//! One supervised process: started, watched, started again, stopped.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{backoff::Backoff, say, unit::Unit};
use crate::{files, instance::Instance, process::ProcessId};

/// How often it is looked whether the process has ended.
const GLANCE: Duration = Duration::from_millis(100);
/// A log that has grown beyond this many bytes is set aside when its process starts again; one older one is kept.
const LOG_LIMIT: u64 = 32 << 20;

/// A thread that keeps one process running.
pub(super) struct Keeper {
    pub(super) unit: Unit,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn start(instance: &Instance, unit: Unit) -> Self {
        let (stop, stopped) = mpsc::channel();
        let (instance, kept) = (instance.clone(), unit.clone());
        // The process dies with this thread, not only with the supervisor: Linux binds the death signal to a thread.
        let thread = thread::spawn(move || keep(&instance, &kept, &stopped));
        Self { unit, stop, thread }
    }

    /// Ends the process and waits for its end.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            say(&format!("{}: its keeper ended unexpectedly", self.unit.name));
        }
    }
}

fn keep(instance: &Instance, unit: &Unit, stop: &Receiver<()>) {
    let mut backoff = Backoff::new();
    loop {
        let started = Instant::now();
        let how = match start(instance, unit) {
            Ok(mut child) => {
                let end = watch(&mut child, unit, stop);
                if let Err(error) = files::remove(&instance.pid_file(&unit.name)) {
                    say(&format!("{}: {error}", unit.name));
                }
                match end {
                    Some(status) => format!("ended ({status})"),
                    None => return,
                }
            }
            Err(error) => format!("could not be started: {error}"),
        };
        let pause = backoff.after(started.elapsed());
        say(&format!(
            "{}: {how}; starts again in {} ms",
            unit.name,
            pause.as_millis()
        ));
        if !matches!(stop.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

fn start(instance: &Instance, unit: &Unit) -> io::Result<Child> {
    let log = open_log(instance, unit)?;
    let mut child = unit
        .command(instance)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let recorded = pid_of(&child)
        .and_then(|pid| ProcessId::of(pid.as_raw()))
        .ok_or_else(|| io::Error::other("its entry in /proc cannot be read"))
        .and_then(|process| {
            process
                .write(&instance.pid_file(&unit.name))
                .map_err(io::Error::other)
        });
    if let Err(error) = recorded {
        child.kill()?;
        child.wait()?;
        return Err(error);
    }
    say(&format!("{}: started as process {}", unit.name, child.id()));
    Ok(child)
}

/// Waits until the process ends by itself (its status) or is stopped (none).
fn watch(child: &mut Child, unit: &Unit, stop: &Receiver<()>) -> Option<ExitStatus> {
    loop {
        if let Some(status) = ended(child) {
            return Some(status);
        }
        if !matches!(stop.recv_timeout(GLANCE), Err(RecvTimeoutError::Timeout)) {
            break;
        }
    }
    // It was not waited for yet, so the number is still its own.
    if let Some(pid) = pid_of(child) {
        let _ = kill(pid, Signal::SIGTERM);
    }
    let until = Instant::now() + Duration::from_secs(unit.patience_seconds);
    while Instant::now() < until {
        if ended(child).is_some() {
            say(&format!("{}: stopped", unit.name));
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    say(&format!(
        "{}: killed, it did not end within {} s",
        unit.name, unit.patience_seconds
    ));
    None
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    // Only a process that somebody else waited for cannot be waited for: then it has ended, and how is not known.
    child.try_wait().unwrap_or_else(|_| Some(ExitStatus::from_raw(0)))
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().map(Pid::from_raw)
}

fn open_log(instance: &Instance, unit: &Unit) -> io::Result<File> {
    let path = instance.log(&unit.name);
    if fs::metadata(&path).is_ok_and(|found| found.len() > LOG_LIMIT) {
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    let mut log = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(log, "--- {} starts", unit.name)?;
    Ok(log)
}
