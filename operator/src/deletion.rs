//! Deleting one object, and never another that took its name.

use std::fmt::Debug;

use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use serde::de::DeserializeOwned;

use crate::errors::status_code;

/// Asks for the deletion of the object with that name and UID; without a UID, of whatever has the name. No error where it is gone
/// already, whether or not another one has its name by now.
pub async fn delete<K>(api: &Api<K>, name: &str, uid: Option<String>) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let only_this_one = DeleteParams {
        preconditions: Some(Preconditions {
            uid: uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(name, &only_this_one).await {
        Ok(_) => Ok(()),
        Err(error) if status_code(&error) == Some(404) => Ok(()),
        // Another one has the name, or somebody wrote to this one at the same moment.
        Err(error) if status_code(&error) == Some(409) => {
            let found = api.get_metadata_opt(name).await?;
            let is_it = found.is_some_and(|found| uid.is_none() || found.metadata.uid == uid);
            if is_it { Err(error) } else { Ok(()) }
        }
        Err(error) => Err(error),
    }
}
