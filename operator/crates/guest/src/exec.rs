//! Short commands, waited for.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Guest, GuestError};

/// The first pause before the agent is asked whether a command ended; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// libvirt hands a command to the agent's socket in one write, and one that is larger than the socket's buffer (Linux: 208 KiB
/// unless it was changed) is sent wrongly and never answered. This many bytes take less than 128 KiB as base64.
pub(crate) const LONGEST_INPUT: usize = 90_000;

/// A short command. Arguments are visible to everybody in the guest and in its journal: secrets go into the input.
#[derive(Clone)]
pub struct Exec {
    /// How messages call it.
    pub what: String,
    /// The program's path in the guest.
    pub path: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its standard input; at most 90,000 bytes.
    pub input: Vec<u8>,
    /// How long to wait for its end.
    pub limit: Duration,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec")
            .field("what", &self.what)
            .field("path", &self.path)
            .field("input", &format_args!("{} bytes", self.input.len()))
            .finish_non_exhaustive()
    }
}

/// How a short command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 and the signal's number where a signal ended it.
    pub exit_code: i32,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ExecArguments<'a> {
    path: &'a str,
    arg: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    input_data: Option<String>,
    capture_output: bool,
}

#[derive(Deserialize)]
struct Started {
    pid: i64,
}

#[derive(Serialize)]
struct Pid {
    pid: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    exited: bool,
    exitcode: Option<i32>,
    signal: Option<i32>,
    out_data: Option<String>,
    err_data: Option<String>,
}

impl Guest {
    /// Runs a short command in the guest and waits for its end.
    pub async fn exec(&self, exec: &Exec) -> Result<Output, GuestError> {
        if exec.input.len() > LONGEST_INPUT {
            return Err(GuestError::Invalid {
                what: format!("input of {}", exec.what),
                found: format!("{} bytes", exec.input.len()),
                expected: format!("at most {LONGEST_INPUT} bytes"),
            });
        }
        let arguments = ExecArguments {
            path: &exec.path,
            arg: &exec.arguments,
            input_data: (!exec.input.is_empty()).then(|| STANDARD.encode(&exec.input)),
            capture_output: true,
        };
        let started: Started = self.command("guest-exec", arguments).await?;
        let mut pause = FIRST_PAUSE;
        let mut waited = Duration::ZERO;
        loop {
            self.pause.pause(pause).await;
            waited += pause;
            let status: Status = self
                .command("guest-exec-status", Pid { pid: started.pid })
                .await?;
            if status.exited {
                return self.output(status);
            }
            if waited >= exec.limit {
                return Err(GuestError::Unfinished {
                    domain: self.domain.clone(),
                    what: exec.what.clone(),
                    limit: exec.limit,
                });
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn output(&self, status: Status) -> Result<Output, GuestError> {
        let malformed = |reason: String| GuestError::Malformed {
            domain: self.domain.clone(),
            command: "guest-exec-status".to_owned(),
            reason,
        };
        let decode = |data: Option<String>| {
            STANDARD
                .decode(data.unwrap_or_default())
                .map_err(|error| malformed(error.to_string()))
        };
        let exit_code = match (status.exitcode, status.signal) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => {
                return Err(malformed(
                    "it exited with neither an exit code nor a signal".to_owned(),
                ));
            }
        };
        Ok(Output {
            exit_code,
            stdout: decode(status.out_data)?,
            stderr: decode(status.err_data)?,
        })
    }
}
