//! Events about the operator's objects, for `kubectl describe` and `kubectl events`.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Resource};

use crate::context::{Clock, Randomness};
use crate::errors::api_message;
use crate::names::FIELD_MANAGER;

/// Longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;
/// How long the same event of the same object is not written again.
const SAME_AGAIN: SignedDuration = SignedDuration::from_mins(10);
/// How often what was written is looked through for what does not count any more.
const SWEEP: SignedDuration = SignedDuration::from_mins(1);
/// How many events an object may have at once, before it has to wait: more than an upgrade of some pools has on its way there and back,
/// with failed attempts. client-go's filter, which is for controllers that tell one thing again and again, bears 25 and one in five minutes.
const BURST: u32 = 200;
/// How long it takes until an object that had so many may have one more.
const REFILL: SignedDuration = SignedDuration::from_secs(30);
/// How long the API server may take over an event: nobody waits longer for one.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How an event is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something happened as it should.
    Normal,
    /// Something that a person may have to look at.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Writes events. It never fails a reconcile, and never writes the same event of an object twice within ten minutes.
#[derive(Clone)]
pub struct EventRecorder {
    client: Client,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
    instance: Arc<str>,
    memory: Arc<Mutex<Memory>>,
}

impl fmt::Debug for EventRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRecorder")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl EventRecorder {
    /// A recorder that says it is that instance of the operator.
    pub fn new(client: Client, clock: Arc<dyn Clock>, random: Arc<dyn Randomness>, instance: &str) -> Self {
        Self {
            client,
            clock,
            random,
            instance: instance.into(),
            memory: Arc::default(),
        }
    }

    /// Writes an event about the object. `reason` (why) and `action` (what the operator did) are single words in `CamelCase`;
    /// `note` is for people and is cut at 1024 bytes. An event that cannot be written is told in the log.
    pub async fn publish<K>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        action: &str,
        note: impl Into<String>,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let regarding = object.object_ref(&());
        let note = truncated(note.into());
        let now = self.clock.now();
        let key = Key {
            object: regarding.uid.clone().unwrap_or_default(),
            type_,
            reason: reason.to_owned(),
            action: action.to_owned(),
            note: note.clone(),
        };
        if !self
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(&key, now)
        {
            return;
        }
        let (kind, name) = (
            regarding.kind.clone().unwrap_or_default(),
            regarding.name.clone().unwrap_or_default(),
        );
        // An event has to be in its object's namespace, and those of objects without one in `default`.
        let namespace = regarding
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let event = self.event(regarding, &namespace, type_, reason, action, note, now);
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let why = match tokio::time::timeout(WRITE_LIMIT, api.create(&params, &event)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => api_message(&error),
            Err(_) => format!("no answer within {} s", WRITE_LIMIT.as_secs()),
        };
        tracing::warn!(kind, namespace, name, reason, "event not written: {why}");
    }

    #[allow(clippy::too_many_arguments)]
    fn event(
        &self,
        regarding: ObjectReference,
        namespace: &str,
        type_: EventType,
        reason: &str,
        action: &str,
        note: String,
        now: Timestamp,
    ) -> Event {
        // The time alone is not unique: two events of an object may fall into the same tick of the clock.
        let mut chance = [0; 4];
        let chance = self
            .random
            .fill(&mut chance)
            .map_or(0, |()| u32::from_le_bytes(chance));
        let name = regarding.name.as_deref().unwrap_or(FIELD_MANAGER);
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}.{chance:08x}", now.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some(action.to_owned()),
            reason: Some(reason.to_owned()),
            note: Some(note),
            type_: Some(type_.as_str().to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(regarding),
            reporting_controller: Some(format!("seedbed.dev/{FIELD_MANAGER}")),
            reporting_instance: Some(self.instance.to_string()),
            ..Event::default()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    object: String,
    type_: EventType,
    reason: String,
    action: String,
    note: String,
}

/// What was written lately.
#[derive(Debug, Default)]
struct Memory {
    /// By a hash of what was written: the notes themselves are long, and there are many.
    written: HashMap<u64, Timestamp>,
    buckets: HashMap<String, Bucket>,
    swept: Option<Timestamp>,
}

/// How many events an object may still have: as many as the burst, and one more each `REFILL`.
#[derive(Debug)]
struct Bucket {
    used: u32,
    since: Timestamp,
}

impl Memory {
    /// Whether the event is to be written now; remembers it if so.
    fn admit(&mut self, key: &Key, now: Timestamp) -> bool {
        self.sweep(now);
        let hash = key.hash();
        let before = self.written.get(&hash);
        if before.is_some_and(|at| now.duration_since(*at) < SAME_AGAIN) {
            return false;
        }
        let bucket = self
            .buckets
            .entry(key.object.clone())
            .or_insert(Bucket { used: 0, since: now });
        bucket.refill(now);
        if bucket.used >= BURST {
            return false;
        }
        bucket.used += 1;
        self.written.insert(hash, now);
        true
    }

    /// Forgets what does not count any more. Now and then: a look at everything for each event would take the longer the more objects
    /// there are.
    fn sweep(&mut self, now: Timestamp) {
        if self.swept.is_some_and(|at| now.duration_since(at) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.written.retain(|_, at| now.duration_since(*at) < SAME_AGAIN);
        self.buckets.retain(|_, bucket| {
            bucket.refill(now);
            bucket.used > 0
        });
    }
}

impl Key {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

impl Bucket {
    fn refill(&mut self, now: Timestamp) {
        while self.used > 0 && now.duration_since(self.since) >= REFILL {
            self.used -= 1;
            self.since = self.since.checked_add(REFILL).unwrap_or(now);
        }
    }
}

/// The note, cut at the last character that fits, with a mark where something was cut.
fn truncated(mut note: String) -> String {
    const MARK: &str = "…";
    if note.len() > MAX_NOTE {
        note.truncate(note.floor_char_boundary(MAX_NOTE - MARK.len()));
        note.push_str(MARK);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(note: &str) -> Key {
        Key {
            object: "uid".into(),
            type_: EventType::Normal,
            reason: "Created".into(),
            action: "Create".into(),
            note: note.into(),
        }
    }

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let cut = truncated("ä".repeat(1000));
        assert!(cut.len() <= MAX_NOTE, "{} bytes", cut.len());
        assert!(cut.ends_with("ä…"));
        assert_eq!(truncated("short".into()), "short");
    }

    #[test]
    fn the_same_event_is_not_written_again_for_a_while() {
        let mut memory = Memory::default();
        let now = Timestamp::UNIX_EPOCH;
        assert!(memory.admit(&key("a"), now));
        assert!(!memory.admit(&key("a"), now + SignedDuration::from_mins(9)));
        assert!(
            memory.admit(&key("b"), now + SignedDuration::from_mins(9)),
            "another note is another event"
        );
        assert!(memory.admit(&key("a"), now + SignedDuration::from_mins(10)));
    }

    #[test]
    fn an_object_cannot_storm() {
        let mut memory = Memory::default();
        let now = Timestamp::UNIX_EPOCH;
        let admitted = (0..2 * BURST)
            .filter(|n| memory.admit(&key(&n.to_string()), now))
            .count();
        assert_eq!(admitted, 200);
        assert!(memory.admit(&key("later"), now + REFILL));
        assert!(!memory.admit(&key("too soon"), now + REFILL));
    }
}
