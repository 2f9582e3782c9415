//! The watches of a child cluster, and what they saw last.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, PodTemplateSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use seedbed_planner::Observed;
use tokio::sync::Notify;

use super::{ChildKey, ChildView, ObjectName};
use crate::context::Clock;
use crate::errors::api_message;
use crate::triggers::Triggers;

/// How long an outage may be before what was seen is not relied on any more.
const GRACE: Duration = Duration::from_secs(30);
/// Between two looks whether a child that answers still does. A machine without power is noticed earlier by its connection.
const PROBE_PERIOD: Duration = Duration::from_mins(1);
/// Between two looks whether a child that does not answer does now: how late its first answer may be noticed.
const RETRY_PERIOD: Duration = Duration::from_secs(1);
/// Before a watch that failed is begun anew.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Something that was seen, and for how long it could not be seen since.
#[derive(Debug)]
struct Part<T> {
    /// Whether anything came of looking yet.
    looked: bool,
    value: Observed<T>,
    trouble: Option<(Timestamp, String)>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self {
            looked: false,
            value: Observed::Unknown("not listed yet".to_owned()),
            trouble: None,
        }
    }
}

impl<T: PartialEq> Part<T> {
    /// It was seen; whether it is another value than before.
    fn see(&mut self, value: T) -> bool {
        self.looked = true;
        self.trouble = None;
        let changed = self.value.known() != Some(&value);
        self.value = Observed::Known(value);
        changed
    }

    /// It could not be seen. The first reason of an outage is kept, so that it does not look new at each attempt.
    fn miss(&mut self, now: Timestamp, why: String) {
        self.looked = true;
        self.trouble.get_or_insert((now, why));
    }

    /// Turns what was seen into unknown once the outage is no short one; whether that changed something. What was never seen
    /// needs no patience.
    fn settle(&mut self, now: Timestamp) -> bool {
        let Some((since, why)) = &self.trouble else {
            return false;
        };
        let short = now.duration_since(*since).unsigned_abs() < GRACE;
        if short && self.value.known().is_some() {
            return false;
        }
        let told = format!("not seen since {}: {why}", since.strftime("%Y-%m-%dT%H:%M:%SZ"));
        let changed = !matches!(&self.value, Observed::Unknown(before) if *before == told);
        self.value = Observed::Unknown(told);
        changed
    }

    /// It is unknown, for that reason; whether that is new.
    fn lose(&mut self, why: &str) -> bool {
        self.trouble = None;
        let changed = !matches!(&self.value, Observed::Unknown(before) if before == why);
        self.value = Observed::Unknown(why.to_owned());
        changed
    }
}

/// What the watches of a child saw last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Behind a pointer each: a map has room for eleven values at once, and most clusters have fewer nodes.
    nodes: Part<BTreeMap<String, Arc<Node>>>,
    coredns: Part<Option<Deployment>>,
    network_policies: Part<BTreeSet<ObjectName>>,
    api_version: Part<String>,
}

impl Seen {
    pub(super) fn view(&self) -> ChildView {
        ChildView {
            nodes: self
                .nodes
                .value
                .clone()
                .map(|nodes| nodes.into_values().collect()),
            coredns: self.coredns.value.clone(),
            network_policies: self
                .network_policies
                .value
                .clone()
                .map(|names| names.into_iter().collect()),
            api_version: self.api_version.value.clone(),
        }
    }

    /// Whether the child answered and everything was listed, or one of both failed.
    pub(super) fn has_looked(&self) -> bool {
        let all_listed = self.nodes.looked && self.coredns.looked && self.network_policies.looked;
        self.api_version.looked && (self.api_version.value.known().is_none() || all_listed)
    }

    /// What came of looking at a child that did not answer does not count any more.
    pub(super) fn look_again(&mut self) {
        self.api_version.looked &= self.api_version.value.known().is_some();
    }

    pub(super) fn node(&self, name: &str) -> Observed<Option<Node>> {
        match &self.nodes.value {
            Observed::Known(nodes) => Observed::Known(nodes.get(name).map(|node| Node::clone(node))),
            Observed::Unknown(why) => Observed::Unknown(why.clone()),
        }
    }

    fn settle(&mut self, now: Timestamp) -> bool {
        // Each one has to be asked: `||` would stop at the first that changed.
        let mut changed = [
            self.nodes.settle(now),
            self.coredns.settle(now),
            self.network_policies.settle(now),
            self.api_version.settle(now),
        ];
        // A child that as a whole is out of reach tells nothing of its parts either.
        if let (Observed::Unknown(why), Some(_)) = (&self.api_version.value, &self.api_version.trouble) {
            changed[0] |= self.nodes.lose(why);
            changed[1] |= self.coredns.lose(why);
            changed[2] |= self.network_policies.lose(why);
        }
        changed.contains(&true)
    }
}

