//! `ClusterUpgrade`: what an upgrade would do and what is in its way; and, unless that is all that is asked for, the upgrade itself.

mod apply;
mod carry;
mod checks;
mod facts;
mod guests;
mod journal;
mod look;
mod lost;
mod observe;
mod progress;
mod recorded;
mod status;
mod subject;

use std::time::Duration;

use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{ClusterUpgrade, Condition, DevCluster, KubernetesRelease, NodePool};
use seedbed_planner::conditions::Summary;
use seedbed_planner::upgrade::saga::Saga;
use seedbed_planner::upgrade::{Effect, verdict};

use super::world::World;
use super::{finalizer, owned, transitions};
use crate::context::jittered;
use crate::effect;
use crate::errors::Error;
use crate::status::describe;
pub use carry::Settled;
pub use guests::KEPT as GUESTS_KEPT;
pub use journal::has_turn;
use journal::{Entry, Turn};
use lost::Lost;
use observe::{Checked, Outlook};
use recorded::{Recorded, recorded};
pub use recorded::{begun_on, ended_at, generation, is_under_way, progress_of};

/// How soon to look again where nothing is told: most of what a preflight finds is in the child cluster, and is not watched there.
const LATER: Duration = Duration::from_mins(5);
/// How soon to look again at a cluster whose API nobody has looked at yet: what is well would be told as unknown for a moment.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How soon to look again whose turn it is, at what could not be seen, or at what the preflight refused, where an upgrade is to begin: a pod
/// that is not Ready right after an undo, or what somebody mends now.
const WAITING: Duration = Duration::from_secs(30);
/// For how long it is kept that a job ended well.
pub const JOBS_KEPT: Duration = Duration::from_hours(2);
/// For how long it is kept that an upgrade came to its end.
pub const SETTLED_KEPT: Duration = Duration::from_hours(24);
/// How often the requests that an API server has answered are counted while it is watched: an emulated one takes tens of seconds for that.
pub const COUNTED_EVERY: Duration = Duration::from_secs(30);
/// How often what a check asks for is asked at most.
pub const PROBED_EVERY: Duration = Duration::from_secs(8);

/// One pass over an upgrade.
pub async fn reconcile(cached: &ClusterUpgrade, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let api = Api::<ClusterUpgrade>::namespaced(context.client.clone(), &owned::namespace(cached));
    let found = api
        .get_opt(&cached.name_any())
        .await
        .map_err(|e| Error::api(describe(cached), e))?;
    let Some(upgrade) = found.filter(|found| found.uid() == cached.uid()) else {
        return Ok(Action::await_change());
    };
    let leaving = upgrade.metadata.deletion_timestamp.is_some();
    if leaving && !finalizer::is_set(&upgrade) {
        return Ok(Action::await_change());
    }
    if upgrade.spec.dry_run {
        return plan(upgrade, Turn::Free, world).await;
    }
    match recorded(&upgrade, world).await? {
        Recorded::Ended(entry) => carry::ended(upgrade, &entry, world).await,
        Recorded::UnderWay(found) => Box::pin(carry::on(upgrade, found, world)).await,
        Recorded::Nothing(turn) => Box::pin(not_recorded(upgrade, turn, world)).await,
    }
}

/// One that was not begun; or it was, and nothing that was written down of it is left.
async fn not_recorded(upgrade: ClusterUpgrade, turn: Turn, world: &World) -> Result<Action, Error> {
    let leaving = upgrade.metadata.deletion_timestamp.is_some();
    // A status that holds a plan was not lost: the operator was stopped in the middle of beginning.
    let is_planned = upgrade
        .status
        .as_ref()
        .is_some_and(|status| !status.steps.is_empty());
    if finalizer::is_set(&upgrade) && !is_planned && matches!(turn, Turn::Free) {
        match lost::find(&upgrade, world).await? {
            Lost::UnderWay(entry) => {
                begin(&upgrade, &entry, world).await?;
                return Ok(Action::requeue(Duration::ZERO));
            }
            Lost::Unknown(why) => {
                let api = Api::<ClusterUpgrade>::namespaced(
                    world.context.client.clone(),
                    &owned::namespace(&upgrade),
                );
                let summary = Summary::Unknown(Reason::ChildUnreachable, why);
                let now = world.context.clock.now();
                let status = status::build(&upgrade, Outlook::NotNow(summary.clone()), &summary, None, now);
                let later = transitions::save_paced(world, &api, &upgrade, status).await?;
                let next = jittered(&*world.context.random, WAITING);
                return Ok(Action::requeue(later.map_or(next, |later| later.min(next))));
            }
            Lost::Nothing => {}
        }
    }
    if leaving {
        carry::let_go(&upgrade, world).await?;
        return Ok(Action::await_change());
    }
    plan(upgrade, turn, world).await
}

