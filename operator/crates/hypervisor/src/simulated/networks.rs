//! Networks.

use super::refusal::Refusal;
use super::state::State;
use crate::{NetworkFacts, NetworkSpec, Owner, Reservation};

impl State {
    pub(super) fn add_foreign_network(&mut self, name: &str) {
        self.networks.entry(name.to_owned()).or_insert(NetworkFacts {
            name: name.to_owned(),
            owner: None,
            active: false,
            bridge: None,
            cidr: None,
            reservations: Vec::new(),
        });
    }

    /// Takes the network down, or brings it up.
    pub(super) fn set_active(&mut self, name: &str, active: bool) {
        if let Some(network) = self.networks.get_mut(name) {
            network.active = active;
        }
    }

    pub(super) fn ensure_network(&mut self, spec: &NetworkSpec) -> Result<(), Refusal> {
        if let Some(found) = self.owned_network(&spec.name, &spec.owner)? {
            if found.bridge.as_ref() != Some(&spec.bridge) || found.cidr != Some(spec.cidr.trunc()) {
                return Err(Refusal::conflict(
                    format!("network {}", spec.name),
                    described(found.bridge.as_deref(), found.cidr),
                    &described(Some(&spec.bridge), Some(spec.cidr.trunc())),
                ));
            }
            if found.active {
                return Ok(());
            }
        }
        self.check_free(spec)?;
        let network = self
            .networks
            .entry(spec.name.clone())
            .or_insert_with(|| NetworkFacts {
                name: spec.name.clone(),
                owner: Some(spec.owner.clone()),
                active: false,
                bridge: Some(spec.bridge.clone()),
                cidr: Some(spec.cidr.trunc()),
                reservations: spec.reservations.clone(),
            });
        network.active = true;
        Ok(())
    }

    pub(super) fn reserve(&mut self, name: &str, owner: &Owner, wanted: &Reservation) -> Result<(), Refusal> {
        let network = self
            .owned_network(name, owner)?
            .ok_or_else(|| Refusal::NotFound(format!("network {name}")))?;
        if let Some(found) = network.reservations.iter().find(|r| r.mac == wanted.mac) {
            if found == wanted {
                return Ok(());
            }
            return Err(Refusal::conflict(
                format!("a reservation of {} in network {name}", wanted.mac),
                format!("{} ({})", found.ip, found.hostname),
                &format_args!("{} ({})", wanted.ip, wanted.hostname),
            ));
        }
        let taken = network
            .reservations
            .iter()
            .find(|r| r.ip == wanted.ip || r.hostname == wanted.hostname);
        if let Some(found) = taken {
            return Err(Refusal::Refused(format!(
                "there is an existing dhcp host entry in network '{name}' that matches \"<host mac='{}' name='{}' ip='{}'/>\"",
                found.mac, found.hostname, found.ip
            )));
        }
        network.reservations.push(wanted.clone());
        Ok(())
    }

    pub(super) fn release(&mut self, name: &str, owner: &Owner, mac: &str) -> Result<(), Refusal> {
        if let Some(network) = self.owned_network(name, owner)? {
            network.reservations.retain(|r| r.mac != mac);
        }
        Ok(())
    }

    pub(super) fn delete_network(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        if self.owned_network(name, owner)?.is_some() {
            self.networks.remove(name);
        }
        Ok(())
    }

    pub(super) fn disown_network(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        // One without our metadata is nobody's already.
        if self.networks.get(name).is_some_and(|n| n.owner.is_none()) {
            return Ok(());
        }
        if let Some(network) = self.owned_network(name, owner)? {
            network.owner = None;
        }
        Ok(())
    }

    /// The network, if it is there, once its metadata say that it is the owner's.
    fn owned_network(&mut self, name: &str, owner: &Owner) -> Result<Option<&mut NetworkFacts>, Refusal> {
        let Some(network) = self.networks.get_mut(name) else {
            return Ok(None);
        };
        match &network.owner {
            Some(found) if found.same_cluster(owner) => Ok(Some(network)),
            found => Err(Refusal::foreign(format!("network {name}"), found.as_ref(), owner)),
        }
    }

    /// A host routes a range, and has a bridge of a name, once.
    fn check_free(&self, spec: &NetworkSpec) -> Result<(), Refusal> {
        let others = self.networks.values().filter(|n| n.active && n.name != spec.name);
        for other in others {
            let overlaps = other
                .cidr
                .is_some_and(|c| c.contains(&spec.cidr.trunc()) || spec.cidr.contains(&c));
            if overlaps || other.bridge.as_ref() == Some(&spec.bridge) {
                return Err(Refusal::Refused(format!(
                    "Network is already in use by network {} ({})",
                    other.name,
                    described(other.bridge.as_deref(), other.cidr)
                )));
            }
        }
        Ok(())
    }
}

fn described(bridge: Option<&str>, cidr: Option<ipnet::Ipv4Net>) -> String {
    let range = cidr.map_or_else(|| "none".to_owned(), |cidr| cidr.to_string());
    format!("bridge {}, range {range}", bridge.unwrap_or("none"))
}
