//! One pass over an upgrade that was begun: look, decide, write down or do at most one thing to a machine.

use std::time::Duration;

use kube::Api;
use kube::runtime::controller::Action;
use seedbed_crds::reasons::Reason;
use seedbed_crds::{ClusterUpgrade, DevCluster, UpgradeStep};
use seedbed_planner::effect::Effect as _;
use seedbed_planner::upgrade::Effect;
use seedbed_planner::upgrade::saga::{self, Decision, News, Saga, Wait};

use super::journal::{self, Entry};
use super::recorded::{Journal, UnderWay};
use super::subject::{Reached, Subject, control_planes};
use super::{apply, checks, look, progress};
use crate::client::LATE;
use crate::context::jittered;
use crate::controllers::failure::Failure;
use crate::controllers::world::World;
use crate::controllers::{access, current, finalizer, machine, owned, transitions};
use crate::effect;
use crate::errors::Error;
use crate::events::EventType;
use crate::status::describe;

/// How soon to look again at guests that are at work.
const SOON: Duration = Duration::from_secs(1);
/// How soon to look again where something outside is waited for.
const LATER: Duration = Duration::from_secs(10);
/// For how long a node's pods may hold up its upgrade before a person is asked.
const DRAINED_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// Whether anything can be written down yet of an upgrade that came to its end.
#[derive(Debug, Clone, Copy)]
pub enum Settled {
    /// Nothing any more.
    Yes,
    /// Not once it has been at its end for long enough, which it is since then.
    Since(Duration),
}

/// One pass.
pub async fn on(upgrade: ClusterUpgrade, found: UnderWay, world: &World) -> Result<Action, Error> {
    let client = &world.context.client;
    let UnderWay { entry, journal } = found;
    let Some(cluster) = cluster(&upgrade, &entry, world).await? else {
        return abandon(upgrade, &entry, world).await;
    };
    let version = match journal {
        Journal::Theirs(other) => {
            let message = format!(
                "ClusterUpgrade {other} took the turn when this one's journal was deleted; it goes on after that one"
            );
            return say(
                &upgrade,
                &entry,
                Some(Wait::new(Reason::Queued, message)),
                LATER,
                world,
            )
            .await;
        }
        Journal::Missing => {
            let work = journal::take(client, &upgrade, &entry);
            effect::carry_out(describe(&upgrade), Effect::Begin, work).await?;
            return Ok(Action::requeue(Duration::ZERO));
        }
        Journal::Ours {
            version,
            is_latest: false,
        } => {
            journal::replace(client, &upgrade, &entry, version).await?;
            return Ok(Action::requeue(Duration::ZERO));
        }
        Journal::Ours { version, .. } => version,
    };
    if upgrade
        .status
        .as_ref()
        .is_none_or(|status| status.transitions != entry.transitions)
    {
        return say(&upgrade, &entry, None, Duration::ZERO, world).await;
    }
    let subject = match Subject::find(upgrade.clone(), entry.clone(), cluster, world).await? {
        Ok(subject) => subject,
        Err(why) => {
            let wait = Wait::new(Reason::HostUnreachable, why);
            return say(&upgrade, &entry, Some(wait), LATER, world).await;
        }
    };
    let saga = entry.saga();
    let (seen, reached) = look::look(&subject, &saga, world).await;
    match saga::advance(&saga, &seen, world.context.clock.now()) {
        Decision::Write(next) => {
            let entry = entry.with(&next);
            journal::replace(client, &upgrade, &entry, version).await?;
            let action = say(&upgrade, &entry, None, Duration::ZERO, world).await?;
            for news in saga::news(&saga, &next) {
                tell(&upgrade, &news, world).await;
            }
            Ok(action)
        }
        Decision::Do(effects) => carry_out(&subject, &saga, effects, reached, world).await,
        Decision::Wait(wait) => {
            let pause = if wait.reason == Reason::Upgrading || wait.reason == Reason::Undoing {
                SOON
            } else {
                LATER
            };
            say(&upgrade, &entry, Some(wait), pause, world).await
        }
        Decision::Ended(_) => say(&upgrade, &entry, None, Duration::ZERO, world).await,
    }
}

/// Its cluster; none where that is gone, or another one has its name.
async fn cluster(
    upgrade: &ClusterUpgrade,
    entry: &Entry,
    world: &World,
) -> Result<Option<DevCluster>, Error> {
    let (namespace, name) = (owned::namespace(upgrade), &upgrade.spec.cluster_ref.name);
    let is_it = |uid: Option<&String>, deleted: bool| uid == Some(&entry.cluster_uid) && !deleted;
    if let Some(cluster) = world.cluster(&namespace, name)
        && is_it(
            cluster.metadata.uid.as_ref(),
            cluster.metadata.deletion_timestamp.is_some(),
        )
    {
        return Ok(Some(cluster));
    }
    // The cache may lag.
    let found = world.present_cluster(&namespace, name).await?;
    if found.is_some_and(|found| is_it(found.uid.as_ref(), found.deletion_timestamp.is_some())) {
        let object = format!("DevCluster {namespace}/{name}");
        return Err(Error::Conflict { object });
    }
    Ok(None)
}

