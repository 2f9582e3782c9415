//! Working for as long as the lease is held.

use std::sync::Arc;
use std::time::Duration;

use super::Stop;
use crate::context::{Clock, Context};
use crate::controllers;
use crate::health::{Health, Role};
use crate::lease::Election;

/// How long reconciles that run may go on once the operator is asked to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Waits for the lease and runs the controllers while it is held. Ends well once it is asked to stop, and has given up the lease
/// then; fails where the lease is lost, and then nothing of this instance goes on.
pub async fn lead(
    election: Election,
    stop: &Stop,
    health: &Health,
    context: impl FnOnce() -> Context,
) -> Result<(), String> {
    health.set_role(Role::Standby);
    let Some(held) = Box::pin(stop.cuts(election.acquire())).await else {
        return Ok(());
    };
    health.set_role(Role::Leader);
    let context = Arc::new(context());
    let clock = context.clock.clone();
    let result = tokio::select! {
        // Nothing is begun by one that was stopped, and goes on when its lease is another's.
        biased;
        lost = election.keep(held) => return Err(format!("{lost}; all work was stopped at once")),
        () = controllers::run(context, stop.asked()) => {
            if stop.is_asked() { Ok(()) } else { Err("the controllers ended by themselves".to_owned()) }
        }
        () = drained(stop, &*clock) => {
            tracing::warn!("reconciles still ran {} s after the operator was asked to stop; they were cut off", DRAIN_LIMIT.as_secs());
            Ok(())
        }
    };
    health.set_role(Role::Stopping);
    election.release().await;
    result
}

async fn drained(stop: &Stop, clock: &dyn Clock) {
    stop.asked().await;
    tracing::info!("asked to stop: waiting for running reconciles");
    clock.sleep(DRAIN_LIMIT).await;
}
