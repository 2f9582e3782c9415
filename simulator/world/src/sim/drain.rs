//! Rules about pods: a node goes when it is drained, or when the time for that is over; and pods go by eviction, which their budgets can
//! refuse.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::truth::{Objects, owner, path, uid};
use crate::step::Step;

/// How long a drain may take where no pool says so, in seconds.
const DEFAULT: i64 = 300;
/// How much an operator's time may be ahead of the API server's: times in the API are whole seconds.
const ROUNDING: SignedDuration = SignedDuration::from_secs(1);

/// How long the drain of that machine may take.
pub(crate) fn limit(seed: &Objects<'_>, machine: &Value) -> SignedDuration {
    let pool = owner(machine, "NodePool").and_then(|pool| seed.by_uid("NodePool", &pool));
    let seconds = pool.and_then(|pool| pool["spec"]["drainTimeoutSeconds"].as_i64());
    SignedDuration::from_secs(seconds.unwrap_or(DEFAULT))
}

/// Why the call does away with pods that are to be moved first. `limit` says how long the drain of a machine may take, where anybody can
/// tell.
pub(crate) fn undrained(
    step: &Step,
    seed: &Objects<'_>,
    child: &Objects<'_>,
    now: Timestamp,
    limit: impl Fn(&Value) -> Option<SignedDuration>,
) -> Option<String> {
    if step.verb != "DELETE" {
        return None;
    }
    if step.object.contains("/pods/") {
        return Some("a pod is deleted past its disruption budget".to_owned());
    }
    let node = step.object.strip_prefix("/api/v1/nodes/")?;
    let is_its = |machine: &&Value| path(machine, &["metadata", "name"]) == Some(node);
    let machine = seed.all("DevMachine").find(is_its)?;
    let began = path(machine, &["metadata", "deletionTimestamp"])?;
    let began: Timestamp = began.parse().ok()?;
    if now.duration_since(began) + ROUNDING >= limit(machine)? {
        return None;
    }
    let pod = child.of_plural("pods").find(|pod| has_to_move(pod, node))?;
    let name = path(pod, &["metadata", "name"]).unwrap_or_default();
    Some(format!(
        "node {node} of machine {} is removed with pod {name} on it",
        uid(machine)
    ))
}

fn has_to_move(pod: &Value, node: &str) -> bool {
    let is_mirror = !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null();
    path(pod, &["spec", "nodeName"]) == Some(node) && !is_mirror
}
