//! The operator's requests, from the API server's audit log.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use seedbed_seed::OPERATOR_USER;
use seedbed_tests::audit::{self, Entry};
use serde_json::{Value, json};

/// Requests by verb and resource; those of the lease are left out.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    counts: BTreeMap<(String, String), u64>,
    /// All of them, in their order.
    pub entries: Vec<Entry>,
}

impl Requests {
    /// All until now.
    pub fn of(log: &Path) -> Self {
        let mut files: Vec<_> = fs::read_dir(log.parent().unwrap())
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("audit")))
            .collect();
        // Those that were rotated away have the time in their names, and the present one sorts last by its dot.
        files.sort_by_key(|path| (path == log, path.clone()));
        let mut seen = Self::default();
        for file in files {
            for entry in audit::of_user(&file, OPERATOR_USER) {
                if entry.resource == "leases" {
                    continue;
                }
                let key = (entry.verb.clone(), entry.resource.clone());
                *seen.counts.entry(key).or_default() += 1;
                seen.entries.push(entry);
            }
        }
        seen
    }

    /// Those that came after an earlier look.
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self
            .counts
            .iter()
            .map(|(key, count)| (key.clone(), count - earlier.counts.get(key).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        Self {
            counts,
            entries: self.entries[earlier.entries.len().min(self.entries.len())..].to_vec(),
        }
    }

    /// How many were meant to change something.
    pub fn writes(&self) -> u64 {
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        self.counts
            .iter()
            .filter(|((verb, _), _)| writes.contains(&verb.as_str()))
            .map(|(_, count)| count)
            .sum()
    }

    /// How many of each verb.
    pub fn by_verb(&self) -> Value {
        let mut verbs: BTreeMap<&str, u64> = BTreeMap::new();
        for ((verb, _), count) in &self.counts {
            *verbs.entry(verb).or_default() += count;
        }
        json!(verbs)
    }

    /// How many of each verb and resource.
    pub fn by_resource(&self) -> Value {
        let counts: BTreeMap<String, u64> = self
            .counts
            .iter()
            .map(|((verb, resource), count)| (format!("{verb} {resource}"), *count))
            .collect();
        json!(counts)
    }
}
