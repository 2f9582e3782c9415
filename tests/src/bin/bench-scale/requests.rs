//! The operator's requests, from the API server's audit log.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use seedbed_seed::OPERATOR_USER;
use seedbed_tests::audit::Entry;
use serde_json::{Value, json};

/// Requests by verb and resource; those of the lease are left out.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    counts: BTreeMap<(String, String), u64>,
    /// All of them, in their order.
    pub entries: Vec<Entry>,
}

/// Reads the log as it grows.
#[derive(Debug, Default)]
pub struct Reader {
    /// How far each file was read, by its inode: a file that is rotated away keeps it.
    read: HashMap<u64, u64>,
    seen: Requests,
}

impl Reader {
    /// All until now.
    pub fn read(&mut self, log: &Path) -> &Requests {
        let mut files: Vec<_> = fs::read_dir(log.parent().unwrap())
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("audit"))
            })
            .collect();
        // Those that were rotated away have the time in their names; the present one comes last.
        files.sort_by_key(|path| (path == log, path.clone()));
        for path in files {
            let mut file = File::open(&path).unwrap();
            let from = self.read.entry(file.metadata().unwrap().ino()).or_default();
            file.seek(SeekFrom::Start(*from)).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            // The last line may not be whole yet.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *from += whole as u64;
            for entry in text[..whole].lines().filter_map(Entry::parse) {
                self.seen.add(entry);
            }
        }
        &self.seen
    }
}

impl Requests {
    fn add(&mut self, entry: Entry) {
        if entry.user != OPERATOR_USER || entry.resource == "leases" {
            return;
        }
        let key = (entry.verb.clone(), entry.resource.clone());
        *self.counts.entry(key).or_default() += 1;
        self.entries.push(entry);
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
