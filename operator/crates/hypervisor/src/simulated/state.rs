//! All that is on the host, by name.

use std::collections::BTreeMap;
use std::mem::take;

use super::domains::Domain;
use crate::{DomainFacts, DomainSpec, HostFacts, Inventory, NetworkFacts, VolumeFacts};

/// What a call changed that others want to know.
#[derive(Debug)]
pub(super) enum Change {
    /// A machine got power.
    On(Box<DomainSpec>),
    /// A machine has no power any more.
    Off(String),
    /// A guest stands still, or goes on.
    Suspended(String, bool),
    /// The disk of a domain is kept: the domain, and the disk's volume.
    Kept(String, String),
    /// What was written since then is in the disk.
    Merged(String, String),
    /// What was written since then is gone.
    Reverted(String, String),
    /// A domain was defined, redefined or undefined.
    Definition(String),
}

/// All that is on the host, by name.
#[derive(Debug)]
pub(super) struct State {
    host: HostFacts,
    pub(super) domains: BTreeMap<String, Domain>,
    pub(super) networks: BTreeMap<String, NetworkFacts>,
    pub(super) volumes: BTreeMap<String, VolumeFacts>,
    pub(super) changes: Vec<Change>,
    /// Whether the pool takes nothing more.
    pub(super) full: bool,
    /// Whether it can keep disks as they are.
    pub(super) keeps_disks: bool,
}

impl State {
    pub(super) fn new(host: HostFacts) -> Self {
        Self {
            host,
            domains: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            changes: Vec::new(),
            full: false,
            keeps_disks: true,
        }
    }

    pub(super) fn set_host(&mut self, host: HostFacts) {
        self.host = host;
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        take(&mut self.changes)
    }

    pub(super) fn host(&self) -> HostFacts {
        let used: u64 = self.volumes.values().map(|v| v.allocation_bytes).sum();
        HostFacts {
            pool_available_bytes: self.host.pool_capacity_bytes.saturating_sub(used),
            ..self.host.clone()
        }
    }

    pub(super) fn inventory(&self) -> Inventory {
        Inventory {
            domains: self.domains.values().map(|domain| self.facts(domain)).collect(),
            networks: self.networks.values().cloned().collect(),
            volumes: self.volumes.values().cloned().collect(),
        }
    }

    pub(super) fn domain(&self, name: &str) -> Option<DomainFacts> {
        self.domains.get(name).map(|domain| self.facts(domain))
    }

    fn facts(&self, domain: &Domain) -> DomainFacts {
        let facts = domain.facts();
        DomainFacts {
            kept: facts.kept.filter(|_| self.keeps_disks),
            ..facts
        }
    }
}
