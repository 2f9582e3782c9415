//! What was said already, so that it is not said at every pass.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::{Resource, ResourceExt};

/// The last thing said of each object, by its UID.
#[derive(Debug, Default)]
pub struct Said {
    last: Mutex<HashMap<String, String>>,
}

impl Said {
    /// Whether this was the last thing said of the object; from now on it is.
    pub fn told<K: Resource>(&self, object: &K, what: &str) -> bool {
        let uid = object.meta().uid.clone().unwrap_or_default();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(uid, what.to_owned())
            .is_some_and(|before| before == what)
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, object: &impl ResourceExt) {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&object.uid().unwrap_or_default());
    }
}
