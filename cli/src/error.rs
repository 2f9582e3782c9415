//! What can go wrong on the command line.

use std::{io, path::PathBuf};

/// Something that could not be done, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Seed(#[from] seedbed_seed::Error),
    #[error(
        "no checkout of Seedbed found above {} or the working folder (looked for images/versions.env): run this in one",
        program.display()
    )]
    NoCheckout { program: PathBuf },
    #[error("{} has no line `{key}=…`", file.display())]
    NotPinned { file: PathBuf, key: &'static str },
    #[error("run {program}: {source}")]
    Run {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("{what} failed ({status}); its last words are above")]
    Step { what: String, status: String },
    #[error("{what}: found {found}, expected {expected}")]
    Unexpected {
        what: String,
        found: String,
        expected: String,
    },
    #[error("read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{object} cannot go on: {reason}: {message}\nMend the object (kubectl edit {object}), or run `make up` again once the cause is gone"
    )]
    Stalled {
        object: String,
        reason: String,
        message: String,
    },
    #[error("ClusterUpgrade {upgrade} was not approved: {why}")]
    NotApproved { upgrade: String, why: String },
    #[error("the cluster was not Ready within {minutes} min; last seen:\n{last}\nRun `make up` again to go on waiting; the operator's log is {}", log.display())]
    NotReady {
        minutes: u64,
        last: String,
        log: PathBuf,
    },
}
