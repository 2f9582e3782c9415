//! Networks.

use std::ffi::{CString, c_int};
use std::ptr::null;

use virt::error::Error;
use virt::network::Network;
use virt::sys;

use super::session::Session;
use super::xml::{Guests, NAMESPACE, NetworkXml, parse_network, render_network, render_reservation};
use crate::{Fault, NetworkFacts, NetworkSpec, Owner, Reservation};

/// libvirt then takes the one range that has, or is to have, DHCP.
const ANY_RANGE: i32 = -1;

impl Session {
    pub(super) fn networks(&self) -> Result<Vec<NetworkFacts>, Fault> {
        let networks = self
            .connect
            .list_all_networks(0)
            .map_err(|error| self.fault(&error))?;
        let mut facts = Vec::with_capacity(networks.len());
        for network in networks {
            match self.network_facts(&network) {
                // Gone since the list was made.
                Err(Fault::NotFound { .. }) => {}
                known => facts.push(known?),
            }
        }
        Ok(facts)
    }

    pub(super) fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        let Some(network) = self.find_network(name)? else {
            return Ok(None);
        };
        match self.network_facts(&network) {
            // Gone since it was found.
            Err(Fault::NotFound { .. }) => Ok(None),
            known => known.map(Some),
        }
    }

    pub(super) fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        let fault = |error| self.fault(&error);
        let network = if let Some(network) = self.owned_network(&spec.name, &spec.owner)? {
            self.check_network(spec, &self.network_xml(&network, 0)?)?;
            network
        } else {
            let xml = render_network(spec).map_err(|error| self.xml_fault(&error))?;
            self.connect.define_network_xml(&xml).map_err(fault)?
        };
        if !network.autostart().map_err(fault)? {
            network.set_autostart(true).map_err(fault)?;
        }
        if !network.is_active().map_err(fault)? {
            network.create().map_err(fault)?;
        }
        Ok(())
    }

    pub(super) fn reserve_address(
        &self,
        name: &str,
        owner: &Owner,
        wanted: &Reservation,
    ) -> Result<(), Fault> {
        let network = self
            .owned_network(name, owner)?
            .ok_or_else(|| self.not_found(format!("network {name}")))?;
        // One call for both states: each tells dnsmasq anew, which takes it a quarter of a second.
        let mut missing: Option<sys::virNetworkUpdateFlags> = None;
        for (state, view) in self.states(&network)? {
            let found = self
                .network_xml(&network, view)?
                .reservations
                .into_iter()
                .find(|r| r.mac == wanted.mac);
            match found {
                Some(found) if found == *wanted => {}
                Some(found) => {
                    return Err(self.conflict(
                        format!("a reservation of {} in network {name}", wanted.mac),
                        format!("{} ({})", found.ip, found.hostname),
                        format!("{} ({})", wanted.ip, wanted.hostname),
                    ));
                }
                None => missing = Some(missing.unwrap_or_default() | state),
            }
        }
        let Some(states) = missing else {
            return Ok(());
        };
        let xml = render_reservation(wanted).map_err(|error| self.xml_fault(&error))?;
        self.update(&network, sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, &xml, states)
    }

    pub(super) fn release_address(&self, name: &str, owner: &Owner, mac: &str) -> Result<(), Fault> {
        let Some(network) = self.owned_network(name, owner)? else {
            return Ok(());
        };
        for (state, view) in self.states(&network)? {
            let found = self
                .network_xml(&network, view)?
                .reservations
                .into_iter()
                .find(|r| r.mac == mac);
            if let Some(found) = found {
                let xml = render_reservation(&found).map_err(|error| self.xml_fault(&error))?;
                self.update(&network, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, &xml, state)?;
            }
        }
        Ok(())
    }

    pub(super) fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let fault = |error| self.fault(&error);
        let Some(network) = self.owned_network(name, owner)? else {
            return Ok(());
        };
        if network.is_active().map_err(fault)? {
            network.destroy().map_err(fault)?;
        }
        network.undefine().map_err(fault)
    }

    pub(super) fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        // One without our metadata is nobody's already; one with another's is none of our business.
        let Some(network) = self.find_network(name)? else {
            return Ok(());
        };
        if self.network_xml(&network, 0)?.owner.is_none() {
            return Ok(());
        }
        let Some(network) = self.owned_network(name, owner)? else {
            return Ok(());
        };
        for (state, _) in self.states(&network)? {
            self.remove_metadata(&network, state)?;
        }
        Ok(())
    }

    fn remove_metadata(&self, network: &Network, state: sys::virNetworkUpdateFlags) -> Result<(), Fault> {
        let kind = c_int::try_from(sys::VIR_NETWORK_METADATA_ELEMENT).unwrap_or_default();
        let uri = CString::new(NAMESPACE).unwrap_or_default();
        // SAFETY: the network handle and the text live until the call returns; libvirt keeps neither. Without an element and a
        // key it removes the element of that namespace.
        let result = unsafe {
            sys::virNetworkSetMetadata(network.as_ptr(), kind, null(), null(), uri.as_ptr(), state)
        };
        if result < 0 {
            return Err(self.fault(&Error::last_error()));
        }
        Ok(())
    }

    fn find_network(&self, name: &str) -> Result<Option<Network>, Fault> {
        self.present(self.connect.lookup_network_by_name(name))
    }

    /// The network, if it is there, once its metadata say that it is the owner's.
    fn owned_network(&self, name: &str, owner: &Owner) -> Result<Option<Network>, Fault> {
        let Some(network) = self.find_network(name)? else {
            return Ok(None);
        };
        match self.network_xml(&network, 0)?.owner {
            Some(found) if found.same_cluster(owner) => Ok(Some(network)),
            found => Err(self.conflict(
                format!("network {name}"),
                found.map_or_else(
                    || "a network without our metadata".to_owned(),
                    |found| found.to_string(),
                ),
                owner.to_string(),
            )),
        }
    }

    /// A network of ours that is not what it is to be was changed by somebody: it is not ours to change back while guests use it.
    fn check_network(&self, spec: &NetworkSpec, found: &NetworkXml) -> Result<(), Fault> {
        if found.bridge.as_deref() == Some(&spec.bridge) && found.cidr == Some(spec.cidr.trunc()) {
            return Ok(());
        }
        let bridge = found.bridge.as_deref().unwrap_or("none");
        let range = found
            .cidr
            .map_or_else(|| "none".to_owned(), |cidr| cidr.to_string());
        Err(self.conflict(
            format!("network {}", spec.name),
            format!("bridge {bridge}, range {range}"),
            format!("bridge {}, range {}", spec.bridge, spec.cidr.trunc()),
        ))
    }

    fn network_facts(&self, network: &Network) -> Result<NetworkFacts, Fault> {
        let fault = |error| self.fault(&error);
        let parsed = self.network_xml(network, 0)?;
        Ok(NetworkFacts {
            name: network.name().map_err(fault)?,
            owner: parsed.owner,
            active: network.is_active().map_err(fault)?,
            bridge: parsed.bridge,
            cidr: parsed.cidr,
            reservations: parsed.reservations,
        })
    }

    fn network_xml(&self, network: &Network, view: sys::virNetworkXMLFlags) -> Result<NetworkXml, Fault> {
        let xml = network.xml_desc(view).map_err(|error| self.fault(&error))?;
        parse_network(&xml).map_err(|error| self.xml_fault(&error))
    }

    /// The states in which a change has to be made, each with the view that shows it: what is stored, and what runs now.
    fn states(
        &self,
        network: &Network,
    ) -> Result<Vec<(sys::virNetworkUpdateFlags, sys::virNetworkXMLFlags)>, Fault> {
        if self.guests == Guests::Test {
            // The test driver keeps one state.
            return Ok(vec![(sys::VIR_NETWORK_UPDATE_AFFECT_CURRENT, 0)]);
        }
        let mut states = vec![(
            sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG,
            sys::VIR_NETWORK_XML_INACTIVE,
        )];
        if network.is_active().map_err(|error| self.fault(&error))? {
            states.push((sys::VIR_NETWORK_UPDATE_AFFECT_LIVE, 0));
        }
        Ok(states)
    }

    fn update(
        &self,
        network: &Network,
        command: sys::virNetworkUpdateCommand,
        xml: &str,
        state: sys::virNetworkUpdateFlags,
    ) -> Result<(), Fault> {
        network
            .update(
                command,
                sys::VIR_NETWORK_SECTION_IP_DHCP_HOST,
                ANY_RANGE,
                xml,
                state,
            )
            .map_err(|error| self.fault(&error))
    }
}
