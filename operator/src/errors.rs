//! Why a reconcile did not come to its end.

use std::error::Error as StdError;
use std::io;

use seedbed_guest::GuestError;
use seedbed_hypervisor::Fault;

use crate::child::ChildError;

/// Why a reconcile did not come to its end. It is tried again after a growing pause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what was asked.
    #[error("{operation}: {}", api_message(source))]
    Api {
        /// The object and what was asked.
        operation: String,
        /// What the API server, or the connection to it, said.
        #[source]
        source: kube::Error,
    },
    /// Somebody else wrote the object since it was read. Nothing was changed; it is read again.
    #[error("{object}: changed by somebody else since it was read; nothing was written, it is read again")]
    Conflict {
        /// The object.
        object: String,
    },
    /// The object is not there any more.
    #[error("{object}: deleted meanwhile; nothing was written")]
    Gone {
        /// The object.
        object: String,
    },
    /// A host did not do what was asked.
    #[error(transparent)]
    Host(#[from] Fault),
    /// Something in a guest did not give what was asked.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// A child cluster's API did not do what was asked.
    #[error(transparent)]
    Child(ChildError),
    /// The operating system has no randomness to give.
    #[error("{operation}: the operating system gave no random bytes: {source}")]
    Random {
        /// What they were needed for.
        operation: String,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A step of a controller's own failed.
    #[error("{source}")]
    Step {
        /// The kind of step, for metrics: one of a few fixed words.
        category: &'static str,
        /// What was found and what to do.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// The error of a call to the API server: `operation` names the object and what was asked.
    pub fn api(operation: impl Into<String>, source: kube::Error) -> Self {
        let operation = operation.into();
        match status_code(&source) {
            Some(409) => Self::Conflict { object: operation },
            _ => Self::Api { operation, source },
        }
    }

    /// The error of a controller's own step, under one of a few fixed words.
    pub fn step(category: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Step {
            category,
            source: source.into(),
        }
    }

    /// The kind of error, for metrics: one of a few fixed words.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::Conflict { .. } => "conflict",
            Self::Gone { .. } => "gone",
            Self::Host(_) => "host",
            Self::Guest(_) => "guest",
            Self::Child(_) => "child",
            Self::Random { .. } => "random",
            Self::Step { category, .. } => category,
        }
    }

    /// Whether the object only has to be read again: no failure of anything.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Gone { .. })
    }
}

impl From<ChildError> for Error {
    fn from(error: ChildError) -> Self {
        match error {
            ChildError::Conflict { cluster, operation } => Self::Conflict {
                object: format!("cluster {cluster}: {operation}"),
            },
            other => Self::Child(other),
        }
    }
}

/// The HTTP status that the API server answered with; none where no answer came.
pub fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What the API server said, or why nothing was heard of it, in one line and without the debug form of the error.
pub fn api_message(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        let text = if status.message.is_empty() {
            &status.reason
        } else {
            &status.message
        };
        return format!("the API server answered {}: {text}", status.code);
    }
    // What kube says of its own layers ("ServiceError") helps nobody; what the connection said does.
    let (mut message, mut cause) = match error {
        kube::Error::Service(inner) => (inner.to_string(), inner.source()),
        other => (other.to_string(), other.source()),
    };
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = inner.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_connection_speaks_for_itself() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = kube::Error::Service(refused.into());
        assert_eq!(api_message(&error), "connection refused");
    }

    #[test]
    fn a_lost_race_is_a_conflict_and_no_failure() {
        let error = Error::api(
            "DevCluster default/demo: write status",
            kube::Error::Api(
                Status::failure("the object has been modified", "Conflict")
                    .with_code(409)
                    .boxed(),
            ),
        );
        assert_eq!(error.category(), "conflict");
        assert!(error.is_conflict());
    }

    #[test]
    fn the_api_servers_words_are_kept_once() {
        let error = Error::api(
            "DevCluster default/demo: write status",
            kube::Error::Api(
                Status::failure("devclusters is forbidden", "Forbidden")
                    .with_code(403)
                    .boxed(),
            ),
        );
        assert_eq!(
            error.to_string(),
            "DevCluster default/demo: write status: the API server answered 403: devclusters is forbidden"
        );
    }
}
