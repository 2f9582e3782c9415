//! Tells what changed as events: one for each condition whose status or reason is another than before.

use std::fmt::Debug;

use kube::core::object::HasStatus;
use kube::{Api, Resource};
use seedbed_crds::reasons::condition;
use seedbed_crds::{Condition, DevCluster, DevMachine, HypervisorHost, KubernetesRelease, NodePool};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::errors::Error;
use crate::events::EventType;
use crate::status::write_status;

/// Conditions whose changes follow from another condition's, which is told already.
const DERIVED: [&str; 2] = [condition::PROGRESSING, condition::STALLED];

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
    DevCluster,
    NodePool,
    DevMachine,
    HypervisorHost,
    KubernetesRelease
);

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
        publish(context, written, object.conditions(), written.conditions()).await;
    }
    Ok(written)
}

/// Publishes an event for each condition that changed. A failed event fails nothing.
async fn publish<K>(context: &Context, object: &K, old: &[Condition], new: &[Condition])
where
    K: Resource<DynamicType = ()> + Debug,
{
    for found in new.iter().filter(|c| !DERIVED.contains(&c.type_.as_str())) {
        let before = old.iter().find(|c| c.type_ == found.type_);
        let changed = before.is_none_or(|b| b.status != found.status || b.reason != found.reason);
        // What is not so yet when an object is first seen is no news, nor is what `Ready` says with the same reason.
        let news = before.is_some() || found.status == "True";
        let said = found.type_ != condition::READY
            && new
                .iter()
                .any(|c| c.type_ == condition::READY && c.reason == found.reason && c.status == found.status);
        if !changed || !news || said {
            continue;
        }
        let note = if found.message.is_empty() {
            format!("{} is {}", found.type_, found.status)
        } else {
            format!("{} is {}: {}", found.type_, found.status, found.message)
        };
        context
            .events
            .publish(object, event_type(found), &found.reason, &found.type_, &note)
            .await;
    }
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
    use seedbed_crds::reasons::Reason;
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
