//! Writes statuses, and tells as events what changed in their conditions.

use std::fmt::Debug;
use std::time::Duration;

use kube::core::object::HasStatus;
use kube::{Api, Resource};
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{
    ClusterUpgrade, Condition, DevCluster, DevMachine, HypervisorHost, KubernetesRelease, NodePool,
};
use seedbed_planner::conditions::is_summary;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::current::{lost, wrote};
use super::world::World;
use crate::context::Context;
use crate::errors::Error;
use crate::events::EventType;
use crate::status::write_status;

/// Conditions whose changes follow from another condition's, which is told already.
const DERIVED: [&str; 3] = [
    condition::PROGRESSING,
    condition::STALLED,
    condition::VERSION_DRIFT,
];

/// An object whose status has conditions.
pub trait Conditioned {
    /// Its conditions; none where it has no status yet.
    fn conditions(&self) -> &[Condition];
}

macro_rules! conditioned {
    ($($kind:ty),+) => {
        $(impl Conditioned for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default()
            }
        })+
    };
}

conditioned!(
    ClusterUpgrade,
    DevCluster,
    NodePool,
    DevMachine,
    HypervisorHost,
    KubernetesRelease
);

/// How long after a write of an object's status the next one waits, where nobody relies on it.
pub const PAUSE: Duration = Duration::from_secs(3);

/// An object whose status changes many times on its way.
pub trait Paced: Conditioned + HasStatus {
    /// Whether the new status holds something that what follows relies on, which is written at once.
    fn is_pressing(old: &Self::Status, new: &Self::Status) -> bool;
}

impl Paced for DevCluster {
    fn is_pressing(old: &Self::Status, new: &Self::Status) -> bool {
        old.initialized != new.initialized || of_summary(&old.conditions) != of_summary(&new.conditions)
    }
}

impl Paced for NodePool {
    fn is_pressing(old: &Self::Status, new: &Self::Status) -> bool {
        of_summary(&old.conditions) != of_summary(&new.conditions)
    }
}

impl Paced for ClusterUpgrade {
    fn is_pressing(old: &Self::Status, new: &Self::Status) -> bool {
        old.transitions != new.transitions || of_summary(&old.conditions) != of_summary(&new.conditions)
    }
}

impl Paced for DevMachine {
    fn is_pressing(old: &Self::Status, new: &Self::Status) -> bool {
        old.bootstrap != new.bootstrap
            || old.drain_started_at != new.drain_started_at
            || of_summary(&old.conditions) != of_summary(&new.conditions)
    }
}

/// What the summary says, and of which generation; and whether a person is asked for.
fn of_summary(conditions: &[Condition]) -> Vec<(&str, &str, Option<i64>)> {
    conditions
        .iter()
        .filter(|c| is_summary(&c.type_) || c.type_ == condition::STALLED)
        .map(|c| (c.type_.as_str(), c.status.as_str(), c.observed_generation))
        .collect()
}

/// Writes the status where it changed, as [`save`] does; but no sooner than [`PAUSE`] after the last time, unless something relies
/// on it: how far something is changes several times a second where machines are fast, and nobody can read that. After which time
/// another pass has to write what was left for now.
pub async fn save_paced<K>(
    world: &World,
    api: &Api<K>,
    object: &K,
    status: K::Status,
) -> Result<Option<Duration>, Error>
where
    K: Paced + Resource<DynamicType = ()> + HasStatus + Clone + Debug + Serialize + DeserializeOwned,
    K::Status: PartialEq,
{
    let (uid, now) = (
        object.meta().uid.clone().unwrap_or_default(),
        world.context.clock.elapsed(),
    );
    let changed = object.status() != Some(&status);
    if changed
        && let Some(old) = object.status()
        && let Some(last) = world.written.get(&uid, now)
        && !K::is_pressing(old, &status)
    {
        return Ok(Some(PAUSE.saturating_sub(now.saturating_sub(last))));
    }
    let written = match save(&world.context, api, object, status).await {
        Ok(written) => written,
        Err(error) => {
            if error.is_conflict() {
                lost(world, object);
            }
            return Err(error);
        }
    };
    if let Some(written) = &written {
        wrote(world, written);
        world.written.put(&uid, now, now);
    }
    Ok(None)
}

/// Writes the status where it changed and publishes what changed in its conditions; the object as it was stored, if it was.
pub async fn save<K>(
    context: &Context,
    api: &Api<K>,
    object: &K,
    status: K::Status,
) -> Result<Option<K>, Error>
where
    K: Conditioned + Resource<DynamicType = ()> + HasStatus + Clone + Debug + Serialize + DeserializeOwned,
    K::Status: PartialEq,
{
    let written = write_status(api, object, status).await?;
    if let Some(written) = &written {
        for news in news(object.conditions(), written.conditions()) {
            let note = if news.message.is_empty() {
                format!("{} is {}", news.type_, news.status)
            } else {
                format!("{} is {}: {}", news.type_, news.status, news.message)
            };
            // A failed event fails nothing.
            context
                .events
                .publish(written, event_type(news), &news.reason, &news.type_, &note)
                .await;
        }
    }
    Ok(written)
}

