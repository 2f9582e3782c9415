//! Which address range a cluster gets and which address a machine gets.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Host numbers below this one are the gateway's and kept free for addresses that are not a machine's (a virtual address of
/// the API server, load balancers).
pub const FIRST_MACHINE: u32 = 10;
/// Size of a node's share of the pod range.
pub const POD_MASK: u8 = 24;
/// Size of a cluster's node range when it is taken from the host's.
pub const NODE_MASK: u8 = 24;

/// True where two ranges share an address.
pub fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

/// The first /24 of the host's range that meets none of the ranges in use; none where all are taken.
pub fn free_range(pool: &Ipv4Net, in_use: &[Ipv4Net]) -> Option<Ipv4Net> {
    pool.subnets(NODE_MASK)
        .ok()?
        .find(|candidate| !in_use.iter().any(|used| overlap(candidate, used)))
}

/// The last host number that a machine of the cluster can have: bounded by the node range (less broadcast) and by how many
/// nodes the pod range has a share for.
pub fn last_machine(node_cidr: &Ipv4Net, pod_cidr: &Ipv4Net) -> u32 {
    let hosts = (1u32 << (32 - u32::from(node_cidr.prefix_len())).min(31)).saturating_sub(2);
    let shares = if pod_cidr.prefix_len() > POD_MASK {
        0
    } else {
        (1u32 << u32::from(POD_MASK - pod_cidr.prefix_len())).saturating_sub(1)
    };
    hosts.min(shares)
}

/// The lowest free host number for a machine; none where all are taken.
pub fn free_number(node_cidr: &Ipv4Net, pod_cidr: &Ipv4Net, taken: &BTreeSet<u32>) -> Option<u32> {
    (FIRST_MACHINE..=last_machine(node_cidr, pod_cidr)).find(|n| !taken.contains(n))
}

/// The address with that host number; none where the range is too small.
pub fn address(node_cidr: &Ipv4Net, number: u32) -> Option<Ipv4Addr> {
    let ip = Ipv4Addr::from(u32::from(node_cidr.network()).checked_add(number)?);
    (node_cidr.contains(&ip) && ip != node_cidr.broadcast()).then_some(ip)
}

/// The address of the host itself on the cluster's network.
pub fn gateway(node_cidr: &Ipv4Net) -> Option<Ipv4Addr> {
    address(node_cidr, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_free_range_is_taken() {
        let pool = net("10.64.0.0/16");
        assert_eq!(free_range(&pool, &[]), Some(net("10.64.0.0/24")));
        assert_eq!(
            free_range(&pool, &[net("10.64.0.0/24"), net("10.64.1.128/25")]),
            Some(net("10.64.2.0/24"))
        );
        assert_eq!(free_range(&pool, &[net("10.0.0.0/8")]), None);
    }

    #[test]
    fn machines_are_bounded_by_both_ranges() {
        assert_eq!(last_machine(&net("10.64.0.0/24"), &net("10.244.0.0/16")), 254);
        assert_eq!(last_machine(&net("10.64.0.0/24"), &net("10.244.0.0/20")), 15);
        assert_eq!(last_machine(&net("10.64.0.0/26"), &net("10.244.0.0/16")), 62);
    }

    proptest! {
        #[test]
        fn a_free_range_meets_nothing_in_use(used in proptest::collection::vec((0u8..=255, 16u8..=28), 0..40)) {
            let pool = net("10.64.0.0/16");
            let used: Vec<Ipv4Net> = used
                .into_iter()
                .map(|(third, mask)| Ipv4Net::new(Ipv4Addr::new(10, 64, third, 0), mask).unwrap().trunc())
                .collect();
            if let Some(free) = free_range(&pool, &used) {
                prop_assert!(pool.contains(&free));
                prop_assert!(used.iter().all(|u| !overlap(u, &free)));
            }
        }

        #[test]
        fn an_address_is_inside_and_unique(prefix in 16u8..=26, numbers in proptest::collection::btree_set(10u32..60, 1..20)) {
            let range = Ipv4Net::new(Ipv4Addr::new(10, 65, 0, 0), prefix).unwrap();
            let all: BTreeSet<_> = numbers.iter().filter_map(|n| address(&range, *n)).collect();
            prop_assert_eq!(all.len(), numbers.len());
            prop_assert!(all.iter().all(|a| range.contains(a)));
        }
    }
}
