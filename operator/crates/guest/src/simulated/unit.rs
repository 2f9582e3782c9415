//! Jobs as systemd units.

use std::io::Read as _;
use std::time::Duration;

use tar::Archive;

use super::command::Ended;
use super::{Begun, Os};
use crate::GuestFile;
use crate::start::ALREADY_STARTED;
use crate::state::{QUEUED, control_group, record};

/// How far a unit of this boot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Ended(i32),
}

impl Os {
    /// What a job that runs writes. One that does not run writes nothing.
    pub fn log(&mut self, token: &str, text: &str) {
        if self.runs(token) {
            self.files.append(&record(token, "log"), text.as_bytes());
        }
    }

    /// A job that runs ends, with that exit code. One that does not run any more ended before.
    pub fn end(&mut self, token: &str, code: i32) {
        let Some(state @ State::Running) = self.units.get_mut(token) else {
            return;
        };
        *state = State::Ended(code);
        self.files.put(record(token, "result"), format!("{code}\n"));
        self.files.take(&control_group(token));
        self.files.remove_folder(&format!("/run/seedbed/{token}"));
    }

    /// Whether the job runs.
    pub fn runs(&self, token: &str) -> bool {
        self.units.get(token) == Some(&State::Running)
    }

    /// `systemctl stop`: a job that runs is cut off, without a result. What one that ended left stays.
    pub fn stop(&mut self, token: &str) {
        self.units.remove(token);
        self.files.take(&control_group(token));
    }

    /// What the start script does, in its order.
    pub(super) fn start(&mut self, token: &str, archive: &[u8], now: Duration) -> Ended {
        let boot = record(token, "boot");
        if self.files.has(&boot) && !self.files.has(&record(token, "log")) && !self.is_of_this_boot(token) {
            self.files
                .remove_folder(&format!("/var/lib/seedbed/jobs/{token}"));
        }
        if self.files.has(&boot) {
            return Ended::with(ALREADY_STARTED);
        }
        let files = match unpack(archive) {
            Ok(files) => files,
            Err(error) => return Ended::failed(2, format!("tar: {error}")),
        };
        self.files.put(boot, format!("{}\n", self.boot));
        for file in &files {
            self.files.put(file.path.clone(), file.content.clone());
        }
        self.files.put(record(token, "log"), Vec::new());
        self.files
            .put(record(token, "started"), format!("{}\n", now.as_secs()));
        self.files.put(control_group(token), "populated 1\nfrozen 0\n");
        self.units.insert(token.to_owned(), State::Running);
        let work = format!("/run/seedbed/{token}/");
        let (own, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|f| f.path.starts_with(&work));
        let script = own
            .iter()
            .find(|f| f.path.ends_with("/job.sh"))
            .map(|f| String::from_utf8_lossy(&f.content).into_owned())
            .unwrap_or_default();
        self.begun.push(Begun {
            token: token.to_owned(),
            script,
            files,
            own,
        });
        Ended::with(0)
    }

    /// What systemd says of the unit, and then what the record says.
    pub(super) fn look(&self, token: &str) -> Ended {
        let unit = match self.units.get(token) {
            Some(State::Running) => "active\nrunning\n",
            Some(State::Ended(0)) => "active\nexited\n",
            Some(State::Ended(_)) => "failed\nfailed\n",
            None => "inactive\ndead\n",
        };
        let started = self.files.has(&record(token, "started"));
        let more = match self.files.get(&record(token, "result")) {
            Some(result) => String::from_utf8_lossy(result).into_owned(),
            None if !started && self.is_of_this_boot(token) => format!("{QUEUED}\n"),
            None => String::new(),
        };
        Ended {
            stdout: format!("{unit}{more}"),
            ..Ended::with(0)
        }
    }

    fn is_of_this_boot(&self, token: &str) -> bool {
        self.files.get(&record(token, "boot")) == Some(format!("{}\n", self.boot).as_bytes())
    }
}

fn unpack(archive: &[u8]) -> std::io::Result<Vec<GuestFile>> {
    let mut files = Vec::new();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = format!("/{}", entry.path()?.display());
        let mode = entry.header().mode()?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.push(GuestFile { path, mode, content });
    }
    Ok(files)
}