/// What came of looking whether a child answers.
struct Probe {
    reached: bool,
    /// Whether what the watches saw before still counts. Where it does not, all of them have to list anew: one that outlasted the outage
    /// would be silent until something changes.
    kept: bool,
}

/// Watches one child.
pub(super) struct Watching {
    pub(super) key: ChildKey,
    pub(super) client: Client,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) again: Arc<Notify>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) triggers: Triggers<ChildKey>,
}

impl Watching {
    /// Looks until it answers, then watches until it was out of reach for a while, and so on for ever. A server that is there and
    /// stands still keeps its connections: only the looks find out about it.
    pub(super) async fn run(self) {
        loop {
            self.until_reached().await;
            tokio::select! {
                () = self.until_lost() => {}
                () = self.watch_nodes() => {}
                () = self.watch_coredns() => {}
                () = self.watch_network_policies() => {}
            }
        }
    }

    async fn until_reached(&self) {
        while !self.probe().await.reached {
            let pause = self.clock.sleep(RETRY_PERIOD);
            futures::future::select(pause, pin!(self.again.notified())).await;
        }
    }

    async fn until_lost(&self) {
        loop {
            self.clock.sleep(PROBE_PERIOD).await;
            loop {
                let probe = self.probe().await;
                if !probe.kept {
                    return;
                }
                if probe.reached {
                    break;
                }
                self.clock.sleep(RETRY_PERIOD).await;
            }
        }
    }

    /// Looks whether the child answers now.
    async fn probe(&self) -> Probe {
        let result = self.client.apiserver_version().await;
        let now = self.clock.now();
        let reached = result.is_ok();
        let (changed, kept) = {
            let mut seen = self.lock();
            let was_known = seen.api_version.value.known().is_some();
            let changed = match result {
                Ok(info) => seen.api_version.see(info.git_version),
                Err(error) => {
                    seen.api_version.miss(now, api_message(&error));
                    false
                }
            };
            let changed = seen.settle(now) || changed;
            (changed, was_known && seen.api_version.value.known().is_some())
        };
        self.trigger_if(changed);
        Probe { reached, kept }
    }

    async fn watch_nodes(&self) {
        let api = Api::<Node>::all(self.client.clone());
        let mut listed = BTreeMap::new();
        self.follow(
            || watcher::watcher(api.clone(), watcher::Config::default()),
            |seen, event| match event {
                Event::Init => {
                    listed.clear();
                    false
                }
                Event::InitApply(node) => {
                    listed.insert(node.name_any(), Arc::new(what_matters_of_node(node)));
                    false
                }
                Event::InitDone => seen.nodes.see(std::mem::take(&mut listed)),
                Event::Apply(node) => edit(&mut seen.nodes, |nodes| {
                    nodes.insert(node.name_any(), Arc::new(what_matters_of_node(node)))
                }),
                Event::Delete(node) => edit(&mut seen.nodes, |nodes| nodes.remove(&node.name_any())),
            },
            |seen, now, why| seen.nodes.miss(now, why),
        )
        .await;
    }

    async fn watch_coredns(&self) {
        let api = Api::<Deployment>::namespaced(self.client.clone(), "kube-system");
        let mut listed = None;
        self.follow(
            || {
                watcher::watcher(
                    api.clone(),
                    watcher::Config::default().fields("metadata.name=coredns"),
                )
            },
            |seen, event| match event {
                Event::Init => {
                    listed = None;
                    false
                }
                Event::InitApply(deployment) => {
                    listed = Some(what_matters_of_deployment(deployment));
                    false
                }
                Event::InitDone => seen.coredns.see(listed.take()),
                Event::Apply(deployment) => seen.coredns.see(Some(what_matters_of_deployment(deployment))),
                Event::Delete(_) => seen.coredns.see(None),
            },
            |seen, now, why| seen.coredns.miss(now, why),
        )
        .await;
    }

