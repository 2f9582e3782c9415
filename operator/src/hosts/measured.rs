//! Counts and times the calls to a host.

use std::future::Future;
use std::sync::Arc;

use seedbed_hypervisor::{Around, Call, Fault};

use crate::context::Clock;
use crate::metrics::Metrics;

/// Counts and times the calls to a host.
pub struct Measured {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

impl Measured {
    /// Measures by that clock.
    pub fn new(metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self { metrics, clock }
    }
}

impl Around for Measured {
    async fn around<T: Send + 'static>(
        &self,
        call: Call<'_>,
        run: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let begun = self.clock.elapsed();
        let result = run.await;
        let outcome = result.as_ref().map_or_else(outcome, |_| "ok");
        self.metrics
            .host_call(call.verb, outcome, self.clock.elapsed().saturating_sub(begun));
        result
    }
}

/// A fault as a label: one of a few fixed words.
fn outcome(fault: &Fault) -> &'static str {
    match fault {
        Fault::Unavailable { .. } => "unavailable",
        Fault::TimedOut { .. } => "timed_out",
        Fault::Busy { .. } => "busy",
        Fault::NotFound { .. } => "not_found",
        Fault::Conflict { .. } => "conflict",
        Fault::Unsupported { .. } => "unsupported",
        Fault::AgentSilent { .. } => "agent_silent",
        Fault::Refused { .. } => "refused",
        Fault::Source { .. } => "source",
    }
}
