//! Tells what changed as events: one for each condition whose status or reason is another than before.

use std::fmt::Debug;

use kube::Resource;
use seedbed_crds::Condition;
use seedbed_crds::reasons::condition;

use crate::context::Context;
use crate::errors::Error;
use crate::events::EventType;

/// Conditions whose changes follow from another condition's, which is told already.
const DERIVED: [&str; 2] = [condition::PROGRESSING, condition::STALLED];

/// Publishes an event for each condition that changed. A failed event fails nothing.
pub async fn publish<K>(context: &Context, object: &K, old: &[Condition], new: &[Condition])
where
    K: Resource<DynamicType = ()> + Debug,
{
    for condition in new.iter().filter(|c| !DERIVED.contains(&c.type_.as_str())) {
        let before = old.iter().find(|c| c.type_ == condition.type_);
        let changed = before.is_none_or(|b| b.status != condition.status || b.reason != condition.reason);
        // What is not so yet when an object is first seen is no news.
        let news = before.is_some() || condition.status == "True";
        if !changed || !news {
            continue;
        }
        let note = if condition.message.is_empty() {
            format!("{} is {}", condition.type_, condition.status)
        } else {
            format!(
                "{} is {}: {}",
                condition.type_, condition.status, condition.message
            )
        };
        context
            .events
            .publish(
                object,
                event_type(condition),
                &condition.reason,
                &condition.type_,
                &note,
            )
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
