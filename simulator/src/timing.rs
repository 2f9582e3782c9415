//! How long things take, and who says when they are over.

use std::time::Duration;

use jiff::Timestamp;

/// How long things take in simulated machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// From power to the agent's first answer.
    pub boot: Duration,
    /// From the beginning of a control plane's job, or from a later boot, to an API that answers.
    pub api_server: Duration,
    /// From an API that answers to the end of the control plane's job.
    pub init: Duration,
    /// From the beginning of a worker's job, or from an API that lets it in, to the job's end.
    pub join: Duration,
    /// From a node's registration to its being Ready.
    pub node_ready: Duration,
    /// From a node's loss of power to its being told as not Ready, if its API answers then.
    pub node_monitor_grace: Duration,
    /// From the end of the control plane's job to CoreDNS's being available.
    pub dns: Duration,
    /// How long a worker's job tries to join before it fails.
    pub join_limit: Duration,
}

impl Default for Timing {
    /// About what a host with KVM takes.
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(4),
            api_server: Duration::from_secs(6),
            init: Duration::from_secs(5),
            join: Duration::from_secs(4),
            node_ready: Duration::from_secs(3),
            node_monitor_grace: Duration::from_secs(50),
            dns: Duration::from_secs(5),
            join_limit: Duration::from_mins(15),
        }
    }
}

/// The time, and what is to be done later.
pub trait Timers: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Does the work once that much time went by.
    fn after(&self, delay: Duration, work: Box<dyn FnOnce() + Send>);
}
