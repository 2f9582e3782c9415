//! Jobs in guests: what they are made of, and how far they are.

use seedbed_guest::{Guest, GuestError, GuestFile, Job, JobState};
use seedbed_kubeadm::job::JobFiles;

/// How much of a failed job's log is read: what fits into a condition and an event.
const LOG_BYTES: usize = 900;

/// How far a job in a guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It was never started.
    NotStarted,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly: how, with the last lines of its log.
    Failed(String),
    /// It was cut off: the same.
    Interrupted(String),
}

/// The job with that token, of what was rendered for it.
pub fn job(token: String, rendered: JobFiles) -> Job {
    let files = rendered.files.into_iter().map(|file| GuestFile {
        path: file.path,
        mode: file.mode,
        content: file.content,
    });
    Job {
        token,
        files: files.collect(),
        script: rendered.script,
    }
}

/// How far the job with that token is. Its log is read only once it has ended badly: reading it costs an emulated guest more than the look
/// itself.
pub async fn progress(guest: &Guest, token: &str) -> Result<Progress, GuestError> {
    let exit_code = match guest.state(token, 0).await? {
        JobState::NotStarted => return Ok(Progress::NotStarted),
        JobState::Running { .. } => return Ok(Progress::Running),
        JobState::Succeeded => return Ok(Progress::Succeeded),
        JobState::Failed { exit_code, .. } => Some(exit_code),
        JobState::Interrupted { .. } => None,
    };
    let log = guest.log(token, LOG_BYTES).await?.unwrap_or_default();
    Ok(match exit_code {
        Some(code) => Progress::Failed(format!("exit code {code}; the log ends with: {log}")),
        None => Progress::Interrupted(format!(
            "cut off: the guest was restarted, or something ended it; the log ends with: {log}"
        )),
    })
}
