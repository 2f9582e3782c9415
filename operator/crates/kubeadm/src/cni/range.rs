//! Which machine has which pods.

use std::{net::Ipv4Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;

use super::CniError;

/// Prefix length of one node's pod range where nothing else is asked for: 254 pods, more than a kubelet runs.
pub const DEFAULT_NODE_MASK: u8 = 24;

/// The `index`-th range of prefix length `node_mask` in `pod_cidr`, counted from 0. `None` where there is none.
pub fn pod_range(pod_cidr: Ipv4Net, node_mask: u8, index: u32) -> Option<Ipv4Net> {
    if node_mask < pod_cidr.prefix_len() || node_mask > 32 || u64::from(index) >= ranges(pod_cidr, node_mask)
    {
        return None;
    }
    let size = 1_u64 << (32 - node_mask);
    let start = u64::from(u32::from(pod_cidr.network())) + u64::from(index) * size;
    Ipv4Net::new(Ipv4Addr::from(u32::try_from(start).ok()?), node_mask).ok()
}

/// How many addresses after the first of `node_cidr` an address stands. `None` where it is not in there.
pub fn host_index(node_cidr: Ipv4Net, address: Ipv4Addr) -> Option<u32> {
    node_cidr
        .contains(&address)
        .then(|| u32::from(address) - u32::from(node_cidr.network()))
}

fn ranges(pod_cidr: Ipv4Net, node_mask: u8) -> u64 {
    node_mask
        .checked_sub(pod_cidr.prefix_len())
        .map_or(0, |bits| 1 << bits)
}

/// The `Bridge` network of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeNetwork {
    pub(super) pod_cidr: Ipv4Net,
    pub(super) node_cidr: Ipv4Net,
    pub(super) node_mask: u8,
    pub(super) indices: RangeInclusive<u32>,
}

impl BridgeNetwork {
    /// A network in which machines have the given `indices` in `node_cidr` (so without the gateway and what else is
    /// no machine), and each has a range of prefix length `node_mask` for its pods.
    pub fn new(
        pod_cidr: Ipv4Net,
        node_cidr: Ipv4Net,
        node_mask: u8,
        indices: RangeInclusive<u32>,
    ) -> Result<Self, CniError> {
        if node_mask < pod_cidr.prefix_len() || node_mask > 30 {
            return Err(CniError::Mask { pod_cidr, node_mask });
        }
        let needed = u64::from(*indices.end()) + 1;
        let available = ranges(pod_cidr, node_mask);
        if available < needed {
            return Err(CniError::TooSmall {
                pod_cidr,
                node_mask,
                available,
                needed,
            });
        }
        Ok(Self {
            pod_cidr: pod_cidr.trunc(),
            node_cidr: node_cidr.trunc(),
            node_mask,
            indices,
        })
    }

    /// The range of the pods of the machine with this address.
    pub fn pods_of(&self, machine: Ipv4Addr) -> Result<Ipv4Net, CniError> {
        host_index(self.node_cidr, machine)
            .filter(|index| self.indices.contains(index))
            .and_then(|index| pod_range(self.pod_cidr, self.node_mask, index))
            .ok_or(CniError::NotAMachine {
                address: machine,
                node_cidr: self.node_cidr,
                first: *self.indices.start(),
                last: *self.indices.end(),
            })
    }

    /// Every machine that there can be, with the range of its pods.
    pub(super) fn machines(&self) -> impl Iterator<Item = (Ipv4Addr, Ipv4Net)> {
        let first = u32::from(self.node_cidr.network());
        self.indices.clone().filter_map(move |index| {
            let address = Ipv4Addr::from(first.checked_add(index)?);
            let range = pod_range(self.pod_cidr, self.node_mask, index)?;
            self.node_cidr.contains(&address).then_some((address, range))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("10.244.0.0/16", 24, 0, Some("10.244.0.0/24"))]
    #[case("10.244.0.0/16", 24, 12, Some("10.244.12.0/24"))]
    #[case("10.244.0.0/16", 24, 255, Some("10.244.255.0/24"))]
    #[case("10.244.0.0/16", 24, 256, None)]
    #[case("10.244.0.0/20", 26, 63, Some("10.244.15.192/26"))]
    #[case("10.244.7.9/16", 24, 1, Some("10.244.1.0/24"))]
    #[case("0.0.0.0/0", 24, 65536, Some("1.0.0.0/24"))]
    #[case("10.244.0.0/24", 24, 0, Some("10.244.0.0/24"))]
    #[case("10.244.0.0/24", 16, 0, None)]
    #[case("10.244.0.0/24", 33, 0, None)]
    fn the_range_of_an_index(
        #[case] pods: Ipv4Net,
        #[case] mask: u8,
        #[case] index: u32,
        #[case] expected: Option<&str>,
    ) {
        let expected = expected.map(|text| text.parse::<Ipv4Net>().unwrap());
        assert_eq!(pod_range(pods, mask, index), expected);
    }

    proptest! {
        #[test]
        fn ranges_are_inside_and_apart(prefix in 8_u8..=24, extra in 0_u8..=6, a in 0_u32..64, b in 0_u32..64) {
            let pods = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), prefix).unwrap();
            let mask = prefix + extra;
            let (first, second) = (pod_range(pods, mask, a), pod_range(pods, mask, b));
            prop_assert_eq!(first.is_some(), a < 1 << extra);
            if let (Some(first), Some(second)) = (first, second) {
                prop_assert!(pods.contains(&first) && pods.contains(&second));
                prop_assert_eq!(first.contains(&second) || second.contains(&first), a == b);
            }
        }
    }

    #[test]
    fn a_pod_range_too_small_for_the_machines_is_refused() {
        let error = BridgeNetwork::new(
            "10.244.0.0/20".parse().unwrap(),
            "192.168.100.0/24".parse().unwrap(),
            24,
            10..=200,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "pod range 10.244.0.0/20: found 16 ranges of /24 in it, expected at least 201, since machines have the \
             indices up to 200 in the node range; use a larger pod range or a smaller node range"
        );
    }

    #[test]
    fn an_address_that_is_no_machines_is_refused() {
        let network = BridgeNetwork::new(
            "10.244.0.0/16".parse().unwrap(),
            "192.168.100.0/24".parse().unwrap(),
            24,
            10..=200,
        )
        .unwrap();
        assert_eq!(
            network.pods_of([192, 168, 100, 12].into()).unwrap(),
            "10.244.12.0/24".parse().unwrap()
        );
        for address in [[192, 168, 100, 1], [192, 168, 100, 201], [192, 168, 101, 12]] {
            network.pods_of(address.into()).unwrap_err();
        }
    }
}
