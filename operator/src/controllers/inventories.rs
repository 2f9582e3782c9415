//! What was on the hosts at the last look, so that the next one tells what changed without anybody's saying so.
//!
//! A host tells of its domains, and of nothing else; and what it tells may be lost. One look at a host each minute finds what was done
//! to any of its clusters, in place of a look for each cluster and machine.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use seedbed_hypervisor::{DomainFacts, Inventory, NetworkFacts, Owner};

/// What was on each host at the last look.
#[derive(Debug, Default)]
pub struct Inventories(Mutex<BTreeMap<String, Things>>);

#[derive(Debug, Default)]
struct Things {
    domains: BTreeMap<String, DomainFacts>,
    networks: BTreeMap<String, NetworkFacts>,
}

impl Inventories {
    /// Whose domains and networks came, went or changed since the last look at the host. After the first one nothing is known to have
    /// changed: everything is looked at then anyway.
    pub fn differences(&self, host: &str, now: &Inventory) -> Vec<Owner> {
        let things = Things {
            domains: now.domains.iter().map(|d| (d.name.clone(), d.clone())).collect(),
            networks: now.networks.iter().map(|n| (n.name.clone(), n.clone())).collect(),
        };
        let mut known = self.lock();
        let differences = known.get(host).map(|before| {
            let domains = differing(&before.domains, &things.domains).filter_map(|d| d.owner.clone());
            let networks = differing(&before.networks, &things.networks).filter_map(|n| n.owner.clone());
            domains.chain(networks).collect()
        });
        known.insert(host.to_owned(), things);
        differences.unwrap_or_default()
    }

    /// Lets go of a host that is deleted.
    pub fn forget(&self, host: &str) {
        self.lock().remove(host);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Things>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in only one of the two, or differs: as it was, and where it is new, as it is.
fn differing<'a, T: PartialEq>(
    before: &'a BTreeMap<String, T>,
    now: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = &'a T> {
    let gone_or_changed = before
        .iter()
        .filter(|(name, thing)| now.get(*name) != Some(thing))
        .map(|(_, thing)| thing);
    let new = now
        .iter()
        .filter(|(name, _)| !before.contains_key(*name))
        .map(|(_, thing)| thing);
    gone_or_changed.chain(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(cluster: &str, active: bool) -> NetworkFacts {
        NetworkFacts {
            name: format!("default.{cluster}"),
            owner: Some(Owner {
                namespace: "default".to_owned(),
                cluster: cluster.to_owned(),
                cluster_uid: format!("uid-{cluster}"),
                machine: None,
                machine_uid: None,
            }),
            active,
            bridge: None,
            cidr: None,
            reservations: Vec::new(),
        }
    }

    fn inventory(networks: Vec<NetworkFacts>) -> Inventory {
        Inventory {
            networks,
            ..Inventory::default()
        }
    }

    #[test]
    fn what_came_went_or_changed_is_told_with_whose_it_is() {
        let inventories = Inventories::default();
        let clusters = |now: Vec<NetworkFacts>| {
            let owners = inventories.differences("local", &inventory(now));
            let mut clusters: Vec<String> = owners.into_iter().map(|owner| owner.cluster).collect();
            clusters.sort();
            clusters
        };
        assert!(clusters(vec![network("a", true), network("b", true)]).is_empty());
        assert!(clusters(vec![network("b", true), network("a", true)]).is_empty());
        assert_eq!(
            clusters(vec![network("a", false), network("c", true)]),
            ["a", "b", "c"]
        );
        inventories.forget("local");
        assert!(clusters(Vec::new()).is_empty());
    }
}
