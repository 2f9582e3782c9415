//! The one door through which controllers reach the time, chance, tasks, the API, hosts and child clusters.
//!
//! Nothing else in a controller reads a clock, sleeps, spawns or draws a random number, so that a simulator can stand in for
//! all of it.

mod clock;
mod random;
mod settings;
mod tasks;
#[cfg(any(test, feature = "simulated"))]
mod virtual_clock;

use std::sync::Arc;

pub use clock::{Clock, SystemClock};
pub use random::{Randomness, SystemRandomness, jittered};
pub use settings::Settings;
pub use tasks::{Tasks, TokioTasks};
#[cfg(any(test, feature = "simulated"))]
pub use virtual_clock::VirtualClock;

use crate::{
    backoff::Backoff, child::Children, events::EventRecorder, health::Health, hosts::Hosts, metrics::Metrics,
    uploads::Uploads,
};

/// What every reconcile is given.
#[derive(Clone)]
pub struct Context {
    /// Client of the API that the operator's own objects are in.
    pub client: kube::Client,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Randomness>,
    /// Background tasks.
    pub tasks: Arc<dyn Tasks>,
    /// The machines that run virtual machines.
    pub hosts: Arc<dyn Hosts>,
    /// Transfers of release files to hosts.
    pub uploads: Arc<Uploads>,
    /// The APIs of the child clusters.
    pub children: Arc<dyn Children>,
    /// Events about the operator's objects.
    pub events: EventRecorder,
    /// What is told at `/metrics`.
    pub metrics: Arc<Metrics>,
    /// What is told at `/livez` and `/readyz`.
    pub health: Arc<Health>,
    /// How long an object that failed is left alone.
    pub backoff: Arc<Backoff>,
    /// What the operator was started with.
    pub settings: Settings,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
