//! Starting a job.

use std::time::Duration;

use crate::archive::archive;
use crate::job::{Job, Start, check_token};
use crate::log::last_lines;
use crate::{Exec, Guest, GuestError};

/// Makes the job's record, unpacks the archive from its standard input and starts the unit.
const START: &str = include_str!("start.sh");
/// Exit code of [`START`] where a job of that token was started before.
const ALREADY_STARTED: i32 = 75;
/// Unpacking and starting takes about a second in an emulated guest that is busy.
const LIMIT: Duration = Duration::from_mins(1);
const LONGEST_MESSAGE: usize = 1024;

impl Guest {
    /// Puts the job's files in place and starts its script as a unit of its own, by one agent command. A job whose token was
    /// used before is not started again. Where the outcome is unknown, ask [`Guest::state`].
    pub async fn start(&self, job: &Job) -> Result<Start, GuestError> {
        check_token(&job.token)?;
        let exec = Exec {
            what: format!("start of job {}", job.token),
            path: "/bin/sh".to_owned(),
            arguments: vec![
                "-c".to_owned(),
                START.to_owned(),
                "sh".to_owned(),
                job.token.clone(),
            ],
            input: archive(job)?,
            limit: LIMIT,
        };
        let output = self.exec(&exec).await?;
        match output.exit_code {
            0 => Ok(Start::Started),
            ALREADY_STARTED => Ok(Start::AlreadyStarted),
            exit_code => Err(GuestError::Failed {
                domain: self.domain.clone(),
                what: exec.what,
                exit_code,
                message: last_lines(&output.stderr, LONGEST_MESSAGE),
            }),
        }
    }
}
