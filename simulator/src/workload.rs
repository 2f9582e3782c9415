//! What a child cluster does with pods, as far as somebody who drains its nodes sees it: its scheduler, its kubelets, and the controllers
//! of disruption budgets and of pods whose node is gone. Jobs come to an end, without pods.

use std::collections::BTreeSet;

use jiff::Timestamp;
use seedbed_simulated_api::{Kind, Preconditions, Selector, Store, Subresource, covers, is_ready};
use serde_json::{Value, json};

/// Does once what all of them do again and again. `kubelets` are the nodes whose kubelets run and reach the API.
pub(crate) fn tend(store: &mut Store, kubelets: &BTreeSet<String>, now: Timestamp) {
    let Some(pods) = store.kinds().of_plural("pods").cloned() else {
        return;
    };
    // Most pods run, and nothing is done with them.
    let open = store.list(&pods, "", Selector::all()).filter_map(|pod| {
        let next = wants(store, pod, kubelets, now)?;
        Some((pod.clone(), next))
    });
    for (pod, next) in open.collect::<Vec<_>>() {
        match next {
            Next::Schedule => schedule(store, &pods, pod),
            Next::Run => run(store, &pods, pod),
            Next::End => end(store, &pods, &pod, now),
        }
    }
    count_budgets(store, &pods);
    if !kubelets.is_empty() {
        end_jobs(store, now);
    }
}

/// What is to be done with a pod.
enum Next {
    Schedule,
    Run,
    End,
}

/// What is to be done with that pod now. A kubelet runs it, or ends it once its grace is over.
fn wants(store: &Store, pod: &Value, kubelets: &BTreeSet<String>, now: Timestamp) -> Option<Next> {
    let Some(node) = pod["spec"]["nodeName"].as_str() else {
        return Some(Next::Schedule);
    };
    if !is_there(store, node) {
        return Some(Next::End);
    }
    if !kubelets.contains(node) {
        return None;
    }
    let deletion = pod["metadata"]["deletionTimestamp"].as_str();
    match deletion.and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(at) => (at <= now).then_some(Next::End),
        None => pod["status"]["phase"].is_null().then_some(Next::Run),
    }
}

/// Jobs come to the end that the command of their first container has: `false` fails, `sleep` lasts for so many seconds, and anything else
/// does well at once.
fn end_jobs(store: &mut Store, now: Timestamp) {
    let Some(kind) = store.kinds().of_plural("jobs").cloned() else {
        return;
    };
    for mut job in all(store, &kind) {
        let made = job["metadata"]["creationTimestamp"].as_str();
        let age = made.and_then(|text| text.parse::<Timestamp>().ok());
        let age = age.map_or(0, |made| now.duration_since(made).as_secs());
        let command = &job["spec"]["template"]["spec"]["containers"][0]["command"];
        let seconds = command[1].as_str().and_then(|text| text.parse().ok());
        let (type_, reason, message) = match command[0].as_str() {
            Some("sleep") if age < seconds.unwrap_or(0) => continue,
            Some("false") => (
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            ),
            _ => (
                "Complete",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            ),
        };
        if job["status"]["conditions"].is_null() {
            job["status"] = json!({"conditions": [
                {"type": type_, "status": "True", "reason": reason, "message": message},
            ]});
            write(store, &kind, &job, Subresource::Status);
        }
    }
}

fn all(store: &Store, kind: &Kind) -> Vec<Value> {
    store.list(kind, "", Selector::all()).cloned().collect()
}

fn nodes(store: &Store) -> Vec<Value> {
    let kind = store.kinds().of_plural("nodes");
    kind.map(|kind| all(store, kind)).unwrap_or_default()
}

fn is_there(store: &Store, node: &str) -> bool {
    let kind = store.kinds().of_plural("nodes");
    kind.is_some_and(|kind| store.get(kind, "", node).is_ok())
}

