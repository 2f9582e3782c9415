//! The clusters as a watch of them tells.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use seedbed_tests::objects::condition;
use tokio::sync::watch;

/// What the watch told of a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// When it was first Ready.
    pub ready: Option<Instant>,
    /// When it first had the operator's finalizer: the operator's first action on it.
    pub begun: Option<Instant>,
}

/// All clusters that are there, by namespace and name.
#[derive(Clone)]
pub struct Watched {
    seen: Arc<Mutex<HashMap<String, Seen>>>,
    changed: watch::Receiver<u64>,
}

/// How long everything together may take.
const LIMIT: Duration = Duration::from_mins(20);

impl Watched {
    /// Begins to watch.
    pub async fn begin(api: Api<DynamicObject>) -> Self {
        let seen = Arc::new(Mutex::new(HashMap::new()));
        let (tell, changed) = watch::channel(0);
        let list = api.list(&ListParams::default()).await.unwrap();
        let mut version = list.metadata.resource_version.unwrap();
        let shared = seen.clone();
        tokio::spawn(async move {
            loop {
                let mut events = api
                    .watch(&WatchParams::default(), &version)
                    .await
                    .unwrap()
                    .boxed();
                while let Some(event) = events.next().await {
                    let Ok(event) = event else { break };
                    if let Some(new) = note(&event, &mut shared.lock().unwrap()) {
                        version = new;
                    }
                    tell.send_modify(|count| *count += 1);
                }
            }
        });
        Self { seen, changed }
    }

    /// How many there are.
    pub fn there(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What was told of a cluster.
    pub fn of(&self, key: &str) -> Seen {
        self.seen.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    /// Returns once that many are Ready.
    pub async fn all_ready(&self, count: usize) {
        self.until(&format!("{count} clusters are Ready"), |seen| {
            seen.values().filter(|seen| seen.ready.is_some()).count() >= count
        })
        .await;
    }

    /// Returns once it is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&HashMap<String, Seen>) -> bool) {
        let mut changed = self.changed.clone();
        let end = Instant::now() + LIMIT;
        while !is_so(&self.seen.lock().unwrap()) {
            let left = end.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, changed.changed()).await.is_err() {
                let seen = self.seen.lock().unwrap();
                let ready = seen.values().filter(|seen| seen.ready.is_some()).count();
                panic!(
                    "{what}: not so after {LIMIT:?}; {} clusters, {ready} of them Ready",
                    seen.len()
                );
            }
        }
    }
}

fn note(event: &WatchEvent<DynamicObject>, seen: &mut HashMap<String, Seen>) -> Option<String> {
    let key =
        |object: &DynamicObject| format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            let known = seen.entry(key(object)).or_default();
            let now = Instant::now();
            if !object.finalizers().is_empty() {
                known.begun.get_or_insert(now);
            }
            let document = serde_json::to_value(object).unwrap();
            if condition(&document, "Ready").is_some_and(|ready| ready.status == "True") {
                known.ready.get_or_insert(now);
            }
            object.resource_version()
        }
        WatchEvent::Deleted(object) => {
            seen.remove(&key(object));
            object.resource_version()
        }
        WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version.clone()),
        WatchEvent::Error(_) => None,
    }
}

/// The smallest of the values that so many percent of them are not above.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(index).copied().unwrap_or_default()
}
