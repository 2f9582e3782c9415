//! Why something in a guest did not give what was asked.

use std::time::Duration;

use seedbed_hypervisor::Fault;

/// Why something in a guest did not give what was asked. No message holds a command's input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// The host or the agent did not do it. A [`Fault::Refused`] may hold the agent's own words.
    #[error(transparent)]
    Host(#[from] Fault),
    /// The agent's answer is not one of its protocol.
    #[error(
        "{command} in {domain}: the guest agent's answer is not understood: {reason}; check the version of qemu-guest-agent in the guest image"
    )]
    Malformed {
        /// The domain.
        domain: String,
        /// The agent's command.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A short command had not ended when the wait for it was over. It may still end.
    #[error("{what} in {domain} had not ended after {} s; it may still end", limit.as_secs_f32())]
    Unfinished {
        /// The domain.
        domain: String,
        /// What was run.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// A short command failed in the guest.
    #[error("{what} in {domain} failed with exit code {exit_code}: {message}")]
    Failed {
        /// The domain.
        domain: String,
        /// What was run.
        what: String,
        /// Its exit code; 128 and the signal's number where a signal ended it.
        exit_code: i32,
        /// What it wrote to its standard error, the end of it.
        message: String,
    },
    /// What was asked cannot be sent to any guest. Nothing was sent.
    #[error("{what}: found {found}, expected {expected}; nothing was sent to the guest")]
    Invalid {
        /// What is not valid.
        what: String,
        /// What was found.
        found: String,
        /// What is valid.
        expected: String,
    },
}

impl GuestError {
    /// True where the outcome is not known: look again before doing anything else.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Host(fault) => fault.outcome_unknown() || matches!(fault, Fault::AgentSilent { .. }),
            Self::Unfinished { .. } => true,
            Self::Malformed { .. } | Self::Failed { .. } | Self::Invalid { .. } => false,
        }
    }

    /// True where the guest's agent does not answer, as it is while a guest boots.
    pub fn agent_silent(&self) -> bool {
        matches!(self, Self::Host(Fault::AgentSilent { .. }))
    }
}