/// Puts the pod on the node with the fewest that takes pods without tolerations. Where none does, it stays pending.
fn schedule(store: &mut Store, kind: &Kind, mut pod: Value) {
    let takes_pods = |node: &Value| {
        let keeps_away = |taint: &Value| taint["effect"] != "PreferNoSchedule";
        let mut taints = node["spec"]["taints"].as_array().into_iter().flatten();
        let cordoned = node["spec"]["unschedulable"] == Value::Bool(true);
        !cordoned && is_ready(node) && !taints.any(keeps_away)
    };
    let count = |name: &str| {
        let on_it = |pod: &&Value| pod["spec"]["nodeName"] == name;
        store.list(kind, "", Selector::all()).filter(on_it).count()
    };
    let node = nodes(store)
        .iter()
        .filter(|node| takes_pods(node))
        .filter_map(|node| node["metadata"]["name"].as_str())
        .map(|name| (count(name), name.to_owned()))
        .min();
    if let Some((_, node)) = node {
        pod["spec"]["nodeName"] = node.into();
        write(store, kind, &pod, Subresource::Main);
    }
}

fn run(store: &mut Store, kind: &Kind, mut pod: Value) {
    pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    write(store, kind, &pod, Subresource::Status);
}

fn end(store: &mut Store, kind: &Kind, pod: &Value, now: Timestamp) {
    let (namespace, name) = place(pod);
    let at_once = Preconditions {
        uid: pod["metadata"]["uid"].as_str().map(str::to_owned),
        grace_seconds: Some(0),
        ..Preconditions::default()
    };
    // Gone already is as good.
    let _ = store.delete(kind, namespace, name, &at_once, now);
}

/// How many pods may be disrupted now, of each budget.
/// See <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>.
fn count_budgets(store: &mut Store, pods: &Kind) {
    let Some(kind) = store.kinds().of_plural("poddisruptionbudgets").cloned() else {
        return;
    };
    for mut budget in all(store, &kind) {
        let (namespace, _) = place(&budget);
        let covered: Vec<&Value> = store
            .list(pods, namespace, Selector::all())
            .filter(|pod| covers(&budget, pod))
            .collect();
        let expected = covered.len();
        let healthy = covered
            .iter()
            .filter(|pod| is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null())
            .count();
        let number = |field: &str| {
            budget["spec"][field]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
        };
        let desired = match (number("minAvailable"), number("maxUnavailable")) {
            (Some(least), _) => least,
            (None, Some(most)) => expected.saturating_sub(most),
            (None, None) => 0,
        };
        let status = json!({
            "observedGeneration": budget["metadata"]["generation"], "expectedPods": expected,
            "currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": healthy.saturating_sub(desired),
        });
        if budget["status"] != status {
            budget["status"] = status;
            write(store, &kind, &budget, Subresource::Status);
        }
    }
}

fn write(store: &mut Store, kind: &Kind, object: &Value, part: Subresource) {
    let (namespace, name) = place(object);
    // What somebody deleted meanwhile has none of it.
    let _ = store.replace(kind, namespace, name, object.clone(), part);
}

fn place(object: &Value) -> (&str, &str) {
    let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (of("namespace"), of("name"))
}

#[cfg(test)]
mod tests {
    use seedbed_simulated_api::Kinds;

    use super::*;

    struct Cluster {
        store: Store,
        now: Timestamp,
    }

    impl Cluster {
        fn new(nodes: &[&str]) -> Self {
            let mut cluster = Self {
                store: Store::new(Kinds::builtin(), "test"),
                now: Timestamp::from_second(1_800_000_000).unwrap(),
            };
            for name in nodes {
                cluster.make("nodes", "", json!({"metadata": {"name": name}, "spec": {}}));
                let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
                let kind = cluster.kind("nodes");
                let node = json!({"metadata": {"name": name}, "status": ready});
                cluster
                    .store
                    .replace(&kind, "", name, node, Subresource::Status)
                    .unwrap();
            }
            cluster
        }

        fn kind(&self, plural: &str) -> Kind {
            self.store.kinds().of_plural(plural).cloned().unwrap()
        }

        fn make(&mut self, plural: &str, namespace: &str, object: Value) {
            let kind = self.kind(plural);
            self.store.create(&kind, namespace, object, self.now).unwrap();
        }

