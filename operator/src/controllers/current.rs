//! An object as it is decided on.
//!
//! The cache is enough for most passes, and saves a request for each. It is not where it lags behind what this operator itself wrote: a
//! decision would be made twice; nor where something goes, because what is done then cannot be undone.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::world::World;
use super::{finalizer, owned};
use crate::errors::Error;
use crate::status::describe;

/// The object of that UID as it is now, as far as it matters; none where it is gone.
pub async fn current<K>(world: &World, api: &Api<K>, cached: &K) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let now = world.context.clock.elapsed();
    let at_least = world.versions.get(&owned::uid(cached), now).unwrap_or_default();
    let stays = cached.meta().deletion_timestamp.is_none() && finalizer::is_set(cached);
    if stays && version(cached).is_some_and(|version| version >= at_least) {
        return Ok(Some(cached.clone()));
    }
    let found = api
        .get_opt(&cached.name_any())
        .await
        .map_err(|e| Error::api(describe(cached), e))?;
    Ok(found.filter(|found| found.uid() == cached.uid()))
}

/// Notes that the operator wrote the object: an older one is no ground for a decision any more.
pub fn wrote(world: &World, written: &impl Resource) {
    if let Some(version) = version(written) {
        let uid = written.meta().uid.clone().unwrap_or_default();
        world.versions.put(&uid, version, world.context.clock.elapsed());
    }
}

/// Takes the finalizer off, and notes that the object is gone: whatever the cache still says of it is no ground for a decision.
pub async fn let_go<K>(world: &World, object: &K) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let now = world.context.clock.elapsed();
    world.versions.put(&owned::uid(object), u64::MAX, now);
    finalizer::remove(&world.context.client, object).await
}

/// Notes that a write over this version lost against another one: there is a newer one, whether or not the cache knows.
pub fn lost(world: &World, old: &impl Resource) {
    if let Some(version) = version(old) {
        let uid = old.meta().uid.clone().unwrap_or_default();
        let now = world.context.clock.elapsed();
        world.versions.put(&uid, version.saturating_add(1), now);
    }
}

/// Resource versions of one kind are numbers that grow, which Kubernetes promises since 1.35 and etcd's API servers always kept.
pub fn version(object: &impl Resource) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}
