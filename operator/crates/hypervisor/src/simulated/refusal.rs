//! Why the host did not do something.

use std::fmt::Display;

use crate::{Fault, Owner};

/// Why the host did not do something; who called adds what was asked.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What is to be acted on is not there.
    NotFound(String),
    /// It is there, and is not the caller's, or not as the caller made it.
    Conflict {
        what: String,
        found: String,
        expected: String,
    },
    /// The host does not do it.
    Refused(String),
    /// The host cannot do such a thing.
    Unsupported,
    /// The bytes to upload are not there, or not those that were promised.
    Source(String),
}

impl Refusal {
    pub(super) fn conflict(what: String, found: String, expected: &dyn Display) -> Self {
        Self::Conflict {
            what,
            found,
            expected: expected.to_string(),
        }
    }

    /// Somebody else's, as its metadata say.
    pub(super) fn foreign(what: String, found: Option<&Owner>, expected: &Owner) -> Self {
        let found = found.map_or_else(|| "one without our metadata".to_owned(), ToString::to_string);
        Self::conflict(what, found, expected)
    }

    pub(super) fn of(self, operation: String) -> Fault {
        match self {
            Self::NotFound(what) => Fault::NotFound { operation, what },
            Self::Conflict {
                what,
                found,
                expected,
            } => Fault::Conflict {
                operation,
                what,
                found,
                expected,
            },
            Self::Refused(message) => Fault::Refused { operation, message },
            Self::Unsupported => Fault::Unsupported { operation },
            Self::Source(message) => Fault::Source { operation, message },
        }
    }
}
