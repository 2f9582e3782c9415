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
