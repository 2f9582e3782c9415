//! Machines that exist in memory only: they boot, run the operator's jobs as kubeadm would, and form clusters with an API.
//!
//! [`Machines`] are the guests of a simulated host. A control plane's job makes a cluster, whose API is found by the machine's
//! address ([`Machines::api`]) for as long as the machine runs; a worker's job joins it, if its token is the right one. The jobs of
//! upgrades replace what runs, and put it back: the API server is then another process at the same address, of the same objects.
//!
//! What takes time takes the time that [`Timing`] says, by timers of whoever drives the simulation ([`Timers`]). What is not
//! simulated: what kubeadm's configuration says beyond names, addresses, versions, tokens and taints; pods' containers; controllers of the
//! child but its scheduler's choice of a node, and those of disruption budgets and of pods whose node is gone;
//! etcd beyond its pod and what [`Facts`] says of it, its snapshots' content included; what kube-proxy and `CoreDNS` are of; that versions differ in what they serve;
//! the network between machines. Certificates and connections are those of whoever is told of the control planes
//! ([`ControlPlanes`]); without one, the APIs are called in the process.

mod bootstrap;
mod cluster;
mod control_plane;
mod facts;
mod job;
mod layer;
mod machines;
mod node;
mod timing;
mod upgrade;
mod workload;

pub use control_plane::ControlPlanes;
pub use facts::Facts;
pub use machines::{Failure, Machines};
pub use timing::{Timers, Timing};
pub use upgrade::{Leftover, Restored};
