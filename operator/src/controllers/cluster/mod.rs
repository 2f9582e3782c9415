//! `DevCluster`: network, keys, control plane, and the summary of everything that belongs to it.

mod apply;
mod observe;
mod policies;
mod ranges;
mod status;
mod stray_nodes;
mod versions;

use std::time::Duration;

use kube::Api;
use kube::runtime::controller::Action;
use seedbed_crds::{DeletionPolicy, DevCluster};
use seedbed_planner::cluster::{self, Decision};
use seedbed_planner::effect::Effect as _;

use super::allocations::Stored;
use super::current::current;
use super::failure::Failure;
use super::world::World;
use super::{finalizer, owned, transitions};
use crate::context::jittered;
use crate::effect;
use crate::errors::Error;
use crate::events::EventType;
use crate::status::{describe, write_status};
use observe::Subject;
pub use ranges::{Ranges, is_contested};

/// How soon to look again at what a watch shows, if it does not say so earlier.
const SOON: Duration = Duration::from_secs(1);
/// How soon to look again where nothing is expected: what the watches and the looks at the hosts missed is found then.
const LATER: Duration = Duration::from_mins(5);
/// How soon to look again at an initialised cluster whose API nobody has looked at yet, if the end of that look is not told earlier:
/// after a start of the operator what is well would be told as unknown for a moment.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How soon to look again where something outside is in the way.
const BLOCKED: Duration = Duration::from_secs(10);

/// One pass over a cluster: look, decide, do at most one thing, say what is so.
pub async fn reconcile(cached: &DevCluster, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let api = Api::<DevCluster>::namespaced(context.client.clone(), &owned::namespace(cached));
    let Some(cluster) = current(world, &api, cached).await? else {
        return Ok(Action::await_change());
    };
    let going = cluster.metadata.deletion_timestamp.is_some();
    if going && !finalizer::is_set(&cluster) {
        return Ok(Action::await_change());
    }
    if !going && !finalizer::is_set(&cluster) {
        let work = apply::add_finalizer(&cluster, world);
        effect::carry_out(describe(&cluster), cluster::Effect::AddFinalizer, work).await?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    let subject = observe::subject(cluster, world).await?;
    if !going
        && (is_initialized(&subject.cluster, subject.stored.as_ref()) || subject.is_bootstrapped())
        && !subject.child_looked
    {
        return Ok(Action::requeue(FIRST_LOOK));
    }
    if going {
        leave(&api, &subject, world).await
    } else {
        advance(&api, &subject, world).await
    }
}

/// Whether the control plane came up once: as the status says, or what is written down beside it, since a status may be lost.
pub fn is_initialized(cluster: &DevCluster, stored: Option<&Stored>) -> bool {
    cluster.status.as_ref().is_some_and(|status| status.initialized)
        || stored.is_some_and(|stored| stored.allocations.initialized)
}

async fn advance(api: &Api<DevCluster>, subject: &Subject, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let seen = observe::present(subject, world).await?;
    let (decision, error) = carry_out(cluster::advance(&seen), subject, world).await;
    let pools = world.pools_of_cluster(&subject.cluster);
    let pass = status::Pass {
        subject,
        seen: &seen,
        decision: &decision,
        pools: &pools,
    };
    let status = status::build(&pass, context.clock.now());
    let later = transitions::save_paced(world, api, &subject.cluster, status).await?;
    policies::warn(subject, world).await;
    if let Some(error) = error {
        return Err(error);
    }
    let next = match decision {
        Decision::Do(effect) => again(effect),
        Decision::Blocked(..) | Decision::Stalled(..) => jittered(&*context.random, BLOCKED),
        Decision::Settled => jittered(&*context.random, LATER),
    };
    Ok(Action::requeue(later.map_or(next, |later| later.min(next))))
}

/// Does what was decided. A step that failed becomes what is in the way, so that the status says it.
async fn carry_out(decision: Decision, subject: &Subject, world: &World) -> (Decision, Option<Error>) {
    let Decision::Do(effect) = decision else {
        return (decision, None);
    };
    let work = apply::apply(effect, subject, world);
    let Err(error) = effect::carry_out(describe(&subject.cluster), effect, work).await else {
        return (decision, None);
    };
    transitions::failed(&world.context, &subject.cluster, effect.describe(), &error).await;
    let told = match Failure::of(effect.describe(), &error) {
        Some(failure) if failure.stalled => Decision::Stalled(failure.reason, failure.message),
        Some(failure) => Decision::Blocked(failure.reason, failure.message),
        None => decision,
    };
    (told, Some(error))
}

async fn leave(api: &Api<DevCluster>, subject: &Subject, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let seen = observe::leaving(subject, world).await?;
    let decision = cluster::leave(&seen);
    let message = match &decision {
        Decision::Do(cluster::Effect::RemoveFinalizer) => {
            if subject.cluster.spec.deletion_policy == DeletionPolicy::Retain {
                let note = "its virtual machines, volumes and network stay on the host and are no longer looked after; its Secrets stay too";
                context
                    .events
                    .publish(&subject.cluster, EventType::Normal, "Retained", "Delete", note)
                    .await;
            }
            let work = apply::apply(cluster::Effect::RemoveFinalizer, subject, world);
            effect::carry_out(describe(&subject.cluster), cluster::Effect::RemoveFinalizer, work).await?;
            return Ok(Action::await_change());
        }
        Decision::Do(effect) => effect.describe().to_owned(),
        Decision::Blocked(_, message) | Decision::Stalled(_, message) => message.clone(),
        Decision::Settled => "nothing is left to do".to_owned(),
    };
    let written = write_status(
        api,
        &subject.cluster,
        status::leaving(subject, &message, context.clock.now()),
    )
    .await?;
    if let Decision::Do(effect) = &decision {
        let work = apply::apply(*effect, subject, world);
        let result = effect::carry_out(describe(&subject.cluster), *effect, work).await;
        if let Err(error) = &result {
            transitions::failed(
                context,
                written.as_ref().unwrap_or(&subject.cluster),
                effect.describe(),
                error,
            )
            .await;
        }
        result?;
        return Ok(Action::requeue(again(*effect)));
    }
    Ok(Action::requeue(jittered(&*context.random, BLOCKED)))
}

/// How soon to look again after something was done.
fn again(effect: cluster::Effect) -> Duration {
    if effect.is_watched() { SOON } else { Duration::ZERO }
}
