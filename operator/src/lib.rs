//! The operator: it makes clusters of virtual machines out of `DevCluster`, `NodePool` and `DevMachine` objects.
//!
//! Decisions are in `seedbed-planner`, documents in `seedbed-kubeadm`, hosts in `seedbed-hypervisor`, guests in `seedbed-guest`.
//! Here is what connects them to the API: controllers, and the [`context`] through which they reach everything.

mod app;
pub mod backoff;
pub mod child;
pub mod client;
pub mod context;
pub mod controllers;
mod deletion;
mod effect;
pub mod errors;
pub mod events;
pub mod health;
pub mod hosts;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod reconcile;
pub mod render;
mod schema;
mod server;
pub mod source;
pub mod status;
mod telemetry;
#[cfg(test)]
mod testing;
mod triggers;
pub mod uploads;

pub use app::{Args, Stop, lead, run};
