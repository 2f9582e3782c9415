//! What can go wrong with an instance.

use std::{io, path::PathBuf, time::Duration};

use seedbed_kubeadm::{kubeconfig::RenderError, pki::PkiError};

/// Something that could not be done, with what was found and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read, written or removed.
    #[error("{operation} {}: {source}", path.display())]
    File {
        /// What was being done, such as `read`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A program could not be started.
    #[error("start {program}: {source}; install what is missing with hack/install")]
    Start {
        /// The program.
        program: String,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{purpose}: `{command}` {status}: {output}")]
    Command {
        /// What it was to do.
        purpose: String,
        /// The program with its first arguments.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
    },
    /// A value that was given or found is not what it should be.
    #[error("{what}: found {found}, expected {expected}")]
    Unexpected {
        /// What was looked at.
        what: String,
        /// What was found.
        found: String,
        /// What was expected, and what to do.
        expected: String,
    },
    /// Something did not come about in time.
    #[error("{what} within {} s; last seen: {found}; look into {}", limit.as_secs(), log.display())]
    TimedOut {
        /// What was waited for, as a sentence without an end: `etcd did not answer`.
        what: String,
        /// How long it was waited for.
        limit: Duration,
        /// What was found last.
        found: String,
        /// Where to read on.
        log: PathBuf,
    },
    /// Something is left that should be gone.
    #[error("{what} could not be removed completely; left: {}", left.join(", "))]
    Left {
        /// What was being removed.
        what: String,
        /// What is still there.
        left: Vec<String>,
    },
    /// A key or certificate could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A kubeconfig could not be written.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// The result of something done with an instance.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }

    pub(crate) fn unexpected(
        what: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Unexpected {
            what: what.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}
