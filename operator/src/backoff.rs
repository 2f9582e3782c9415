//! How long an object that failed is left alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::{Resource, ResourceExt};

use crate::context::{Randomness, jittered};
use crate::errors::Error;

/// Pause after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// Pause after a write that lost against another one: the newer object is on its way through the watch.
const CONFLICT: Duration = Duration::from_millis(300);

/// Growing, jittered pauses, counted for each object by itself: 1 s after the first failure in a row, then double, up to a
/// minute.
#[derive(Debug)]
pub struct Backoff {
    random: Arc<dyn Randomness>,
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Pauses jittered by that chance.
    pub fn new(random: Arc<dyn Randomness>) -> Self {
        Self {
            random,
            failures: Mutex::default(),
        }
    }

    /// Notes that the object's reconcile failed; how long to leave it alone.
    pub fn failed<K: Resource<DynamicType = ()>>(&self, object: &K, error: &Error) -> Duration {
        if error.is_conflict() {
            return jittered(&*self.random, CONFLICT);
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key(object)).or_default();
        let pause = FIRST.saturating_mul(1 << (*count).min(6)).min(LONGEST);
        *count = count.saturating_add(1);
        jittered(&*self.random, pause)
    }

    /// Notes that the object's reconcile succeeded, or that the object is gone.
    pub fn succeeded<K: Resource<DynamicType = ()>>(&self, object: &K) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key(object));
    }
}

/// An object is told by its kind and UID; one without a UID never was in the API, and its name has to do.
fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let kind = K::kind(&());
    match object.uid() {
        Some(uid) => format!("{kind}/{uid}"),
        None => format!(
            "{kind}/{}/{}",
            object.namespace().unwrap_or_default(),
            object.name_any()
        ),
    }
}
