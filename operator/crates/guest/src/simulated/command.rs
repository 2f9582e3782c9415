//! Short commands: the few that this crate runs in a guest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Os;
use crate::start::{MAKE_FOLDER, START};
use crate::state::LOOK;

/// How a command ended.
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    pub(super) fn with(code: i32) -> Self {
        Self {
            code,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    pub(super) fn failed(code: i32, stderr: impl Into<String>) -> Self {
        Self {
            stderr: stderr.into(),
            ..Self::with(code)
        }
    }
}

impl Os {
    /// Every command ends at once, and its end is kept until it is asked for.
    pub(super) fn execute(&mut self, arguments: &Value, now: Duration) -> Result<Value, String> {
        let words: Vec<_> = arguments["arg"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let input = STANDARD
            .decode(arguments["input-data"].as_str().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        let ended = match (arguments["path"].as_str(), words.as_slice()) {
            (Some("/bin/sh"), ["-c", script, "sh", rest @ ..]) => self.script(script, rest, &input, now),
            (Some("/bin/bash"), ["-c", _, name]) => match self.written.get(*name) {
                Some(text) => Ended {
                    stdout: text.clone(),
                    ..Ended::with(0)
                },
                None => Ended::failed(127, format!("{name} is not simulated")),
            },
            (path, _) => Ended::failed(127, format!("{path:?} is not simulated")),
        };
        let pid = self.number();
        self.outputs.insert(
            pid,
            json!({
                "exited": true, "exitcode": ended.code,
                "out-data": STANDARD.encode(ended.stdout), "err-data": STANDARD.encode(ended.stderr),
            }),
        );
        Ok(json!({ "pid": pid }))
    }

    pub(super) fn status(&mut self, arguments: &Value) -> Result<Value, String> {
        let pid = arguments["pid"].as_i64().unwrap_or_default();
        self.outputs
            .remove(&pid)
            .ok_or_else(|| "Invalid parameter 'pid'".to_owned())
    }

    fn script(&mut self, script: &str, arguments: &[&str], input: &[u8], now: Duration) -> Ended {
        match (script, arguments) {
            (START, [token, "-"]) => self.start(token, input, now),
            (START, [token, path]) => match self.files.take(path) {
                Some(archive) => self.start(token, &archive, now),
                None => Ended::failed(2, format!("tar: {path}: Cannot open: No such file or directory")),
            },
            (LOOK, [token]) => self.look(token),
            (MAKE_FOLDER, []) => Ended::with(0),
            _ => Ended::failed(127, "this script is not simulated"),
        }
    }
}
