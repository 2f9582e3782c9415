//! A cluster's Secrets, as far as they are its own: one of the same name that somebody else made is left alone.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use seedbed_crds::DevCluster;

use super::{owned, pki};
use crate::deletion;
use crate::errors::{Error, status_code};

/// Metadata of the cluster's own Secrets that are there.
pub async fn own(client: &Client, cluster: &DevCluster) -> Result<Vec<ObjectMeta>, Error> {
    let api = api(client, cluster);
    let mut own = Vec::new();
    for name in pki::secret_names(&owned::name(cluster)) {
        let found = api
            .get_metadata_opt(&name)
            .await
            .map_err(|e| Error::api(format!("Secret {name}: get"), e))?;
        own.extend(found.filter(|s| is_owned(s, cluster)).map(|s| s.metadata));
    }
    Ok(own)
}

/// Deletes the cluster's own Secrets.
pub async fn delete(client: &Client, cluster: &DevCluster) -> Result<(), Error> {
    let api = api(client, cluster);
    for metadata in own(client, cluster).await? {
        let name = metadata.name.unwrap_or_default();
        deletion::delete(&api, &name, metadata.uid)
            .await
            .map_err(|error| Error::api(format!("Secret {name}: delete"), error))?;
    }
    Ok(())
}

/// Takes the cluster off its Secrets as their owner, so that they stay when it goes.
pub async fn disown(client: &Client, cluster: &DevCluster) -> Result<(), Error> {
    let api = api(client, cluster);
    for name in pki::secret_names(&owned::name(cluster)) {
        let failed = |e| Error::api(format!("Secret {name}: remove the owner"), e);
        let Some(mut secret) = api.get_opt(&name).await.map_err(failed)? else {
            continue;
        };
        if is_owned(&secret, cluster) {
            secret
                .owner_references_mut()
                .retain(|owner| Some(&owner.uid) != cluster.metadata.uid.as_ref());
            // It carries the version that was read: what was changed meanwhile is not written over.
            api.replace(&name, &PostParams::default(), &secret)
                .await
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// Creates the Secret, or writes it over the cluster's own one of that name.
pub async fn write(client: &Client, cluster: &DevCluster, mut secret: Secret) -> Result<(), Error> {
    let api = api(client, cluster);
    let name = secret.name_any();
    let operation = || format!("Secret {name}: write");
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => return Ok(()),
        Err(error) if status_code(&error) == Some(409) => {}
        Err(error) => return Err(Error::api(operation(), error)),
    }
    let found = api.get(&name).await.map_err(|e| Error::api(operation(), e))?;
    if !is_owned(&found, cluster) {
        let message = format!(
            "Secret {name} exists and was not made for this cluster: it is left alone; rename it, or give the cluster another name"
        );
        return Err(Error::step("name", message));
    }
    secret.metadata.resource_version = found.metadata.resource_version;
    api.replace(&name, &PostParams::default(), &secret)
        .await
        .map(drop)
        .map_err(|e| Error::api(operation(), e))
}

fn is_owned(secret: &impl kube::Resource, cluster: &DevCluster) -> bool {
    owned::owner_uid(secret, "DevCluster").is_some_and(|uid| Some(uid) == cluster.metadata.uid.as_deref())
}

fn api(client: &Client, cluster: &DevCluster) -> Api<Secret> {
    Api::namespaced(client.clone(), &owned::namespace(cluster))
}
