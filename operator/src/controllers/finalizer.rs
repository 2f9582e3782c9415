//! The finalizer that keeps an object until what it stands for is gone from its host.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use seedbed_planner::names::FINALIZER;
use seedbed_planted::planted;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::errors::{Error, status_code};
use crate::status::describe;

/// Whether the object has it.
pub fn is_set(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|f| f == FINALIZER)
}

/// Sets it, if the object is still the version that was read: a finalizer must not be added to an object that goes.
pub async fn add<K>(client: &Client, object: &K) -> Result<K, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    write(client, object, &finalizers).await
}

/// Removes it, which lets the object go. Gone already is no error.
pub async fn remove<K>(client: &Client, object: &K) -> Result<(), Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let finalizers: Vec<String> = object
        .finalizers()
        .iter()
        .filter(|f| *f != FINALIZER)
        .cloned()
        .collect();
    match write(client, object, &finalizers).await {
        Err(Error::Api { source, .. }) if status_code(&source) == Some(404) => Ok(()),
        other => other.map(drop),
    }
}

async fn write<K>(client: &Client, object: &K, finalizers: &[String]) -> Result<K, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let mut patch =
        json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": finalizers}});
    if planted!(WriteSpec) {
        patch["spec"]["paused"] = serde_json::Value::Null;
    }
    api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map_err(|e| Error::api(format!("{}: write finalizers", describe(object)), e))
}
