//! Doing something, so that it can be followed.

use std::fmt::Display;

use seedbed_planner::effect::Effect;
use tracing::Instrument;

/// Carries out an effect on `what`, in a span of its own: whatever is logged meanwhile says what it was part of.
pub async fn carry_out<E, T, F>(
    what: impl Display,
    effect: E,
    work: impl Future<Output = Result<T, F>>,
) -> Result<T, F>
where
    E: Effect,
    F: Display,
{
    let span = tracing::info_span!("effect", kind = E::KIND, effect = effect.name(), %what);
    async {
        tracing::info!("{}", effect.describe());
        let result = Box::pin(work).await;
        match &result {
            Ok(_) => tracing::debug!("done"),
            Err(error) => tracing::debug!("not done: {error}"),
        }
        result
    }
    .instrument(span)
    .await
}
