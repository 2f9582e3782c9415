//! Writing an object's status: only where it changed, and only over the version that was read.

use std::fmt::Debug;

use kube::api::PostParams;
use kube::core::object::HasStatus;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::errors::{Error, status_code};

/// Writes `new` as the status of `old` where it differs from the one that `old` has, with the resource version of `old`, and
/// returns the object as it was stored; none where nothing had to be written.
///
/// A status that somebody else wrote since `old` was read is [`Error::Conflict`]; an object that is gone is [`Error::Gone`].
/// In both cases nothing was written.
pub async fn write_status<K>(api: &Api<K>, old: &K, new: K::Status) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + HasStatus + Clone + Debug + Serialize + DeserializeOwned,
    K::Status: PartialEq,
{
    if old.status() == Some(&new) {
        return Ok(None);
    }
    let mut object = old.clone();
    *object.status_mut() = Some(new);
    object.meta_mut().managed_fields = None;
    match api
        .replace_status(&old.name_any(), &PostParams::default(), &object)
        .await
    {
        Ok(stored) => Ok(Some(stored)),
        Err(source) => Err(match status_code(&source) {
            Some(409) => Error::Conflict {
                object: describe(old),
            },
            Some(404) => Error::Gone {
                object: describe(old),
            },
            _ => Error::Api {
                operation: format!("{}: write status", describe(old)),
                source,
            },
        }),
    }
}

/// How people know the object: kind, namespace and name.
pub fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let (kind, name) = (K::kind(&()), object.name_any());
    match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