    async fn watch_network_policies(&self) {
        let api = Api::<PartialObjectMeta<NetworkPolicy>>::all(self.client.clone());
        let mut listed = BTreeSet::new();
        self.follow(
            || watcher::watcher(api.clone(), watcher::Config::default()),
            |seen, event| match event {
                Event::Init => {
                    listed.clear();
                    false
                }
                Event::InitApply(policy) => {
                    listed.insert(name_of(&policy));
                    false
                }
                Event::InitDone => seen.network_policies.see(std::mem::take(&mut listed)),
                Event::Apply(policy) => {
                    edit(&mut seen.network_policies, |names| names.insert(name_of(&policy)))
                }
                Event::Delete(policy) => edit(&mut seen.network_policies, |names| {
                    names.remove(&name_of(&policy))
                }),
            },
            |seen, now, why| seen.network_policies.miss(now, why),
        )
        .await;
    }

    /// Follows a watch for ever. One that failed is begun anew with a list: one that was only resumed would be silent until
    /// something changes, and nobody would know that it is well again.
    async fn follow<K, S>(
        &self,
        begin: impl Fn() -> S,
        mut apply: impl FnMut(&mut Seen, Event<K>) -> bool,
        miss: impl Fn(&mut Seen, Timestamp, String),
    ) where
        S: futures::Stream<Item = watcher::Result<Event<K>>>,
    {
        loop {
            let mut events = Box::pin(begin().fuse());
            let why = loop {
                match events.try_next().await {
                    Ok(Some(event)) => {
                        let changed = apply(&mut self.lock(), event);
                        self.trigger_if(changed);
                    }
                    Ok(None) => break "the watch ended".to_owned(),
                    Err(error) => break watch_message(&error),
                }
            };
            tracing::debug!(cluster = %self.key, "watch of the child failed: {why}");
            let now = self.clock.now();
            let changed = {
                let mut seen = self.lock();
                miss(&mut seen, now, why);
                seen.settle(now)
            };
            self.trigger_if(changed);
            self.clock.sleep(WATCH_PAUSE).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trigger_if(&self, changed: bool) {
        if changed {
            self.triggers.send(self.key.clone());
        }
    }
}

/// Edits a collection that was listed; whether that changed something. An event before the list is none of ours to judge.
fn edit<T: Clone + PartialEq, R>(part: &mut Part<T>, change: impl FnOnce(&mut T) -> R) -> bool {
    let Some(mut value) = part.value.known().cloned() else {
        return false;
    };
    change(&mut value);
    part.see(value)
}

fn name_of(policy: &PartialObjectMeta<NetworkPolicy>) -> ObjectName {
    ObjectName {
        namespace: policy.namespace().unwrap_or_default(),
        name: policy.name_any(),
    }
}

fn watch_message(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => api_message(error),
        WatchError(status) => format!("the API server answered {}: {}", status.code, status.message),
        NoResourceVersion => error.to_string(),
    }
}

/// A node without what changes at each heartbeat and without what nobody here reads.
fn what_matters_of_node(mut node: Node) -> Node {
    node.metadata.managed_fields = None;
    node.metadata.resource_version = None;
    if let Some(status) = &mut node.status {
        status.images = None;
        status.volumes_attached = None;
        status.volumes_in_use = None;
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
    }
    node
}

/// A Deployment without what changes although nothing happened, and without what its pods are like.
fn what_matters_of_deployment(mut deployment: Deployment) -> Deployment {
    deployment.metadata.managed_fields = None;
    deployment.metadata.resource_version = None;
    if let Some(spec) = &mut deployment.spec {
        spec.template = PodTemplateSpec::default();
    }
    let status = deployment.status.iter_mut();
    for condition in status.flat_map(|status| status.conditions.iter_mut().flatten()) {
        condition.last_update_time = None;
    }
    deployment
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Asked, client, refusal, virtual_clock};

