//! What is around every reconcile: its span, its figures, its pause after a failure.

use std::future::Future;
use std::sync::Arc;

use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use seedbed_planted::planted;
use tracing::Instrument;

use crate::context::Context;
use crate::errors::Error;
use crate::status::describe;

/// Runs one pass over the object within a span of its own, counts and times it.
pub async fn measured<K>(
    context: &Context,
    controller: &'static str,
    object: &K,
    pass: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()>,
{
    let span = tracing::info_span!(
        "reconcile",
        controller,
        namespace = object.namespace(),
        name = object.name_any(),
        generation = object.meta().generation,
    );
    async {
        let _running = context.health.reconcile(describe(object));
        let begun = context.clock.elapsed();
        tracing::debug!("begun");
        let result = pass.await;
        let took = context.clock.elapsed().saturating_sub(begun);
        context
            .metrics
            .reconciled(controller, result.as_ref().err().map(Error::category), took);
        match &result {
            Ok(_) => {
                context.backoff.succeeded(object);
                tracing::debug!(seconds = took.as_secs_f64(), "done");
            }
            Err(error) if error.is_conflict() => tracing::debug!("{error}"),
            Err(error) => tracing::warn!(category = error.category(), "{error}"),
        }
        result
    }
    .instrument(span)
    .await
}

/// What is done about an object whose reconcile failed: it is left alone for a growing, jittered time.
pub fn on_error<K>(object: &Arc<K>, error: &Error, context: &Arc<Context>) -> Action
where
    K: Resource<DynamicType = ()>,
{
    if planted!(NoRequeueAfterFailure) {
        return Action::await_change();
    }
    Action::requeue(context.backoff.failed(&**object, error))
}
