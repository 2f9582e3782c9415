//! Why a child cluster's API did not give what was asked.

use super::ChildKey;
use crate::errors::{api_message, status_code};

/// Why a child cluster's API did not give what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// No answer came. What was asked may have been done all the same, and nothing is known of what is there.
    #[error("cluster {cluster}: {operation}: its API cannot be reached: {message}")]
    Unreachable {
        /// The child cluster.
        cluster: ChildKey,
        /// What was asked.
        operation: String,
        /// What the connection said.
        message: String,
    },
    /// The API server answered that it will not, or cannot now, do it.
    #[error("cluster {cluster}: {operation}: {message}")]
    Refused {
        /// The child cluster.
        cluster: ChildKey,
        /// What was asked.
        operation: String,
        /// The HTTP status of the answer.
        code: u16,
        /// The API server's words.
        message: String,
    },
    /// Somebody else wrote the object since it was read. Nothing was changed; it is read again.
    #[error("cluster {cluster}: {operation}: somebody else wrote at the same moment")]
    Conflict {
        /// The child cluster.
        cluster: ChildKey,
        /// What was asked.
        operation: String,
    },
    /// The access is not one: nothing was sent.
    #[error("cluster {cluster}: {what} cannot be used: {message}; nothing was sent")]
    Unusable {
        /// The child cluster.
        cluster: ChildKey,
        /// Which part of the access.
        what: String,
        /// What is wrong with it.
        message: String,
    },
}

impl ChildError {
    pub(super) fn of(cluster: &ChildKey, operation: impl Into<String>, error: &kube::Error) -> Self {
        let (cluster, operation, message) = (cluster.clone(), operation.into(), api_message(error));
        if matches!(error, kube::Error::Api(status) if status.reason == "Conflict") {
            return Self::Conflict { cluster, operation };
        }
        match status_code(error) {
            // The API server speaks for itself with these; a 5xx comes from one that is not (or not yet) able to.
            Some(code) if code < 500 => Self::Refused {
                cluster,
                operation,
                code,
                message,
            },
            _ => Self::Unreachable {
                cluster,
                operation,
                message,
            },
        }
    }

    /// True where the API server answered that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::errors::Error;

    #[test]
    fn a_node_that_its_kubelet_wrote_meanwhile_is_read_again() {
        let key = ChildKey {
            namespace: "default".into(),
            name: "demo".into(),
        };
        let is_race = |reason| {
            let status = Status::failure("not now", reason).with_code(409).boxed();
            let error = ChildError::of(&key, "label node demo-workers-0", &kube::Error::Api(status));
            Error::from(error).is_conflict()
        };
        assert!(is_race("Conflict"));
        // It is there, and that somebody else made it does not pass.
        assert!(!is_race("AlreadyExists"));
    }
}
