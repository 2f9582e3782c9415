//! The machines that run virtual machines: one backend for each `HypervisorHost`.

mod backend;
mod bounded;
mod keeper;
mod measured;

use std::sync::Arc;

use futures::stream::BoxStream;
use seedbed_crds::HypervisorHost;
use seedbed_hypervisor::{EventKind, Hypervisor};

pub use backend::open;
pub use bounded::Bounded;
pub use keeper::HostKeeper;
pub use measured::Measured;

/// Gives the backend of a host.
pub trait Hosts: Send + Sync + 'static {
    /// The backend of the host: the same one for as long as its name and what it is reached by (`spec.libvirt`, `spec.simulated`) stay the same. Where none can be
    /// made, one that answers to every call why.
    fn hypervisor(&self, host: &HypervisorHost) -> Arc<dyn Hypervisor>;

    /// Lets go of the backend of a host that is deleted.
    fn forget(&self, name: &str);

    /// What happens on all hosts from now on.
    fn triggers(&self) -> BoxStream<'static, HostTrigger>;
}

/// Something happened on a host: a reason to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTrigger {
    /// Name of the `HypervisorHost`.
    pub host: String,
    /// The domain it happened to, by its name on the host; none where it concerns the whole host.
    pub domain: Option<String>,
    /// What happened.
    pub kind: EventKind,
}