        fn pod(&mut self, name: &str) {
            let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {}});
            self.make("pods", "default", pod);
        }

        fn cordon(&mut self, node: &str) {
            let kind = self.kind("nodes");
            let patch = json!({"spec": {"unschedulable": true}});
            self.store
                .merge(&kind, "", node, &patch, Subresource::Main)
                .unwrap();
        }

        fn tend(&mut self, kubelets: &[&str], seconds: i64) {
            self.now += jiff::SignedDuration::from_secs(seconds);
            let kubelets = kubelets.iter().map(|name| (*name).to_owned()).collect();
            tend(&mut self.store, &kubelets, self.now);
        }

        fn node_of(&self, pod: &str) -> Option<String> {
            let found = self.store.get(&self.kind("pods"), "default", pod).ok()?;
            Some(found["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())
        }

        fn evict(&mut self, pod: &str) -> Result<(), String> {
            let kind = self.kind("pods");
            let (conditions, now) = (Preconditions::default(), self.now);
            let evicted = self.store.evict(&kind, "default", pod, &conditions, now);
            evicted.map_err(|refusal| refusal.message)
        }
    }

    #[test]
    fn pods_are_spread_over_nodes_that_take_them() {
        let mut cluster = Cluster::new(&["a", "b", "c"]);
        cluster.cordon("c");
        for name in ["1", "2"] {
            cluster.pod(name);
        }
        cluster.tend(&[], 1);
        assert_eq!(cluster.node_of("1").as_deref(), Some("a"));
        assert_eq!(cluster.node_of("2").as_deref(), Some("b"));
    }

    #[test]
    fn an_evicted_pod_goes_after_its_grace_if_its_kubelet_runs() {
        let mut cluster = Cluster::new(&["a"]);
        cluster.pod("1");
        cluster.tend(&["a"], 1);
        cluster.tend(&["a"], 1);
        cluster.evict("1").unwrap();
        cluster.tend(&["a"], 29);
        assert!(cluster.node_of("1").is_some());
        cluster.tend(&[], 1);
        assert!(cluster.node_of("1").is_some());
        cluster.tend(&["a"], 0);
        assert_eq!(cluster.node_of("1"), None);
    }

    #[test]
    fn a_budget_that_needs_every_pod_lets_none_go() {
        let mut cluster = Cluster::new(&["a"]);
        cluster.pod("1");
        cluster.pod("2");
        let selector = json!({"matchLabels": {"app": "web"}});
        let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": selector}});
        cluster.make("poddisruptionbudgets", "default", budget);
        cluster.tend(&["a"], 1);
        cluster.tend(&["a"], 1);
        cluster.evict("1").unwrap();
        cluster.tend(&["a"], 1);
        assert!(cluster.evict("2").unwrap_err().contains("disruption budget"));
        // One that goes already may be asked to go again.
        cluster.evict("1").unwrap();
    }

    #[test]
    fn a_job_ends_as_its_command_does() {
        let mut cluster = Cluster::new(&["a"]);
        for (name, command) in [
            ("well", json!(["true"])),
            ("badly", json!(["false"])),
            ("late", json!(["sleep", "60"])),
        ] {
            let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "command": command}]});
            let spec = json!({"template": {"spec": pod}});
            cluster.make(
                "jobs",
                "default",
                json!({"metadata": {"name": name}, "spec": spec}),
            );
        }
        let ended = |cluster: &Cluster, name: &str| {
            let found = cluster.store.get(&cluster.kind("jobs"), "default", name).unwrap();
            found["status"]["conditions"][0]["type"].clone()
        };
        cluster.tend(&[], 5);
        assert_eq!(ended(&cluster, "well"), Value::Null, "nobody runs it");
        cluster.tend(&["a"], 5);
        assert_eq!(ended(&cluster, "well"), "Complete");
        assert_eq!(ended(&cluster, "badly"), "Failed");
        assert_eq!(ended(&cluster, "late"), Value::Null);
        cluster.tend(&["a"], 60);
        assert_eq!(ended(&cluster, "late"), "Complete");
    }

    #[test]
    fn a_pod_whose_node_is_gone_goes_too() {
        let mut cluster = Cluster::new(&["a"]);
        cluster.pod("1");
        cluster.tend(&["a"], 1);
        let (kind, now) = (cluster.kind("nodes"), cluster.now);
        cluster
            .store
            .delete(&kind, "", "a", &Preconditions::default(), now)
            .unwrap();
        cluster.tend(&["a"], 1);
        assert_eq!(cluster.node_of("1"), None);
    }
}
