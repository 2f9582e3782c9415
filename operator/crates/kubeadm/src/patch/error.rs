//! What can be wrong with a patch.

use std::fmt;

use super::{PatchKind, UserPatch};
use crate::config::Document;

/// A patch that was refused: which, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct PatchError {
    /// Place of the patch in the user's list, from 0.
    pub index: usize,
    /// The document that it is for.
    pub target: Document,
    /// How it is written.
    pub kind: PatchKind,
    /// What is wrong with it.
    pub problem: Problem,
}

impl PatchError {
    pub(crate) fn new(index: usize, patch: &UserPatch, problem: Problem) -> Self {
        Self {
            index,
            target: patch.target,
            kind: patch.kind,
            problem,
        }
    }
}

impl std::error::Error for PatchError {}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            target,
            kind,
            problem,
        } = self;
        write!(
            f,
            "kubeadm patches[{index}] ({} of {target}): {problem}",
            kind.name()
        )
    }
}

/// What is wrong with a patch. Paths are JSON pointers into the document.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// It is not YAML, or not of the form that its kind wants.
    #[error("expected {expected}, but reading it failed: {reason}")]
    Unreadable {
        /// The reader's words.
        reason: String,
        /// What the kind wants.
        expected: &'static str,
    },
    /// An operation cannot be carried out.
    #[error(
        "operation {operation} at {path:?} failed: {reason}; compare it with the document as it is without the patch"
    )]
    Operation {
        /// Place of the operation in the patch, from 0.
        operation: usize,
        /// The path that it names.
        path: String,
        /// Why it failed.
        reason: String,
    },
    /// A directive that strategic merge patches have and this one does not, or that stands where it means nothing.
    #[error(
        "at {}: found the directive {found}, expected $patch with delete or replace; write the wanted result instead",
        place(path)
    )]
    Directive {
        /// Where it stands.
        path: String,
        /// What was found.
        found: String,
    },
    /// A list entry without the field by which entries are told apart.
    #[error(
        "at {}: an entry of this list has no {key:?}, by which its entries are told apart; add it",
        place(path)
    )]
    MergeKey {
        /// The list.
        path: String,
        /// The field.
        key: &'static str,
    },
    /// A field that the document does not have.
    #[error(
        "at {}: found the field {field:?}, expected one of {known}; check the spelling and the level of indentation",
        place(path)
    )]
    UnknownField {
        /// The map in which it stands.
        path: String,
        /// The field.
        field: String,
        /// The fields that there are.
        known: String,
    },
    /// A value of the wrong type.
    #[error("at {}: found {found}, expected {expected}", place(path))]
    WrongType {
        /// Where it stands.
        path: String,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A document that a pool has no say in.
    #[error(
        "expected a patch of JoinConfiguration or KubeletConfiguration; the other documents are the cluster's, put it into the DevCluster"
    )]
    NotThePools,
    /// A value that the operator decides.
    #[error(
        "at {}: found {found}, expected {expected}, which is not for a patch to change; {instead}",
        place(path)
    )]
    Owned {
        /// Where it stands.
        path: String,
        /// What the patch made of it.
        found: String,
        /// What the operator had put there.
        expected: String,
        /// What to do instead.
        instead: &'static str,
    },
}

fn place(path: &str) -> &str {
    if path.is_empty() { "the top" } else { path }
}
