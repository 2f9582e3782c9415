//! Why a call to a host did not give what was asked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a call to a host did not give what was asked. Only [`Fault::Refused`], [`Fault::Conflict`], [`Fault::NotFound`],
/// [`Fault::Unsupported`] and [`Fault::Source`] are the host's (or the source's) own word; after the others the outcome is
/// unknown and has to be observed before anything else is done.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The host cannot be reached, or the connection was lost during the call.
    #[error("{operation}: the host is not reachable: {message}")]
    Unavailable {
        /// What was asked.
        operation: String,
        /// What the connection said.
        message: String,
    },
    /// No answer came within the limit. The effect may or may not have happened, or may still happen.
    #[error("{operation}: no answer within {} s", limit.as_secs_f32())]
    TimedOut {
        /// What was asked.
        operation: String,
        /// How long was waited.
        limit: Duration,
    },
    /// Nothing was sent: what was asked before has no answer yet.
    #[error("{operation}: {message}")]
    Busy {
        /// What was asked.
        operation: String,
        /// What is waited for.
        message: String,
    },
    /// The host says that the thing to act on does not exist.
    #[error("{operation}: {what} does not exist on the host")]
    NotFound {
        /// What was asked.
        operation: String,
        /// The thing that is not there.
        what: String,
    },
    /// Something of that name exists and is not ours, or is not as we made it. Nothing was changed.
    #[error(
        "{operation}: {what} exists and is not this object's: found {found}, expected {expected}; nothing was changed"
    )]
    Conflict {
        /// What was asked.
        operation: String,
        /// The thing of that name.
        what: String,
        /// Whose or what it is.
        found: String,
        /// Whose or what it should be.
        expected: String,
    },
    /// This backend cannot do that at all.
    #[error("{operation} is not supported by this host")]
    Unsupported {
        /// What was asked.
        operation: String,
    },
    /// The guest's agent does not answer (not running yet, or stopped).
    #[error("{operation}: the guest agent of {domain} does not answer: {message}")]
    AgentSilent {
        /// What was asked.
        operation: String,
        /// The domain's name.
        domain: String,
        /// What the host said.
        message: String,
    },
    /// The host answered that it will not do it.
    #[error("{operation}: the host refused: {message}")]
    Refused {
        /// What was asked.
        operation: String,
        /// The host's words.
        message: String,
    },
    /// The bytes to upload could not be read, or are not those that were promised.
    #[error("{operation}: {message}")]
    Source {
        /// What was asked.
        operation: String,
        /// What is wrong with the source: found, expected, what to do.
        message: String,
    },
}

/// Why a call was not sent.
pub const CALLS_WAIT: &str = "other calls wait for this host already; nothing was sent";

impl Fault {
    /// True where the outcome of the call is not known: observe before acting again.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut { .. })
    }

    /// What it says of the host, whatever was asked of it; none where the outcome is known.
    pub fn of_host(&self) -> Option<String> {
        let (Self::Unavailable { operation, .. } | Self::TimedOut { operation, .. }) = self else {
            return None;
        };
        let told = self.to_string();
        Some(
            told.strip_prefix(&format!("{operation}: "))
                .unwrap_or(&told)
                .to_owned(),
        )
    }

    /// True where the host as a whole, not the one object, was out of reach.
    pub fn host_unreachable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
