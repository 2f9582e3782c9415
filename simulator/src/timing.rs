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
    /// From the beginning of a job that keeps, or forgets, what an upgrade is undone with to its end.
    pub snapshot: Duration,
    /// From the beginning of a job that puts programs on the disk to its end.
    pub preload: Duration,
    /// From the moment when a control plane's configuration is as it shall be to the end of the job that replaces it. The API server
    /// goes after a fifth of it, and is away for [`Timing::api_server`].
    pub control_plane: Duration,
    /// From the beginning of a job that replaces a kubelet to its end.
    pub kubelet: Duration,
    /// From the beginning of a job that replaces kube-proxy and CoreDNS to its end.
    pub addons: Duration,
    /// Between two renewals of a lease by its holder, in steps of five seconds. None: a lease stays as it was taken, which spares a
    /// simulation of many hours nearly all that would happen in it.
    pub renew: Option<Duration>,
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
            snapshot: Duration::from_secs(1),
            preload: Duration::from_secs(3),
            control_plane: Duration::from_secs(20),
            kubelet: Duration::from_secs(4),
            addons: Duration::from_secs(4),
            renew: Some(Duration::from_secs(10)),
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
