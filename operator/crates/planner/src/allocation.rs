//! What was allotted to a cluster and its machines, kept in a `ConfigMap` beside the status: a backup that drops status keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{address, names};

/// Key in the `ConfigMap`'s data.
pub const KEY: &str = "allocations.json";

/// Name of the `ConfigMap` of a cluster.
pub fn config_map(cluster: &str) -> String {
    format!("{cluster}-allocations")
}

/// Everything that was allotted to a cluster. Each part is given once and never changed; all of it may be given back for as long as
/// nothing was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocations {
    /// Range of the machines' addresses.
    #[serde(rename = "nodeCIDR")]
    pub node_cidr: Ipv4Net,
    /// Name of the network's bridge on the host.
    pub bridge: String,
    /// The machines, by name.
    #[serde(default)]
    pub machines: BTreeMap<String, MachineAllocation>,
    /// Whether the control plane came up: from then on its machine holds the cluster's data, and is never replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initialized: bool,
}

/// What was allotted to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineAllocation {
    /// UID of the `DevMachine`.
    pub uid: String,
    /// Host number in the node range; also the number of its share of the pod range.
    pub number: u32,
    /// Its address.
    pub ip: Ipv4Addr,
    /// MAC address of its network card.
    pub mac: String,
    /// UUID of its domain.
    pub domain_uuid: Uuid,
}

/// Why a machine could not be given an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// Every address is taken.
    #[error(
        "no address is free for machine {machine}: {taken} of {possible} are taken ({node_cidr} for machines, {pod_cidr} with a /{} of it for each node's pods); remove machines, or make a new cluster with wider ranges",
        address::POD_MASK
    )]
    Exhausted {
        /// The machine.
        machine: String,
        /// How many are taken.
        taken: usize,
        /// How many there are.
        possible: u32,
        /// The machines' range.
        node_cidr: Ipv4Net,
        /// The pods' range.
        pod_cidr: Ipv4Net,
    },
}

impl Allocations {
    /// The allocations with the machine's in them. A machine that has its own already keeps it; one of the same name and
    /// another UID is a machine made anew, and gets an identity of its own.
    pub fn with_machine(
        &self,
        cluster_uid: &str,
        machine: &str,
        uid: &str,
        pod_cidr: &Ipv4Net,
    ) -> Result<Self, AllocationError> {
        if self.machine(machine, uid).is_some() {
            return Ok(self.clone());
        }
        let mut next = self.clone();
        next.machines.remove(machine);
        let taken: BTreeSet<u32> = next.machines.values().map(|m| m.number).collect();
        let number = address::free_number(&self.node_cidr, pod_cidr, &taken);
        let (number, ip) = number
            .and_then(|n| address::address(&self.node_cidr, n).map(|ip| (n, ip)))
            .ok_or_else(|| AllocationError::Exhausted {
                machine: machine.to_owned(),
                taken: taken.len(),
                possible: (address::last_machine(&self.node_cidr, pod_cidr) + 1)
                    .saturating_sub(address::FIRST_MACHINE),
                node_cidr: self.node_cidr,
                pod_cidr: *pod_cidr,
            })?;
        let allocation = MachineAllocation {
            uid: uid.to_owned(),
            number,
            ip,
            mac: names::mac(cluster_uid, number),
            domain_uuid: names::domain_uuid(uid),
        };
        next.machines.insert(machine.to_owned(), allocation);
        Ok(next)
    }

    /// The allocations without the machine's; another machine of the same name keeps its own.
    #[must_use]
    pub fn without_machine(&self, machine: &str, uid: &str) -> Self {
        let mut next = self.clone();
        if next.machines.get(machine).is_some_and(|m| m.uid == uid) {
            next.machines.remove(machine);
        }
        next
    }

    /// What was allotted to the machine of that name and UID.
    pub fn machine(&self, machine: &str, uid: &str) -> Option<&MachineAllocation> {
        self.machines.get(machine).filter(|m| m.uid == uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn empty(range: &str) -> Allocations {
        Allocations {
            node_cidr: range.parse().unwrap(),
            bridge: "sb0".into(),
            machines: BTreeMap::new(),
            initialized: false,
        }
    }

    fn pods() -> Ipv4Net {
        "10.244.0.0/16".parse().unwrap()
    }

    #[test]
    fn an_allocation_is_given_once() {
        let one = empty("10.64.0.0/24")
            .with_machine("c", "cp-0", "u1", &pods())
            .unwrap();
        let two = one.with_machine("c", "cp-0", "u1", &pods()).unwrap();
        assert_eq!(one, two);
        assert_eq!(one.machine("cp-0", "u1").unwrap().ip.to_string(), "10.64.0.10");
        assert!(one.machine("cp-0", "another").is_none());
    }

    #[test]
    fn a_machine_made_anew_does_not_inherit_and_its_forerunner_cannot_take_it_away() {
        let old = empty("10.64.0.0/24")
            .with_machine("c", "w-0", "u1", &pods())
            .unwrap();
        let new = old.with_machine("c", "w-0", "u2", &pods()).unwrap();
        assert_ne!(
            old.machine("w-0", "u1").unwrap().domain_uuid,
            new.machine("w-0", "u2").unwrap().domain_uuid
        );
        assert_eq!(new.without_machine("w-0", "u1"), new);
        assert!(new.without_machine("w-0", "u2").machines.is_empty());
    }

    #[test]
    fn exhaustion_names_the_numbers() {
        let mut all = empty("10.64.0.0/24");
        let pods: Ipv4Net = "10.244.0.0/20".parse().unwrap();
        for i in 0..6 {
            all = all
                .with_machine("c", &format!("w-{i}"), &format!("u{i}"), &pods)
                .unwrap();
        }
        let error = all.with_machine("c", "w-6", "u6", &pods).unwrap_err().to_string();
        assert!(
            error.contains("6 of 6") && error.contains("10.244.0.0/20"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_two_machines_share_an_address(ops in proptest::collection::vec((0u8..12, any::<bool>()), 1..80)) {
            let mut all = empty("10.64.0.0/26");
            for (n, add) in ops {
                let (name, uid) = (format!("w-{n}"), format!("u{n}"));
                all = if add { all.with_machine("c", &name, &uid, &pods()).unwrap() } else { all.without_machine(&name, &uid) };
                let ips: BTreeSet<_> = all.machines.values().map(|m| m.ip).collect();
                prop_assert_eq!(ips.len(), all.machines.len());
            }
        }
    }
}