    fn node(ready: &str, heartbeat: &str) -> Value {
        json!({
            "metadata": {"name": "demo-cp-0", "uid": "1", "resourceVersion": heartbeat},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}]},
        })
    }

    fn pruned(value: Value) -> Node {
        what_matters_of_node(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_heartbeat_alone_is_no_change() {
        let mut part = Part::default();
        assert!(part.see(pruned(node("True", "2026-01-01T00:00:00Z"))));
        assert!(!part.see(pruned(node("True", "2026-01-01T00:00:10Z"))));
        assert!(part.see(pruned(node("False", "2026-01-01T00:00:20Z"))));
    }

    #[test]
    fn what_was_seen_outlasts_a_short_outage_only() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let mut part = Part::default();
        part.see(1);
        part.miss(at(0), "refused".into());
        assert!(!part.settle(at(29)));
        assert_eq!(part.value, Observed::Known(1));
        part.miss(at(29), "another reason".into());
        assert!(part.settle(at(30)));
        assert!(
            matches!(&part.value, Observed::Unknown(why) if why.contains("refused")),
            "{:?}",
            part.value
        );
        assert!(!part.settle(at(60)), "the same outage is no news");
        assert!(part.see(1), "being seen again is");
    }

    fn answer(asked: &Asked) -> Option<(u16, Value)> {
        let list = |kind: &str, items: Value| {
            Some((
                200,
                json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "5"}, "items": items}),
            ))
        };
        if asked.query.contains("watch=true") {
            return None;
        }
        match asked.path.as_str() {
            "/version" => Some((
                200,
                json!({
                    "major": "1", "minor": "35", "gitVersion": "v1.35.4", "gitCommit": "", "gitTreeState": "",
                    "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
                }),
            )),
            "/api/v1/nodes" => list("NodeList", json!([node("True", "2026-01-01T00:00:00Z")])),
            "/apis/apps/v1/namespaces/kube-system/deployments" => list("DeploymentList", json!([])),
            _ => list("PartialObjectMetadataList", json!([])),
        }
    }

    /// Watches a child that answers for as long as it is up.
    fn watched() -> (Arc<AtomicBool>, Arc<Mutex<Seen>>, Triggers<ChildKey>) {
        let (up, seen, _, triggers) = looked_at();
        (up, seen, triggers)
    }

    fn looked_at() -> (Arc<AtomicBool>, Arc<Mutex<Seen>>, Arc<Notify>, Triggers<ChildKey>) {
        let up = Arc::new(AtomicBool::new(false));
        let answers = up.clone();
        let client = client(move |asked| {
            let up = answers.load(Ordering::SeqCst);
            async move {
                if !up {
                    return refusal(503, "ServiceUnavailable", "not up");
                }
                match answer(&asked) {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        });
        let (seen, again, triggers) = (
            Arc::new(Mutex::new(Seen::default())),
            Arc::new(Notify::new()),
            Triggers::default(),
        );
        let key = ChildKey {
            namespace: "default".into(),
            name: "demo".into(),
        };
        let watching = Watching {
            key,
            client,
            seen: seen.clone(),
            again: again.clone(),
            clock: virtual_clock(),
            triggers: triggers.clone(),
        };
        tokio::spawn(watching.run());
        (up, seen, again, triggers)
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_should_answer_now_is_looked_at_at_once_and_unknown_to_nobody_meanwhile() {
        let (up, seen, again, _triggers) = looked_at();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(seen.lock().unwrap().has_looked());
        up.store(true, Ordering::SeqCst);
        seen.lock().unwrap().look_again();
        again.notify_one();
        assert!(!seen.lock().unwrap().has_looked());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(seen.lock().unwrap().has_looked());
        assert!(seen.lock().unwrap().view().nodes.known().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_is_told_apart_from_absent() {
        let (up, seen, triggers) = watched();
        let view = || seen.lock().unwrap().view();
        let mut told = triggers.stream();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(
            view().coredns.known().is_none(),
            "nothing is known of a child that does not answer"
        );
        assert!(matches!(view().nodes, Observed::Unknown(why) if why.contains("503")));

        up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(
            view().coredns,
            Observed::Known(None),
            "the child said that there is none"
        );
        assert_eq!(view().nodes.known().map(Vec::len), Some(1));
        assert_eq!(view().api_version, Observed::Known("v1.35.4".into()));
        assert!(told.next().await.is_some());

        up.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(
            view().nodes.known().map(Vec::len),
            Some(1),
            "a short outage makes nothing unknown"
        );
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert!(view().nodes.known().is_none() && view().coredns.known().is_none());

        up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(view().nodes.known().map(Vec::len), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_lost_while_nobody_asked_is_seen_again_although_its_watch_outlasted_the_outage() {
        let (up, seen, _triggers) = watched();
        up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        up.store(false, Ordering::SeqCst);
        // The first probe that fails is a minute after the one that did not.
        tokio::time::sleep(Duration::from_secs(85)).await;
        let lost = {
            let mut seen = seen.lock().unwrap();
            let began = seen.api_version.trouble.as_ref().unwrap().0;
            seen.settle(began + GRACE)
        };
        assert!(lost && seen.lock().unwrap().view().nodes.known().is_none());
        up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(seen.lock().unwrap().view().nodes.known().map(Vec::len), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_that_is_well_gives_no_trigger_of_itself() {
        let (up, _seen, triggers) = watched();
        up.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut told = triggers.stream();
        let quiet = tokio::time::timeout(Duration::from_secs(200), told.next()).await;
        assert!(quiet.is_err(), "triggered although nothing changed");
    }
}
