//! How many workers are Ready, which are not, and of which it is not known.

use seedbed_crds::DevMachine;
use seedbed_crds::reasons::Reason;

use super::{machine, owned};

/// Workers, as their machines tell.
pub struct Workers {
    /// How many there are.
    pub total: i32,
    /// How many are Ready.
    pub ready: i32,
    /// Names of the others, sorted.
    others: Vec<String>,
    /// Why it is not known whether they are, where that is so of all of them.
    unknown: Option<Reason>,
}

impl Workers {
    /// Of those machines.
    pub fn of<'a>(machines: impl IntoIterator<Item = &'a DevMachine>) -> Self {
        let (ready, mut others): (Vec<_>, Vec<_>) = machines.into_iter().partition(|m| machine::is_ready(m));
        others.sort_by_key(|machine| owned::name(*machine));
        let unknown: Option<Vec<Reason>> = others.iter().map(|machine| why_unknown(machine)).collect();
        let count = |workers: usize| i32::try_from(workers).unwrap_or(i32::MAX);
        Self {
            total: count(ready.len() + others.len()),
            ready: count(ready.len()),
            unknown: unknown.and_then(|reasons| reasons.first().copied()),
            others: others.into_iter().map(owned::name).collect(),
        }
    }

    /// Whether so many are wanted, and all are Ready.
    pub fn are_ready(&self, wanted: i32) -> bool {
        self.ready >= wanted && self.others.is_empty()
    }

    /// Why it is not known whether so many are Ready; none where it is known.
    pub fn unknown(&self, wanted: i32) -> Option<Reason> {
        self.unknown.filter(|_| self.total >= wanted)
    }

    /// What a person is told, where so many are wanted.
    pub fn told(&self, wanted: i32) -> String {
        let ready = self.ready;
        let others = self.others.join(", ");
        match self.unknown {
            _ if self.others.is_empty() => format!("{ready} of {wanted} workers are Ready"),
            None => format!("{ready} of {wanted} workers are Ready; not Ready: {others}"),
            Some(_) => format!("{ready} of {wanted} workers are known to be Ready; not known: {others}"),
        }
    }
}

/// Why it is not known whether the machine is Ready; none where it is known.
fn why_unknown(worker: &DevMachine) -> Option<Reason> {
    let ready = machine::readiness(worker)?;
    (ready.status == "Unknown").then(|| Reason::of(&ready.reason))?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn worker(name: &str, ready: &str, reason: &str) -> DevMachine {
        serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "DevMachine", "metadata": {"name": name},
            "spec": {
                "role": "Worker", "clusterRef": {"name": "demo"}, "hostRef": {"name": "local"}, "version": "v1.35.4",
                "machine": {"cpus": 1, "memory": "1Gi", "disk": "5Gi"}, "templateHash": "",
            },
            "status": {"conditions": [{
                "type": "Ready", "status": ready, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn those_that_are_not_ready_are_named() {
        let machines = [worker("b", "False", "NotRunning"), worker("a", "True", "AsAsked")];
        let workers = Workers::of(&machines);
        assert_eq!(workers.told(2), "1 of 2 workers are Ready; not Ready: b");
        assert_eq!((workers.unknown(2), workers.are_ready(1)), (None, false));
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_not_ready() {
        let lost = [
            worker("b", "Unknown", "HostUnreachable"),
            worker("a", "Unknown", "ChildUnreachable"),
        ];
        let workers = Workers::of(&lost);
        assert_eq!(
            workers.told(2),
            "0 of 2 workers are known to be Ready; not known: a, b"
        );
        assert_eq!(workers.unknown(2), Some(Reason::ChildUnreachable));
        // Where one is missing, it is known that so many are not Ready.
        assert_eq!(workers.unknown(3), None);
        let one_is_down = [
            worker("a", "Unknown", "HostUnreachable"),
            worker("b", "False", "NotRunning"),
        ];
        assert_eq!(Workers::of(&one_is_down).unknown(2), None);
    }

    #[test]
    fn all_are_ready() {
        let machines = [worker("a", "True", "AsAsked")];
        let workers = Workers::of(&machines);
        assert_eq!(workers.told(1), "1 of 1 workers are Ready");
        assert!(workers.are_ready(1) && !workers.are_ready(2));
    }
}
