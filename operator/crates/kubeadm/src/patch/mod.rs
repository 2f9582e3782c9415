//! The user's patches to kubeadm's configuration.
//!
//! A patch may change everything but what the operator itself decides (names, addresses, versions, the network, the
//! tokens): a cluster whose documents say something else than its object would be a lie. What may not change is the
//! table in `owned.rs`. The result of every patch to a kubeadm document is checked against the fields that
//! `kubeadm.k8s.io/v1beta4` has, since kubeadm itself only warns of a field that it does not know.

mod error;
mod owned;
mod schema;
mod strategic;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::config::Document;

pub use error::{PatchError, Problem};

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// A part of the document: maps are merged, `null` removes, lists of named entries are merged by name, other lists
    /// are replaced. `$patch: delete` and `$patch: replace` are understood.
    StrategicMerge,
    /// A list of operations (RFC 6902).
    Json6902,
}

impl PatchKind {
    /// The kind's name, as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StrategicMerge => "StrategicMerge",
            Self::Json6902 => "JSON6902",
        }
    }
}

/// A patch as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPatch {
    /// The document that it is for.
    pub target: Document,
    /// How it is written.
    pub kind: PatchKind,
    /// The patch, YAML or JSON.
    pub patch: String,
}

/// Applies one patch. `index` is its place in the user's list, for the error.
pub(crate) fn apply(index: usize, patch: &UserPatch, document: &Value) -> Result<Value, PatchError> {
    let failed = |problem| PatchError::new(index, patch, problem);
    let result = match patch.kind {
        PatchKind::StrategicMerge => {
            let content: Value = read(patch).map_err(failed)?;
            strategic::merge(document, &content).map_err(failed)?
        }
        PatchKind::Json6902 => {
            let operations: Vec<PatchOperation> = read(patch).map_err(failed)?;
            let mut result = document.clone();
            json_patch::patch(&mut result, &operations).map_err(|error| {
                failed(Problem::Operation {
                    operation: error.operation,
                    path: error.path.to_string(),
                    reason: error.kind.to_string(),
                })
            })?;
            result
        }
    };
    schema::check(patch.target, &result).map_err(failed)?;
    owned::check(patch.target, document, &result).map_err(failed)?;
    Ok(result)
}

fn read<T: serde::de::DeserializeOwned>(patch: &UserPatch) -> Result<T, Problem> {
    // A piece of the patch in the message would make it hard to read in a condition, and could be a secret.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(&patch.patch, options).map_err(|error| Problem::Unreadable {
        reason: error.to_string(),
        expected: match patch.kind {
            PatchKind::StrategicMerge => "one YAML or JSON map",
            PatchKind::Json6902 => {
                "one YAML or JSON list of operations, each with op, path and what the op wants"
            }
        },
    })
}
