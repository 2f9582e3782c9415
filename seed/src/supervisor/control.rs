//! Starting, telling and stopping the supervisor from outside.

use std::{
    fs::{self, OpenOptions},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::program_revision;
use crate::{
    command,
    error::{Error, Result},
    files,
    instance::Instance,
    process::ProcessId,
};

/// The supervisor's name among the pid files and logs.
pub(crate) const NAME: &str = "supervisor";

const START_LIMIT: Duration = Duration::from_secs(15);
/// Longer than the patience with all units together.
const STOP_LIMIT: Duration = Duration::from_secs(90);

/// The supervisor of one instance.
pub(crate) struct Control<'a> {
    instance: &'a Instance,
}

impl<'a> Control<'a> {
    pub(crate) fn of(instance: &'a Instance) -> Self {
        Self { instance }
    }

    /// The running supervisor; none where none runs.
    pub(crate) fn running(&self) -> Result<Option<ProcessId>> {
        Ok(ProcessId::read(&self.instance.pid_file(NAME))?.filter(ProcessId::is_running))
    }

    /// Sees to it that a supervisor of this program runs and has read the present units. Returns whether one was
    /// started.
    pub(crate) fn ensure(&self, program: &Path) -> Result<bool> {
        if let Some(process) = self.running()? {
            if !self.outdated(program)? {
                process.signal(Signal::SIGHUP)?;
                return Ok(false);
            }
            process.stop(STOP_LIMIT)?;
        }
        self.end_orphans()?;
        self.start(program)?;
        files::write(
            &self.revision_file(),
            program_revision(program)?.as_bytes(),
            files::PUBLIC,
        )?;
        Ok(true)
    }

    /// Whether the supervisor was started from another program than this.
    pub(crate) fn outdated(&self, program: &Path) -> Result<bool> {
        let revision = program_revision(program)?;
        Ok(!fs::read_to_string(self.revision_file()).is_ok_and(|found| found == revision))
    }

    fn revision_file(&self) -> std::path::PathBuf {
        self.instance.path("supervisor.revision")
    }

    fn start(&self, program: &Path) -> Result<()> {
        for folder in ["logs", "pids", "units"] {
            files::create_folder(&self.instance.path(folder))?;
        }
        let log_path = self.instance.log(NAME);
        let log = OpenOptions::new().create(true).append(true).open(&log_path);
        let log = log.map_err(Error::file("open", &log_path))?;
        let written = log.metadata().map_or(0, |found| found.len());
        let errors = log.try_clone().map_err(Error::file("open", &log_path))?;
        let status = Command::new("setsid")
            .arg("--fork")
            .arg(program)
            .args(["--instance", self.instance.name(), "supervise"])
            .env("SEEDBED_STATE", self.instance.root())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .status()
            .map_err(|source| Error::Start {
                program: "setsid".to_owned(),
                source,
            })?;
        let until = Instant::now() + START_LIMIT;
        while self.running()?.is_none() {
            if !status.success() || Instant::now() > until {
                let said = fs::read_to_string(&log_path).unwrap_or_default();
                let said = said
                    .get(usize::try_from(written).unwrap_or(0)..)
                    .unwrap_or_default();
                return Err(Error::TimedOut {
                    what: "the supervisor did not start".to_owned(),
                    limit: START_LIMIT,
                    found: command::last_lines(said),
                    log: log_path,
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops the supervisor, which stops what it started, and then whatever a killed supervisor left. Returns how many
    /// processes were stopped by this.
    pub(crate) fn stop(&self) -> Result<usize> {
        let mut stopped = 0;
        if let Some(process) = self.running()? {
            process.stop(STOP_LIMIT)?;
            stopped += 1;
        }
        Ok(stopped + self.end_orphans()?)
    }

    fn end_orphans(&self) -> Result<usize> {
        let mut ended = 0;
        for (path, process) in self.recorded()? {
            ended += usize::from(process.stop(Duration::from_secs(10))?);
            files::remove(&path)?;
        }
        Ok(ended)
    }

    /// What the pid files say, apart from the supervisor itself.
    fn recorded(&self) -> Result<Vec<(std::path::PathBuf, ProcessId)>> {
        let folder = self.instance.path("pids");
        let mut recorded = Vec::new();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(recorded),
            Err(error) => return Err(Error::file("read", folder)(error)),
        };
        for entry in entries {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            if let Some(process) = ProcessId::read(&path)? {
                recorded.push((path, process));
            }
        }
        Ok(recorded)
    }

    /// Names and process numbers of what runs.
    pub(crate) fn processes(&self) -> Result<Vec<(String, i32)>> {
        let mut running: Vec<_> = self
            .recorded()?
            .into_iter()
            .filter(|(_, process)| process.is_running())
            .filter_map(|(path, process)| Some((path.file_stem()?.to_str()?.to_owned(), process.pid)))
            .collect();
        running.sort();
        Ok(running)
    }
}
