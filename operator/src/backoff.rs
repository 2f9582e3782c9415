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
const LONGEST: Duration = Duration::from_mins(1);
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

#[cfg(test)]
mod tests {
    use seedbed_crds::NodePool;
    use serde_json::json;

    use super::*;
    use crate::testing::NoChance;

    fn pool(uid: &str) -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "NodePool",
            "metadata": {"namespace": "default", "name": "workers", "uid": uid},
            "spec": {"clusterRef": {"name": "demo"}, "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"}},
        }))
        .unwrap()
    }

    #[test]
    fn pauses_grow_for_each_object_by_itself_and_end_with_a_success() {
        let backoff = Backoff::new(Arc::new(NoChance));
        let error = Error::step("keys", "no luck");
        let seconds = |uid: &str| backoff.failed(&pool(uid), &error).as_secs_f64().round();
        let grown: Vec<f64> = (0..8).map(|_| seconds("a")).collect();
        assert_eq!(grown, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert!((seconds("b") - 1.0).abs() < f64::EPSILON);
        backoff.succeeded(&pool("a"));
        assert!((seconds("a") - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_lost_race_is_tried_again_soon_and_does_not_count() {
        let backoff = Backoff::new(Arc::new(NoChance));
        let conflict = Error::Conflict {
            object: "NodePool default/workers".into(),
        };
        for _ in 0..5 {
            assert!(backoff.failed(&pool("a"), &conflict) < Duration::from_secs(1));
        }
        assert!(backoff.failed(&pool("a"), &Error::step("keys", "no luck")) < Duration::from_millis(1300));
    }
}
