//! Files, and the agent's commands that read and write them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Os;

/// Where files are that a boot does not outlive.
const MEMORY: [&str; 3] = ["/run/", "/sys/", "/proc/"];

/// The guest's files by their paths.
#[derive(Debug, Clone, Default)]
pub(super) struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    pub(super) fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    pub(super) fn put(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), content.into());
    }

    pub(super) fn append(&mut self, path: &str, content: &[u8]) {
        self.0
            .entry(path.to_owned())
            .or_default()
            .extend_from_slice(content);
    }

    pub(super) fn take(&mut self, path: &str) -> Option<Vec<u8>> {
        self.0.remove(path)
    }

    /// Removes a folder with all that is in it.
    pub(super) fn remove_folder(&mut self, path: &str) {
        let prefix = format!("{path}/");
        self.0.retain(|file, _| !file.starts_with(&prefix));
    }

    pub(super) fn forget_memory(&mut self) {
        self.0
            .retain(|path, _| !MEMORY.iter().any(|folder| path.starts_with(folder)));
    }
}

/// A file that the agent has open. What is read is what it held when it was opened.
#[derive(Debug, Clone)]
pub(super) enum Open {
    Reading { content: Vec<u8>, position: usize },
    Writing { path: String },
}

impl Os {
    pub(super) fn file_command(&mut self, command: &str, arguments: &Value) -> Result<Value, String> {
        let handle = arguments["handle"].as_i64().unwrap_or_default();
        match command {
            "guest-file-open" => self.open(arguments),
            "guest-file-seek" => self.seek(handle, arguments),
            "guest-file-read" => self.read(handle, arguments),
            "guest-file-write" => self.write(handle, arguments),
            "guest-file-close" => {
                self.handles.remove(&handle).ok_or_else(|| unknown(handle))?;
                Ok(json!({}))
            }
            other => Err(format!("The command {other} has not been found")),
        }
    }

    fn open(&mut self, arguments: &Value) -> Result<Value, String> {
        let path = arguments["path"].as_str().unwrap_or_default();
        let mode = arguments["mode"].as_str().unwrap_or("r");
        let open = if mode == "w" {
            self.files.put(path, Vec::new());
            Open::Writing {
                path: path.to_owned(),
            }
        } else {
            let content = self.files.get(path).ok_or_else(|| {
                format!("failed to open file '{path}' (mode: '{mode}'): No such file or directory")
            })?;
            Open::Reading {
                content: content.to_vec(),
                position: 0,
            }
        };
        let handle = self.number();
        self.handles.insert(handle, open);
        Ok(json!(handle))
    }

    /// Only from the end, which is all that is asked for.
    fn seek(&mut self, handle: i64, arguments: &Value) -> Result<Value, String> {
        let Some(Open::Reading { content, position }) = self.handles.get_mut(&handle) else {
            return Err(unknown(handle));
        };
        let to = arguments["offset"]
            .as_i64()
            .and_then(|offset| isize::try_from(offset).ok())
            .and_then(|offset| content.len().checked_add_signed(offset))
            .filter(|_| arguments["whence"] == "end")
            .ok_or("failed to seek file: Invalid argument")?;
        *position = to;
        Ok(json!({"position": to, "eof": false}))
    }

    fn read(&mut self, handle: i64, arguments: &Value) -> Result<Value, String> {
        let Some(Open::Reading { content, position }) = self.handles.get_mut(&handle) else {
            return Err(unknown(handle));
        };
        let count = arguments["count"]
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or_default();
        let rest = content.get(*position..).unwrap_or_default();
        let part = &rest[..count.min(rest.len())];
        *position += part.len();
        Ok(json!({"count": part.len(), "buf-b64": STANDARD.encode(part), "eof": part.len() < count}))
    }

    fn write(&mut self, handle: i64, arguments: &Value) -> Result<Value, String> {
        let Some(Open::Writing { path }) = self.handles.get(&handle) else {
            return Err(unknown(handle));
        };
        let bytes = STANDARD
            .decode(arguments["buf-b64"].as_str().unwrap_or_default())
            .map_err(|error| error.to_string())?;
        self.files.append(path, &bytes);
        Ok(json!({"count": bytes.len(), "eof": false}))
    }
}

fn unknown(handle: i64) -> String {
    format!("handle '{handle}' has not been found")
}
