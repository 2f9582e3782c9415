//! Turns: who does something for the same thing waits for who is at it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// What is known of each thing, by its name or UID, and held by one at a time.
#[derive(Debug)]
pub struct Turns<T>(Mutex<HashMap<String, Arc<tokio::sync::Mutex<T>>>>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Turns<T> {
    /// That of one thing, once nobody else holds it.
    pub async fn hold(&self, of: &str) -> OwnedMutexGuard<T> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(of.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Lets go of what is known of a thing that is gone.
    pub fn forget(&self, of: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(of);
    }
}
