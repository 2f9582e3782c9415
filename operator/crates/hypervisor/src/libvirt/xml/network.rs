//! Networks.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::metadata::{metadata, owner_of};
use super::tree::{Element, XmlError};
use crate::{NetworkSpec, Owner, Reservation};

/// What the XML of a network says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkXml {
    pub owner: Option<Owner>,
    pub bridge: Option<String>,
    pub cidr: Option<Ipv4Net>,
    pub reservations: Vec<Reservation>,
}

/// What the host's own reservation is called. It names no card, so that it is none of a machine's.
const GATEWAY_NAME: &str = "host";

/// The network's XML. It has no DHCP range: libvirt's dnsmasq then answers only those cards that have a reservation, so that no
/// address is ever given to anything else.
///
/// One reservation is there from the start, of the host's own address, which dnsmasq gives to nobody. Without any, libvirt starts
/// dnsmasq without DHCP, and stops and starts it for the first machine's reservation, which holds up the host for two seconds.
pub(crate) fn render_network(spec: &NetworkSpec) -> Result<String, XmlError> {
    let gateway = gateway(spec.cidr);
    let of_the_host = Element::new("host")
        .attribute("name", GATEWAY_NAME)
        .attribute("ip", gateway);
    let dhcp = spec
        .reservations
        .iter()
        .map(reservation_element)
        .fold(Element::new("dhcp").child(of_the_host), Element::child);
    Element::new("network")
        .child(Element::new("name").text(&spec.name))
        .child(metadata(&spec.owner, None))
        .child(Element::new("forward").attribute("mode", "nat"))
        .child(
            Element::new("bridge")
                .attribute("name", &spec.bridge)
                .attribute("stp", "on")
                .attribute("delay", 0),
        )
        .child(
            Element::new("domain")
                .attribute("name", &spec.dns_domain)
                .attribute("localOnly", "yes"),
        )
        .child(
            Element::new("ip")
                .attribute("address", gateway)
                .attribute("prefix", spec.cidr.prefix_len())
                .child(dhcp),
        )
        .render()
}

/// The host's address in that range: the first.
pub(crate) fn gateway(cidr: Ipv4Net) -> Ipv4Addr {
    cidr.hosts().next().unwrap_or_else(|| cidr.network())
}

/// The XML of one reservation.
pub(crate) fn render_reservation(reservation: &Reservation) -> Result<String, XmlError> {
    reservation_element(reservation).render()
}

fn reservation_element(reservation: &Reservation) -> Element {
    Element::new("host")
        .attribute("mac", &reservation.mac)
        .attribute("name", &reservation.hostname)
        .attribute("ip", reservation.ip)
}

/// Reads the XML of a network, ours or not.
pub(crate) fn parse_network(xml: &str) -> Result<NetworkXml, XmlError> {
    let root = Element::parse(xml)?;
    let ipv4 = root.all("ip").find_map(|ip| Some((ip, range(ip)?)));
    Ok(NetworkXml {
        owner: owner_of(&root).0,
        bridge: root
            .get("bridge")
            .and_then(|bridge| bridge.value("name"))
            .map(str::to_owned),
        cidr: ipv4.map(|(_, range)| range),
        reservations: ipv4.map(|(ip, _)| reservations(ip)).unwrap_or_default(),
    })
}

fn range(ip: &Element) -> Option<Ipv4Net> {
    let address: Ipv4Addr = ip.value("address")?.parse().ok()?;
    let range = match (ip.value("prefix"), ip.value("netmask")) {
        (Some(prefix), _) => Ipv4Net::new(address, prefix.parse().ok()?).ok()?,
        (None, Some(mask)) => Ipv4Net::with_netmask(address, mask.parse().ok()?).ok()?,
        (None, None) => return None,
    };
    Some(range.trunc())
}

/// Reservations that name a card and an address. Others cannot be ours.
fn reservations(ip: &Element) -> Vec<Reservation> {
    let hosts = ip.get("dhcp").into_iter().flat_map(|dhcp| dhcp.all("host"));
    hosts
        .filter_map(|host| {
            Some(Reservation {
                mac: host.value("mac")?.to_ascii_lowercase(),
                ip: host.value("ip")?.parse().ok()?,
                hostname: host.value("name").unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> NetworkSpec {
        NetworkSpec {
            name: "default.demo".to_owned(),
            bridge: "sb-1".to_owned(),
            cidr: "10.64.3.0/24".parse().unwrap(),
            dns_domain: "demo.default.seedbed.test".to_owned(),
            reservations: vec![Reservation {
                mac: "52:54:00:00:00:0a".to_owned(),
                ip: "10.64.3.10".parse().unwrap(),
                hostname: "demo-cp-0".to_owned(),
            }],
            owner: Owner {
                namespace: "default".to_owned(),
                cluster: "demo".to_owned(),
                cluster_uid: "u<1>".to_owned(),
                machine: None,
                machine_uid: None,
            },
        }
    }

    #[test]
    fn the_first_address_is_the_hosts() {
        let xml = render_network(&spec()).unwrap();
        assert!(xml.contains("<ip address='10.64.3.1' prefix='24'>"), "{xml}");
    }

    #[test]
    fn is_read_as_it_was_rendered() {
        let network = parse_network(&render_network(&spec()).unwrap()).unwrap();
        assert_eq!(
            network,
            NetworkXml {
                owner: Some(spec().owner),
                bridge: Some("sb-1".to_owned()),
                cidr: Some(spec().cidr),
                reservations: spec().reservations,
            }
        );
    }

    #[test]
    fn reads_what_others_made() {
        let network = parse_network(
            "<network><name>default</name><bridge name='virbr0'/>
             <ip family='ipv6' address='fd00::1' prefix='64'/>
             <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'/>
             <host mac='52:54:00:AA:00:01' name='x' ip='192.168.122.9'/><host name='y' ip='192.168.122.8'/></dhcp></ip></network>",
        )
        .unwrap();
        assert_eq!(network.owner, None);
        assert_eq!(network.cidr, Some("192.168.122.0/24".parse().unwrap()));
        let macs: Vec<_> = network
            .reservations
            .iter()
            .map(|reservation| reservation.mac.as_str())
            .collect();
        assert_eq!(macs, ["52:54:00:aa:00:01"]);
    }
}
