//! Starting a job.

use std::time::Duration;

use crate::archive::archive;
use crate::exec::LONGEST_INPUT;
use crate::job::{Job, Start, check_token};
use crate::log::last_lines;
use crate::{Exec, Guest, GuestError, Output};

/// Makes the job's record, unpacks the archive and starts the unit.
pub(crate) const START: &str = include_str!("start.sh");
/// Makes the folder that the archive would make, closed to others.
pub(crate) const MAKE_FOLDER: &str = "mkdir -p -m 700 /run/seedbed";
/// Exit code of [`START`] where a job of that token was started before.
pub(crate) const ALREADY_STARTED: i32 = 75;
/// Unpacking and starting takes about a second in an emulated guest that is busy.
const LIMIT: Duration = Duration::from_mins(1);
const LONGEST_MESSAGE: usize = 1024;

/// What a job may have in all; it passes through a tmpfs in the guest's memory.
const LARGEST_JOB: usize = 4_000_000;

impl Guest {
    /// Puts the job's files in place and starts its script as a unit of its own. A job whose token was used before is not
    /// started again. Where the outcome is unknown, ask [`Guest::state`].
    pub async fn start(&self, job: &Job) -> Result<Start, GuestError> {
        check_token(&job.token)?;
        let archive = archive(job)?;
        if archive.len() > LARGEST_JOB {
            return Err(GuestError::Invalid {
                what: format!("files of job {}", job.token),
                found: format!("{} bytes with their headers", archive.len()),
                expected: format!("at most {LARGEST_JOB} bytes"),
            });
        }
        let what = format!("start of job {}", job.token);
        let output = if archive.len() <= LONGEST_INPUT {
            self.script(&what, START, &[&job.token, "-"], archive).await?
        } else {
            let folder = self.script(&what, MAKE_FOLDER, &[], Vec::new()).await?;
            self.succeeded(&what, &folder)?;
            let path = format!("/run/seedbed/{}.tar", job.token);
            self.write_file(&path, &archive).await?;
            self.script(&what, START, &[&job.token, &path], Vec::new())
                .await?
        };
        if output.exit_code == ALREADY_STARTED {
            return Ok(Start::AlreadyStarted);
        }
        self.succeeded(&what, &output)?;
        Ok(Start::Started)
    }

    async fn script(
        &self,
        what: &str,
        script: &str,
        arguments: &[&str],
        input: Vec<u8>,
    ) -> Result<Output, GuestError> {
        let words = [&["-c", script, "sh"], arguments].concat();
        self.exec(&Exec {
            what: what.to_owned(),
            path: "/bin/sh".to_owned(),
            arguments: words.into_iter().map(str::to_owned).collect(),
            input,
            limit: LIMIT,
        })
        .await
    }

    fn succeeded(&self, what: &str, output: &Output) -> Result<(), GuestError> {
        if output.exit_code == 0 {
            return Ok(());
        }
        Err(GuestError::Failed {
            domain: self.domain.clone(),
            what: what.to_owned(),
            exit_code: output.exit_code,
            message: last_lines(&output.stderr, LONGEST_MESSAGE),
        })
    }
}
