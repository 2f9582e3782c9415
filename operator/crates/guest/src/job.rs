//! Jobs: work in a guest that outlives whoever asked for it.

use std::fmt;

use crate::GuestError;

/// A job: files that are put into the guest and a script that is then run there, once. What is less than 90 kB in all takes one
/// command of the agent; more of it takes several, up to 4 MB.
#[derive(Clone, PartialEq, Eq)]
pub struct Job {
    /// Names the job for good: `a-z`, `0-9` and `-`, 64 characters at most. A second start with the same token is not done.
    pub token: String,
    /// Files that are put in place before the script runs.
    pub files: Vec<GuestFile>,
    /// What `bash` runs, as root, in `/`. Standard output and error go to the job's log; a line `seedbed: phase <name>` names
    /// the phase that begins. The script chooses its own options: begin it with `set -euo pipefail`.
    pub script: String,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("token", &self.token)
            .field("files", &self.files)
            .field("script", &format_args!("{} bytes", self.script.len()))
            .finish()
    }
}

/// A file to put into a guest. Directories on the way that are not there are made with mode 0755; those that are there are left
/// as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path.
    pub path: String,
    /// Permissions, such as `0o600`. The owner is root.
    pub mode: u32,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl fmt::Debug for GuestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({:04o}, {} bytes)",
            self.path,
            self.mode,
            self.content.len()
        )
    }
}

/// What a start did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The job was started.
    Started,
    /// A job of that token was started before; nothing was done.
    AlreadyStarted,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// The guest knows no job of that token.
    NotStarted,
    /// It runs.
    Running {
        /// The phase that its log named last, within the part that was read.
        phase: Option<String>,
        /// The last lines of its log.
        log_tail: String,
    },
    /// It ended with exit code 0.
    Succeeded,
    /// It ended with another exit code.
    Failed {
        /// The exit code.
        exit_code: i32,
        /// The phase that its log named last, within the part that was read.
        phase: Option<String>,
        /// The last lines of its log.
        log_tail: String,
    },
    /// It was started and ended without a result: the guest was restarted meanwhile, or something killed it.
    Interrupted {
        /// The phase that its log named last, within the part that was read.
        phase: Option<String>,
        /// The last lines of its log.
        log_tail: String,
    },
}

/// Checks that a token can be part of a unit's and a folder's name.
pub(crate) fn check_token(token: &str) -> Result<(), GuestError> {
    let valid = !token.is_empty()
        && token.len() <= 64
        && !token.starts_with('-')
        && token
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if valid {
        return Ok(());
    }
    Err(GuestError::Invalid {
        what: "job token".to_owned(),
        found: format!("{token:?}"),
        expected: "1 to 64 of a-z, 0-9 and -, not beginning with -".to_owned(),
    })
}