/// What of the conditions is told as events: that one has another status than before, and every reason that asks for attention. What
/// holds when an object is first seen is no news; and where all is well, that is said once.
fn news<'a>(old: &[Condition], new: &'a [Condition]) -> Vec<&'a Condition> {
    let before = |c: &Condition| old.iter().find(|b| b.type_ == c.type_);
    let summary = new.iter().find(|c| is_summary(&c.type_));
    let all_is_well = summary.filter(|s| s.status == "True" && before(s).is_some_and(|b| b.status != "True"));
    if let Some(summary) = all_is_well {
        return vec![summary];
    }
    let is_news = |c: &&Condition| {
        if DERIVED.contains(&c.type_.as_str()) {
            return false;
        }
        let before = before(c);
        // A node that is new is not Ready either.
        let is_new = c.reason == Reason::NodeNotReady.as_str() && before.is_none_or(|b| b.status == "False");
        let alarms = event_type(c) == EventType::Warning
            && !is_new
            && before.is_none_or(|b| b.status != c.status || b.reason != c.reason);
        let changed = before.is_some_and(|b| b.status != c.status);
        // What the summary says with the same reason is not said twice.
        let said =
            !is_summary(&c.type_) && summary.is_some_and(|s| s.reason == c.reason && s.status == c.status);
        (alarms || changed) && !said
    };
    new.iter().filter(is_news).collect()
}

/// Publishes that a step failed.
pub async fn failed<K>(context: &Context, object: &K, action: &str, error: &Error)
where
    K: Resource<DynamicType = ()> + Debug,
{
    if error.is_conflict() {
        return;
    }
    context
        .events
        .publish(
            object,
            EventType::Warning,
            "StepFailed",
            "Reconcile",
            &format!("{action}: {error}"),
        )
        .await;
}

/// What asks for a person's attention is a warning.
fn event_type(condition: &Condition) -> EventType {
    let alarming = [
        Reason::BootstrapFailed,
        Reason::BootstrapGaveUp,
        Reason::ChildUnreachable,
        Reason::CIDRInUse,
        Reason::HostNotFound,
        Reason::HostRefused,
        Reason::HostUnreachable,
        Reason::InsufficientCapacity,
        Reason::InvalidPatch,
        Reason::InvalidSpec,
        Reason::NameConflict,
        Reason::NodeNotReady,
        Reason::NotRunning,
        Reason::PreflightFailed,
        Reason::ReleaseBroken,
        Reason::ReleaseNotFound,
        Reason::StoragePoolUnusable,
    ];
    if condition.status != "True" && alarming.iter().any(|r| r.as_str() == condition.reason) {
        EventType::Warning
    } else {
        EventType::Normal
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn of(type_: &str, status: &str, reason: Reason) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: String::new(),
            observed_generation: Some(1),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    fn told(old: &[Condition], new: &[Condition]) -> Vec<String> {
        news(old, new).into_iter().map(|c| c.type_.clone()).collect()
    }

    #[test]
    fn a_status_that_changed_is_news_and_a_reason_only_where_it_alarms() {
        let booting = [
            of("Ready", "False", Reason::WaitingForGuest),
            of("InfrastructureReady", "False", Reason::Provisioning),
        ];
        let running = [
            of("Ready", "False", Reason::Bootstrapping),
            of("InfrastructureReady", "True", Reason::Running),
        ];
        assert_eq!(told(&booting, &running), ["InfrastructureReady"]);
        assert!(
            told(&[], &running).is_empty(),
            "what is so at the first sight is no news"
        );
        let lost = [
            of("Ready", "Unknown", Reason::HostUnreachable),
            running[1].clone(),
        ];
        assert_eq!(told(&running, &lost), ["Ready"]);
        assert!(told(&lost, &lost).is_empty());
        let refused = [of("Ready", "Unknown", Reason::HostRefused), running[1].clone()];
        assert_eq!(told(&lost, &refused), ["Ready"], "another reason that alarms");
        assert_eq!(told(&[], &refused), ["Ready"], "also at the first sight");
    }

    #[test]
    fn a_node_that_is_not_ready_alarms_only_where_it_was() {
        let joined = [of("Ready", "False", Reason::Bootstrapping)];
        let new = [of("Ready", "False", Reason::NodeNotReady)];
        assert!(told(&joined, &new).is_empty());
        let ready = [of("Ready", "True", Reason::AsAsked)];
        assert_eq!(told(&ready, &new), ["Ready"]);
    }

    #[test]
    fn that_all_is_well_is_said_once() {
        let before = [
            of("Ready", "False", Reason::NodeNotReady),
            of("NodeReady", "False", Reason::NodeNotReady),
        ];
        let after = [
            of("Ready", "True", Reason::AsAsked),
            of("NodeReady", "True", Reason::AsAsked),
        ];
        assert_eq!(told(&before, &after), ["Ready"]);
    }
}
