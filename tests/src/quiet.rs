//! Whether the operator writes nothing while nothing changes, from the audit log.

use std::time::{Duration, Instant};

use seedbed_seed::OPERATOR_USER;

use crate::audit::{self, Entry};
use crate::{TestSeed, eventually_within};

/// Writes of the operator, without those of its lease.
pub fn writes(test: &TestSeed) -> Vec<Entry> {
    let all = audit::of_user(&test.instance().audit_log(), OPERATOR_USER);
    all.into_iter()
        .filter(|e| e.is_write() && e.resource != "leases")
        .collect()
}

/// Waits until the operator has written nothing for that long: what follows from the last change is written soon.
pub async fn operator(test: &TestSeed, quiet: Duration, limit: Duration) {
    let mut last = (writes(test).len(), Instant::now());
    let what = format!("the operator writes nothing for {} s", quiet.as_secs());
    eventually_within(limit, &what, async || {
        let seen = writes(test);
        if seen.len() != last.0 {
            last = (seen.len(), Instant::now());
        }
        if last.1.elapsed() >= quiet {
            return Ok(());
        }
        Err(format!(
            "{} writes, the last of them {:#?}",
            seen.len(),
            &seen[seen.len().saturating_sub(5)..]
        ))
    })
    .await;
}
