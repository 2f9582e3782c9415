//! The audit log of a seed's kube-apiserver: who did what to which object.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// One finished request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who asked.
    pub user: String,
    /// What for: get, list, watch, create, update, patch, delete.
    pub verb: String,
    /// The resource, with its subresource after a slash.
    pub resource: String,
    /// `namespace/name` of the object.
    pub object: String,
    /// HTTP status of the answer.
    pub code: i64,
    /// When, as the API server wrote it.
    pub time: String,
}

impl Entry {
    /// Whether it was meant to change something.
    pub fn is_write(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }

    /// Reads a line of the log; none for one that is not whole yet.
    pub fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |pointer: &str| {
            event
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let subresource = text("/objectRef/subresource");
        let resource = text("/objectRef/resource");
        Some(Self {
            user: text("/user/username"),
            verb: text("/verb"),
            resource: if subresource.is_empty() {
                resource
            } else {
                format!("{resource}/{subresource}")
            },
            object: format!("{}/{}", text("/objectRef/namespace"), text("/objectRef/name")),
            code: event
                .pointer("/responseStatus/code")
                .and_then(Value::as_i64)
                .unwrap_or(0),
            time: text("/stageTimestamp"),
        })
    }
}

/// Everything that this user asked for.
pub fn of_user(log: &Path, user: &str) -> Vec<Entry> {
    let text = fs::read_to_string(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    text.lines()
        .filter_map(Entry::parse)
        .filter(|entry| entry.user == user)
        .collect()
}
