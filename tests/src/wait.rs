//! Waiting for a condition, with a limit that a slow machine meets too.

use std::time::{Duration, Instant};

/// What something may take that needs a pass or two of the operator: its longest pause is ten seconds, and the machine may be
/// busy with emulated guests.
pub const LIMIT: Duration = Duration::from_mins(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Looks until it is so, and gives what was seen; fails with what was found last after [`LIMIT`].
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(LIMIT, what, look).await
}

/// Like [`eventually`], with another limit.
pub async fn eventually_within<T>(
    limit: Duration,
    what: &str,
    look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    match until(limit, look).await {
        Ok(seen) => seen,
        Err(found) => panic!("{what}: not so after {} s; found {found}", limit.as_secs()),
    }
}

/// Looks until it is so; an error is what was found last when the time was over.
pub async fn until<T>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    loop {
        match look().await {
            Err(_) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            seen => return seen,
        }
    }
}
