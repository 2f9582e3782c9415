//! What was read or written a while ago, and need not be read again at every pass.
//!
//! Only what this operator alone writes is kept, and never what decides whether something may be destroyed. After a time it is read
//! anew, so that what somebody else did to it is found then.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long something is kept, unless it is said otherwise.
const KEPT: Duration = Duration::from_mins(10);

/// Values by the UID, or the name, of what they belong to, for as long as they are young enough.
#[derive(Debug)]
pub struct Kept<T> {
    limit: Duration,
    values: Mutex<Values<T>>,
}

#[derive(Debug)]
struct Values<T> {
    /// Each with the time at which it was read.
    known: HashMap<String, (Duration, T)>,
    swept: Duration,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self::lasting(KEPT)
    }
}

impl<T> Kept<T> {
    /// Keeps values for that long.
    pub fn lasting(limit: Duration) -> Self {
        Self {
            limit,
            values: Mutex::new(Values {
                known: HashMap::new(),
                swept: Duration::ZERO,
            }),
        }
    }

    /// Keeps the value in the place of the one before, as read at `now` (time since some moment that does not change).
    pub fn put(&self, key: &str, value: T, now: Duration) {
        let mut values = self.lock();
        if now.saturating_sub(values.swept) > self.limit {
            values.swept = now;
            let limit = self.limit;
            values.known.retain(|_, (at, _)| now.saturating_sub(*at) < limit);
        }
        values.known.insert(key.to_owned(), (now, value));
    }

    /// Lets go of a value.
    pub fn forget(&self, key: &str) {
        self.lock().known.remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Values<T>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Kept<T> {
    /// The value, if it is young enough.
    pub fn get(&self, key: &str, now: Duration) -> Option<T> {
        let values = self.lock();
        let (at, value) = values.known.get(key)?;
        (now.saturating_sub(*at) < self.limit).then(|| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_for_its_time_and_no_longer() {
        let kept = Kept::lasting(Duration::from_secs(10));
        let at = Duration::from_secs;
        kept.put("a", 1, at(100));
        assert_eq!(kept.get("a", at(109)), Some(1));
        assert_eq!(kept.get("a", at(110)), None, "its time is over");
        assert_eq!(kept.get("b", at(100)), None);
        kept.put("b", 2, at(111));
        assert_eq!(kept.lock().known.len(), 1, "what is too old is let go of");
        assert_eq!(kept.get("b", at(111)), Some(2));
        kept.forget("b");
        assert_eq!(kept.get("b", at(111)), None);
    }
}
