//! The `Bridge` network: a bridge per node, and a route to every other node's pods.
//!
//! A machine's pod range follows from its address: the machine with the N-th address of the cluster's node range has
//! the N-th range of the pod range. So every node knows the routes to all machines that the cluster can ever have,
//! and a machine that joins or leaves changes nothing on the others.
//!
//! Pods keep their own address as long as they talk to each other. The bridge plugin's own masquerading knows the
//! node's own range alone and would hide a pod's address from pods of other nodes, so that it is off; an nftables
//! rule masquerades what leaves the cluster's pod range. Frames between nodes stay on the cluster's own bridge on the
//! host, which forwards them whatever their IP addresses; no rule of the host's firewall has to know pod ranges.
//!
//! There is no `NetworkPolicy` in this network.

mod range;
mod render;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub use range::{BridgeNetwork, DEFAULT_NODE_MASK, host_index, pod_range};
pub use render::{CONFLIST, MASQUERADE, ROUTES, UNIT, UNIT_FILE};

/// A network that does not come out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CniError {
    /// The pod range is too small for the machines that the node range can hold.
    #[error("pod range {pod_cidr}: found {available} ranges of /{node_mask} in it, expected at least {needed}, since machines have the indices up to {last} in the node range; use a larger pod range or a smaller node range", last = .needed - 1)]
    TooSmall {
        /// The cluster's pod range.
        pod_cidr: Ipv4Net,
        /// Prefix length of one node's range.
        node_mask: u8,
        /// How many there are.
        available: u64,
        /// How many are needed.
        needed: u64,
    },
    /// A prefix length that cannot be that of a node's pods.
    #[error("pod range {pod_cidr}: found /{node_mask} for one node, expected a prefix length from {} to 30", .pod_cidr.prefix_len())]
    Mask {
        /// The cluster's pod range.
        pod_cidr: Ipv4Net,
        /// Prefix length of one node's range.
        node_mask: u8,
    },
    /// An address that is not a machine's.
    #[error("machine address {address}: expected one with an index from {first} to {last} in {node_cidr}")]
    NotAMachine {
        /// The address.
        address: Ipv4Addr,
        /// The cluster's node range.
        node_cidr: Ipv4Net,
        /// First index that a machine may have.
        first: u32,
        /// Last index that a machine may have.
        last: u32,
    },
}
