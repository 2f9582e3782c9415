//! How far a job is, at little cost for the guest.
//!
//! Files are read through the agent itself, which starts no process: that matters in an emulated guest that is busy. The unit's
//! control group tells whether it runs. `systemctl` is run only where the files leave it open.

use std::time::Duration;

use crate::job::{JobState, check_token};
use crate::log::{last_lines, phase};
use crate::{Exec, Guest, GuestError};

/// How much of the log is searched for the phase.
const PHASE_WINDOW: usize = 16 * 1024;
const SMALL_FILE: usize = 4096;
const LIMIT: Duration = Duration::from_mins(1);
/// The result is read after the unit's state: a unit that ended before the first look has its result by the second.
pub(crate) const LOOK: &str = r#"systemctl show --property=ActiveState,SubState --value "seedbed-$1.service" || exit 1
record=/var/lib/seedbed/jobs/$1
if [ -e "$record/result" ]; then
  cat "$record/result"
elif [ ! -e "$record/started" ] && [ "$(cat "$record/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  echo queued
fi"#;
/// What [`LOOK`] says of a unit that waits for the guest to have booted far enough.
pub(crate) const QUEUED: &str = "queued";

impl Guest {
    /// How far the job of that token is, with the last lines of its log that fit into `log_bytes` (0: the log is not read).
    pub async fn state(&self, token: &str, log_bytes: usize) -> Result<JobState, GuestError> {
        check_token(token)?;
        if let Some(events) = self.read_file(&control_group(token), SMALL_FILE).await?
            && String::from_utf8_lossy(&events)
                .lines()
                .any(|line| line == "populated 1")
        {
            let (phase, log_tail) = self.log_end(token, log_bytes).await?;
            return Ok(JobState::Running { phase, log_tail });
        }
        if let Some(result) = self.read_file(&record(token, "result"), SMALL_FILE).await? {
            return self.ended(token, &result, log_bytes).await;
        }
        if self.read_file(&record(token, "log"), 1).await?.is_none() {
            return Ok(JobState::NotStarted);
        }
        self.look(token, log_bytes).await
    }

    /// The last lines of the job's log that fit into `limit` bytes; `None` where the guest knows no job of that token.
    pub async fn log(&self, token: &str, limit: usize) -> Result<Option<String>, GuestError> {
        check_token(token)?;
        let log = self.read_file_end(&record(token, "log"), limit).await?;
        Ok(log.map(|log| last_lines(&log, limit)))
    }

    /// Asks systemd, where the files leave it open whether the job runs.
    async fn look(&self, token: &str, log_bytes: usize) -> Result<JobState, GuestError> {
        let what = format!("look at job {token}");
        let output = self
            .exec(&Exec {
                what: what.clone(),
                path: "/bin/sh".to_owned(),
                arguments: vec![
                    "-c".to_owned(),
                    LOOK.to_owned(),
                    "sh".to_owned(),
                    token.to_owned(),
                ],
                input: Vec::new(),
                limit: LIMIT,
            })
            .await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines();
        let (Some(active), Some(sub), 0) = (lines.next(), lines.next(), output.exit_code) else {
            return Err(GuestError::Failed {
                domain: self.domain.clone(),
                what,
                exit_code: output.exit_code,
                message: last_lines(&output.stderr, SMALL_FILE),
            });
        };
        let more = lines.next();
        if let Some(result) = more.filter(|line| *line != QUEUED) {
            return self.ended(token, result.as_bytes(), log_bytes).await;
        }
        let (phase, log_tail) = self.log_end(token, log_bytes).await?;
        let runs = more.is_some()
            || matches!(
                (active, sub),
                ("activating" | "reloading" | "deactivating", _) | ("active", "running")
            );
        Ok(if runs {
            JobState::Running { phase, log_tail }
        } else {
            JobState::Interrupted { phase, log_tail }
        })
    }

    async fn ended(&self, token: &str, result: &[u8], log_bytes: usize) -> Result<JobState, GuestError> {
        let result = String::from_utf8_lossy(result);
        let exit_code: i32 = result.trim().parse().map_err(|_| GuestError::Malformed {
            domain: self.domain.clone(),
            command: "guest-file-read".to_owned(),
            reason: format!(
                "{} holds {:?} instead of an exit code",
                record(token, "result"),
                result.trim()
            ),
        })?;
        if exit_code == 0 {
            return Ok(JobState::Succeeded);
        }
        let (phase, log_tail) = self.log_end(token, log_bytes).await?;
        Ok(JobState::Failed {
            exit_code,
            phase,
            log_tail,
        })
    }

    async fn log_end(&self, token: &str, log_bytes: usize) -> Result<(Option<String>, String), GuestError> {
        if log_bytes == 0 {
            return Ok((None, String::new()));
        }
        let window = log_bytes.max(PHASE_WINDOW);
        let log = self
            .read_file_end(&record(token, "log"), window)
            .await?
            .unwrap_or_default();
        Ok((phase(&log), last_lines(&log, log_bytes)))
    }
}

/// What the guest's kernel says of the job's unit, while there is one.
pub(crate) fn control_group(token: &str) -> String {
    format!("/sys/fs/cgroup/system.slice/seedbed-{token}.service/cgroup.events")
}

/// A file of the job's record in the guest, which outlives a reboot.
pub(crate) fn record(token: &str, file: &str) -> String {
    format!("/var/lib/seedbed/jobs/{token}/{file}")
}
