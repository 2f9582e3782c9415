//! Processes that are told apart by more than their number.
//!
//! A process ID is used again after its process has ended. Together with the time at which the process started and
//! the boot of the machine it is unique, so that a stale pid file can never make us signal a stranger.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files,
};

/// One process on this machine, as a pid file holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine booted.
    pub start_time: u64,
    /// The machine's boot that the two belong to.
    pub boot_id: String,
}

impl ProcessId {
    /// The process that has this number now; none where there is none.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self {
            pid,
            start_time: stat_of(pid)?.start_time,
            boot_id: boot_id()?,
        })
    }

    /// The calling process.
    pub fn current() -> Option<Self> {
        i32::try_from(std::process::id()).ok().and_then(Self::of)
    }

    /// Whether it is still running. One that has ended and was not yet waited for is not.
    pub fn is_running(&self) -> bool {
        boot_id().as_ref() == Some(&self.boot_id)
            && stat_of(self.pid).is_some_and(|stat| stat.start_time == self.start_time && !stat.ended)
    }

    /// Sends it a signal. Returns whether there was somebody to receive it.
    pub fn signal(&self, signal: Signal) -> Result<bool> {
        if !self.is_running() {
            return Ok(false);
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(error) => Err(Error::unexpected(
                format!("send {signal} to process {}", self.pid),
                error.to_string(),
                "permission to signal it: run this as root",
            )),
        }
    }

    /// Asks it to end, waits, and kills it where it has not ended within `patience`. Returns whether it was running.
    pub fn stop(&self, patience: Duration) -> Result<bool> {
        if !self.signal(Signal::SIGTERM)? {
            return Ok(false);
        }
        if !self.wait_until_ended(patience) {
            self.signal(Signal::SIGKILL)?;
            if !self.wait_until_ended(Duration::from_secs(10)) {
                return Err(Error::unexpected(
                    format!("process {}", self.pid),
                    "it is still there 10 s after SIGKILL",
                    "it to end; it hangs in the kernel, see /proc/<pid>/stack",
                ));
            }
        }
        Ok(true)
    }

    fn wait_until_ended(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Reads a pid file; none where there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        files::read_json(path)
    }

    /// Writes a pid file.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write_json(path, self).map(drop)
    }
}

struct Stat {
    start_time: u64,
    ended: bool,
}

fn stat_of(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 3 (state) and 22 (start time) of proc(5)'s `stat`. The second field, the name in parentheses, may itself
/// hold blanks and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let ended = matches!(fields.next()?, "Z" | "X");
    Some(Stat {
        start_time: fields.nth(18)?.parse().ok()?,
        ended,
    })
}

/// Identifies the machine's present boot.
pub fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::testing::folder;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_mislead() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let stat = parse_stat(&format!("12 (a) b (c)) {tail}")).unwrap();
        assert_eq!((stat.start_time, stat.ended), (4711, false));
    }

    #[test]
    fn stops_a_process_and_does_not_touch_the_next_one_with_its_number() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        let another = ProcessId {
            start_time: process.start_time + 1,
            ..process.clone()
        };
        assert!(!another.stop(Duration::ZERO).unwrap());
        assert!(process.is_running());
        assert!(process.stop(Duration::from_secs(5)).unwrap());
        assert!(!process.is_running(), "ended but not waited for counts as ended");
        child.wait().unwrap();
        assert!(!process.stop(Duration::ZERO).unwrap());
    }

    #[test]
    fn kills_what_does_not_listen() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let process = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(process.stop(Duration::from_millis(100)).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn pid_files_of_another_boot_name_nobody() {
        let folder = folder("pid");
        let path = folder.join("a.pid");
        assert_eq!(ProcessId::read(&path).unwrap(), None);
        let mut process = ProcessId::current().unwrap();
        process.write(&path).unwrap();
        assert!(ProcessId::read(&path).unwrap().unwrap().is_running());
        process.boot_id = "another".to_owned();
        assert!(!process.is_running());
    }
}