/// The cluster is gone, or goes, and with it all that could be upgraded or undone.
async fn abandon(upgrade: ClusterUpgrade, entry: &Entry, world: &World) -> Result<Action, Error> {
    if finalizer::is_set(&upgrade) {
        finish(&upgrade, world).await?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    let message = format!(
        "the DevCluster {} that it was begun on is deleted; delete this ClusterUpgrade too",
        upgrade.spec.cluster_ref.name
    );
    let wait = Wait {
        stalled: true,
        ..Wait::new(Reason::ClusterNotFound, message)
    };
    say(&upgrade, entry, Some(wait), super::LATER, world).await
}

/// One that came to its end gives its turn back, and lets the object go.
pub async fn ended(upgrade: ClusterUpgrade, entry: &Entry, world: &World) -> Result<Action, Error> {
    if finalizer::is_set(&upgrade) {
        remove_checks(&upgrade, entry, world).await?;
        finish(&upgrade, world).await?;
        return settle(&upgrade, world).await;
    }
    let context = &world.context;
    let api = Api::<ClusterUpgrade>::namespaced(context.client.clone(), &owned::namespace(&upgrade));
    let status = progress::status(&upgrade, entry, None, context.clock.now());
    transitions::save_paced(world, &api, &upgrade, status).await?;
    settle(&upgrade, world).await
}

/// A journal that was asked for while the upgrade was under way may be written when it has come to its end: it would hold the turn for
/// ever. Once none can be written any more, one that is there is given back.
async fn settle(upgrade: &ClusterUpgrade, world: &World) -> Result<Action, Error> {
    let (context, uid) = (&world.context, owned::uid(upgrade));
    let now = context.clock.elapsed();
    let since = match world.settled.get(&uid, now) {
        Some(Settled::Yes) => return Ok(Action::await_change()),
        Some(Settled::Since(since)) => since,
        None => {
            world.settled.put(&uid, Settled::Since(now), now);
            now
        }
    };
    let left = LATE.saturating_sub(now.saturating_sub(since));
    if !left.is_zero() {
        return Ok(Action::requeue(left));
    }
    if journal::is_of(&context.client, upgrade).await? {
        give_back(upgrade, world).await?;
    }
    merge_late(upgrade, world).await?;
    world.settled.put(&uid, Settled::Yes, now);
    Ok(Action::await_change())
}

/// A disk that was to be kept while the upgrade was under way may be kept when it has come to its end, by a call that hung: it would be so
/// for ever.
async fn merge_late(upgrade: &ClusterUpgrade, world: &World) -> Result<(), Error> {
    let (namespace, name) = (owned::namespace(upgrade), &upgrade.spec.cluster_ref.name);
    let Some(cluster) = world.cluster(&namespace, name) else {
        return Ok(());
    };
    let Some(host) = world.host(&cluster.spec.host_ref.name) else {
        return Ok(());
    };
    let hypervisor = world.context.hosts.hypervisor(&host);
    for machine in control_planes(&cluster, &world.machines_of_cluster(&cluster)) {
        let (domain, owner, _) = machine::guest(&machine, &cluster, hypervisor.clone(), &world.context);
        let found = hypervisor.domain(&domain).await?;
        if found.is_none_or(|found| found.kept != Some(true))
            || journal::has_turn(&world.context.client, &cluster).await?
        {
            continue;
        }
        let work = async {
            let merged = hypervisor.merge_disk(&domain, &owner).await;
            merged.map_err(Error::from)
        };
        let upgrade = describe(upgrade);
        let what = format!("DevMachine {} of {upgrade}", owned::name(&machine));
        effect::carry_out(what, Effect::MergeDisk, work).await?;
    }
    Ok(())
}

/// The Jobs of its checks go, where there are some and the cluster is there.
async fn remove_checks(upgrade: &ClusterUpgrade, entry: &Entry, world: &World) -> Result<(), Error> {
    if !entry.saga().has_begun_checks() {
        return Ok(());
    }
    let Some(cluster) = cluster(upgrade, entry, world).await? else {
        return Ok(());
    };
    let stored = world.allocations(&cluster).await?;
    let Some(child) = access::child(world, &cluster, stored.as_ref()).await? else {
        return Ok(());
    };
    let work = checks::remove(child.as_ref(), &entry.uid);
    let done = effect::carry_out(describe(upgrade), Effect::RemoveChecks, work).await;
    if let Err(error) = &done {
        transitions::failed(&world.context, upgrade, Effect::RemoveChecks.describe(), error).await;
    }
    done
}

async fn finish(upgrade: &ClusterUpgrade, world: &World) -> Result<(), Error> {
    give_back(upgrade, world).await?;
    let_go(upgrade, world).await
}

async fn give_back(upgrade: &ClusterUpgrade, world: &World) -> Result<(), Error> {
    let work = journal::give_back(&world.context.client, upgrade);
    effect::carry_out(describe(upgrade), Effect::Finish, work).await
}

/// Takes the finalizer off.
pub async fn let_go(upgrade: &ClusterUpgrade, world: &World) -> Result<(), Error> {
    let work = async {
        if upgrade.metadata.deletion_timestamp.is_some() {
            current::let_go(world, upgrade).await
        } else {
            finalizer::remove(&world.context.client, upgrade).await
        }
    };
    effect::carry_out(describe(upgrade), Effect::RemoveFinalizer, work).await
}

async fn carry_out(
    subject: &Subject,
    saga: &Saga,
    effects: Vec<(String, Effect)>,
    reached: Vec<Reached>,
    world: &World,
) -> Result<Action, Error> {
    let Some(step) = saga.current().and_then(|index| saga.steps.get(index)) else {
        return Ok(Action::requeue(LATER));
    };
    let (mut held_up, mut failed) = (None, None);
    for (name, effect) in effects {
        let upgrade = describe(&subject.upgrade);
        let done = if effect == Effect::StartCheck {
            let work = async { checks::start(subject, &name).await.map(|()| None) };
            effect::carry_out(format!("check {name} of {upgrade}"), effect, work).await
        } else {
            let Some(one) = reached.iter().find(|one| owned::name(&one.machine) == name) else {
                continue;
            };
            let work = apply::apply(effect, subject, saga, step, one, world);
            effect::carry_out(format!("DevMachine {name} of {upgrade}"), effect, work).await
        };
        match done {
            Ok(None) => {}
            Ok(Some(blocked)) => {
                held_up.get_or_insert(blocked_drain(&name, &blocked, step, world));
            }
            Err(error) => {
                let doing = format!("{name}: {}", effect.describe());
                transitions::failed(&world.context, &subject.upgrade, &doing, &error).await;
                if let Some(failure) = Failure::of(&doing, &error) {
                    held_up = Some(Wait {
                        stalled: failure.stalled,
                        ..Wait::new(failure.reason, failure.message)
                    });
                }
                failed = Some(error);
            }
        }
    }
    let pause = if held_up.is_some() { LATER } else { SOON };
    let said = say(&subject.upgrade, &subject.entry, held_up, pause, world).await?;
    match failed {
        Some(error) => Err(error),
        None => Ok(said),
    }
}

/// What holds up a drain, and for how long.
fn blocked_drain(machine: &str, blocked: &str, step: &UpgradeStep, world: &World) -> Wait {
    let since = step.started_at.as_ref().map(|at| at.0);
    let lasts = since.is_some_and(|at| world.context.clock.now().duration_since(at) >= DRAINED_WITHIN);
    let since = since
        .map(|at| at.strftime(" since %H:%M:%SZ").to_string())
        .unwrap_or_default();
    let message = format!("pods cannot leave {machine}, which is drained{since}: {blocked}");
    Wait {
        stalled: lasts,
        ..Wait::new(Reason::DrainBlocked, message)
    }
}

/// Tells as an event what happened. A failed event fails nothing.
async fn tell(upgrade: &ClusterUpgrade, news: &News, world: &World) {
    let type_ = if news.alarms {
        EventType::Warning
    } else {
        EventType::Normal
    };
    world
        .context
        .events
        .publish(upgrade, type_, news.reason.as_str(), "Upgrade", &news.message)
        .await;
}

/// Says what is so, and when to look again.
async fn say(
    upgrade: &ClusterUpgrade,
    entry: &Entry,
    wait: Option<Wait>,
    pause: Duration,
    world: &World,
) -> Result<Action, Error> {
    let context = &world.context;
    let api = Api::<ClusterUpgrade>::namespaced(context.client.clone(), &owned::namespace(upgrade));
    let status = progress::status(upgrade, entry, wait.as_ref(), context.clock.now());
    let later = transitions::save_paced(world, &api, upgrade, status).await?;
    let next = if pause > SOON {
        jittered(&*context.random, pause)
    } else {
        pause
    };
    Ok(Action::requeue(later.map_or(next, |later| later.min(next))))
}
