//! What happened to objects, in order.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{Kind, Refusal};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The resourceVersion that it happened at.
    pub revision: u64,
    /// What happened.
    pub change: Change,
    /// The object's kind.
    pub kind: Kind,
    /// The object before; none where it was made.
    pub before: Option<Value>,
    /// The object after; where it is gone, as it was last.
    pub object: Value,
}

impl Event {
    /// The event as who watches what `wanted` says sees it: an object that begins to be wanted is new, one that ceases to be is gone.
    pub(crate) fn seen_by(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let was = self.before.as_ref().is_some_and(&wanted);
        let is = self.change != Change::Deleted && wanted(&self.object);
        let kind = match (was, is) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        let mut object = self.object.clone();
        if let (true, false, Some(before)) = (was, is, &self.before) {
            // Who does not see what it became is shown what it was.
            object = before.clone();
            object["metadata"]["resourceVersion"] = self.object["metadata"]["resourceVersion"].clone();
        }
        Some(json!({"type": kind, "object": object}))
    }
}

/// The latest events, as far back as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: VecDeque<Event>,
    /// The resourceVersion up to which events are forgotten.
    forgotten: u64,
}

impl Log {
    pub(crate) fn add(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Forgets what happened up to that resourceVersion, as etcd's compaction does.
    pub(crate) fn forget(&mut self, revision: u64) {
        self.forgotten = self.forgotten.max(revision);
        while self.events.front().is_some_and(|e| e.revision <= revision) {
            self.events.pop_front();
        }
    }

    /// What happened after that resourceVersion.
    pub(crate) fn since(&self, revision: u64) -> Result<impl Iterator<Item = &Event>, Refusal> {
        if revision < self.forgotten {
            return Err(Refusal::gone(revision, self.forgotten));
        }
        let begin = self.events.partition_point(|e| e.revision <= revision);
        Ok(self.events.range(begin..))
    }
}
