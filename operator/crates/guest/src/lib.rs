//! What Seedbed does inside a guest, through its agent alone: no SSH key, no route to it, no password.
//!
//! [`Guest`] speaks the QEMU guest agent's protocol over [`seedbed_hypervisor::Hypervisor::agent`]. Short commands are run by
//! [`Guest::exec`]. Everything that takes longer is a [`Job`]: a systemd unit of its own, named by a token, that neither the
//! operator's death nor the agent's touches, that cannot be started twice, and whose result and log outlive a reboot.

mod agent;
mod archive;
mod error;
mod exec;
mod facts;
mod files;
mod job;
mod log;
mod pause;
pub mod recorded;
#[cfg(feature = "simulated")]
pub mod simulated;
mod start;
mod state;

pub use error::GuestError;
pub use exec::{Exec, Output};
pub use facts::{GuestFacts, GuestInterface};
pub use job::{GuestFile, Job, JobState, Start};
pub use pause::{Pause, TokioPause};

use std::sync::Arc;
use std::time::Duration;

use seedbed_hypervisor::{Hypervisor, Owner};

/// How long one agent command may take before its outcome counts as unknown. An emulated guest that is booting answers within a
/// few seconds.
const REPLY_LIMIT: Duration = Duration::from_secs(15);

/// One guest, reached through its agent.
#[derive(Clone)]
pub struct Guest {
    host: Arc<dyn Hypervisor>,
    domain: String,
    owner: Owner,
    pause: Arc<dyn Pause>,
}

impl Guest {
    /// The guest of that domain. Every call checks on the host that the domain is the owner's.
    pub fn new(
        host: Arc<dyn Hypervisor>,
        domain: impl Into<String>,
        owner: Owner,
        pause: Arc<dyn Pause>,
    ) -> Self {
        Self {
            host,
            domain: domain.into(),
            owner,
            pause,
        }
    }

    /// The domain's name.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}
