//! What the operator was started with.

use std::time::Duration;

/// What the operator was started with, as far as controllers care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many objects of a kind are worked on at the same time.
    pub concurrency: u16,
    /// How long an answer of a child cluster's API is waited for.
    pub child_call_limit: Duration,
    /// How long the transfer of one file to a host may take.
    pub upload_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            concurrency: 16,
            child_call_limit: Duration::from_secs(10),
            upload_limit: Duration::from_hours(1),
        }
    }
}
