//! Deleting one object, and never another that took its name.

use std::fmt::Debug;

use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use serde::de::DeserializeOwned;

use crate::errors::status_code;

/// Asks for the deletion of the object with that name and UID. No error where it is gone already, whether or not another one
/// has its name by now.
pub async fn delete<K>(api: &Api<K>, name: &str, uid: Option<String>) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let only_this_one = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(name, &only_this_one).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(status_code(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(error),
    }
}