/// Looks, plans, checks, says what is so; and begins the upgrade, where that is asked for and nothing is in its way.
async fn plan(upgrade: ClusterUpgrade, turn: Turn, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let Some(outlook) = observe::outlook(&upgrade, world).await? else {
        return Ok(Action::requeue(FIRST_LOOK));
    };
    let now = context.clock.now();
    let api = Api::<ClusterUpgrade>::namespaced(context.client.clone(), &owned::namespace(&upgrade));
    let verdict = verdict(&upgrade, &outlook, &turn);
    let entry = match (&verdict, &outlook) {
        (Verdict::Begin, Outlook::Checked(checked)) => entry(&upgrade, checked, now, world),
        _ => None,
    };
    let said = match &verdict {
        Verdict::Runs(message) => Some(message.as_str()),
        _ => None,
    };
    let status = status::build(&upgrade, outlook, &verdict.summary(), said, now);
    let is_said = upgrade.status.as_ref() == Some(&status);
    let later = transitions::save_paced(world, &api, &upgrade, status).await?;
    let Some(entry) = entry else {
        if is_said && finalizer::is_set(&upgrade) {
            // It was begun once, and nothing is recorded of that any more: there is nothing to keep it for.
            carry::let_go(&upgrade, world).await?;
        }
        let next = match verdict {
            _ if upgrade.spec.dry_run => LATER,
            Verdict::Said(
                Summary::Progressing(Reason::Queued, _)
                | Summary::Unknown(..)
                | Summary::Stalled(Reason::PreflightFailed, _),
            ) => WAITING,
            _ => LATER,
        };
        let next = jittered(&*context.random, next);
        return Ok(Action::requeue(later.map_or(next, |later| later.min(next))));
    };
    if is_said {
        begin(&upgrade, &entry, world).await?;
    }
    Ok(Action::requeue(later.unwrap_or(Duration::ZERO)))
}

/// What comes of a plan.
enum Verdict {
    /// The upgrade is begun.
    Begin,
    /// There is nothing to do: what is said.
    Runs(String),
    /// It is not, or not asked for: what is said.
    Said(Summary),
}

impl Verdict {
    fn summary(&self) -> Summary {
        match self {
            Self::Begin => Summary::Progressing(Reason::Upgrading, "the preflight passed".to_owned()),
            Self::Runs(_) => Summary::Ready,
            Self::Said(summary) => summary.clone(),
        }
    }
}

fn verdict(upgrade: &ClusterUpgrade, outlook: &Outlook, turn: &Turn) -> Verdict {
    let checked = match outlook {
        Outlook::NotNow(summary) => return Verdict::Said(summary.clone()),
        Outlook::Checked(checked) => checked,
    };
    if !upgrade.spec.dry_run && checked.runs {
        return Verdict::Runs(format!("the cluster runs {}", checked.to));
    }
    if upgrade.spec.cancel {
        let message = "spec.cancel is true; nothing was begun".to_owned();
        return Verdict::Said(Summary::Degraded(Reason::Cancelled, message));
    }
    let summary = verdict::summary(&checked.findings);
    if upgrade.spec.dry_run || summary != Summary::Ready {
        return Verdict::Said(summary);
    }
    match turn {
        Turn::Free => Verdict::Begin,
        Turn::Of(other, _) => {
            let message = format!("ClusterUpgrade {} of this cluster is under way", other.name);
            Verdict::Said(Summary::Progressing(Reason::Queued, message))
        }
    }
}

/// What is written down at first.
fn entry(upgrade: &ClusterUpgrade, checked: &Checked, now: jiff::Timestamp, world: &World) -> Option<Entry> {
    let (plan, from) = (checked.plan.as_ref()?, checked.from?);
    let cluster_uid = world.cluster_uid(&owned::namespace(upgrade), &upgrade.spec.cluster_ref.name)?;
    let saga = Saga::begun(owned::uid(upgrade), plan.steps.clone(), now);
    Some(Entry::new(upgrade, cluster_uid, (from, checked.to), saga))
}

async fn begin(upgrade: &ClusterUpgrade, entry: &Entry, world: &World) -> Result<(), Error> {
    let client = &world.context.client;
    let work = async {
        if !finalizer::is_set(upgrade) {
            finalizer::add(client, upgrade).await?;
        }
        journal::take(client, upgrade, entry).await
    };
    effect::carry_out(describe(upgrade), Effect::Begin, work).await
}

/// What of a cluster matters to its upgrades.
pub fn what_matters_of_cluster(cluster: &DevCluster) -> impl PartialEq + Send + use<> {
    let status = cluster.status.as_ref();
    (
        (cluster.uid(), cluster.metadata.generation),
        cluster.metadata.deletion_timestamp.clone(),
        status.map(|s| (s.observed_generation, s.initialized, s.version.clone())),
        status.and_then(|s| said(&s.conditions, condition::READY)),
    )
}

/// What of a pool matters to its cluster's upgrades.
pub fn what_matters_of_pool(pool: &NodePool) -> impl PartialEq + Send + use<> {
    let status = pool.status.as_ref();
    (
        (pool.uid(), pool.metadata.generation),
        pool.metadata.deletion_timestamp.clone(),
        status.and_then(|s| s.observed_generation),
        status.and_then(|s| said(&s.conditions, condition::PROGRESSING)),
    )
}

/// What of a release matters to upgrades to it.
pub fn what_matters_of_release(release: &KubernetesRelease) -> impl PartialEq + Send + use<> {
    let status = release.status.as_ref();
    (
        (release.uid(), release.metadata.generation),
        status.map(|s| s.hosts.clone()),
    )
}

/// What of an upgrade matters to its cluster and its pools.
pub fn what_matters_of_upgrade(upgrade: &ClusterUpgrade) -> impl PartialEq + Send + use<> {
    (upgrade.uid(), progress_of(upgrade))
}

fn said(conditions: &[Condition], type_: &str) -> Option<(String, String, String)> {
    let found = observe::of_type(conditions, type_)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}
