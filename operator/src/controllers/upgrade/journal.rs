//! A cluster's journal: the `ConfigMap` that says whose turn it is, and holds a copy of that upgrade's steps.
//!
//! There is one of a name for each cluster, so that no two upgrades of it can be begun. It is written before the status is, and outlives
//! a backup that keeps no status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use seedbed_crds::{ClusterUpgrade, DevCluster, UpgradeStep, UpgradeUndo};
use seedbed_planner::upgrade::Version;
use seedbed_planner::upgrade::saga::Saga;
use serde::{Deserialize, Serialize};

use crate::controllers::owned;
use crate::errors::{Error, status_code};

/// The key that holds it.
const KEY: &str = "upgrade.json";

/// What is kept of an upgrade that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Name of the upgrade.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// UID of the cluster.
    pub cluster_uid: String,
    /// The version of before.
    pub from: String,
    /// The new version.
    pub to: String,
    /// The steps, each with what it is undone by.
    pub steps: Vec<UpgradeStep>,
    /// Why it is undone, if it is.
    pub undo: Option<UpgradeUndo>,
    /// How often a step has changed its state.
    pub transitions: i64,
}

/// Whose turn it is.
#[derive(Debug, Clone)]
pub enum Turn {
    /// Nobody's.
    Free,
    /// That upgrade's, with the journal's version.
    Of(Box<Entry>, Option<String>),
}

impl Entry {
    /// The first one of an upgrade from the one version to the other.
    pub fn new(
        upgrade: &ClusterUpgrade,
        cluster_uid: String,
        versions: (Version, Version),
        saga: Saga,
    ) -> Self {
        Self {
            name: owned::name(upgrade),
            uid: saga.uid,
            cluster_uid,
            from: versions.0.to_string(),
            to: versions.1.to_string(),
            steps: saga.steps,
            undo: saga.undo,
            transitions: saga.transitions,
        }
    }

    /// The steps, as they go on.
    pub fn saga(&self) -> Saga {
        Saga {
            uid: self.uid.clone(),
            steps: self.steps.clone(),
            undo: self.undo.clone(),
            transitions: self.transitions,
        }
    }

    /// The same with these steps.
    pub fn with(&self, saga: &Saga) -> Self {
        Self {
            steps: saga.steps.clone(),
            undo: saga.undo.clone(),
            transitions: saga.transitions,
            ..self.clone()
        }
    }
}

fn name(upgrade: &ClusterUpgrade) -> String {
    of_cluster(&upgrade.spec.cluster_ref.name)
}

fn of_cluster(cluster: &str) -> String {
    format!("{cluster}-upgrade")
}

fn api(client: &Client, upgrade: &ClusterUpgrade) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), &owned::namespace(upgrade))
}

fn described(upgrade: &ClusterUpgrade, what: &str) -> String {
    format!(
        "ConfigMap {}/{}: {what}",
        owned::namespace(upgrade),
        name(upgrade)
    )
}

/// Whether some upgrade has the turn in the cluster, as the API server has it now.
pub async fn has_turn(client: &Client, cluster: &DevCluster) -> Result<bool, Error> {
    let (namespace, name) = (owned::namespace(cluster), of_cluster(&owned::name(cluster)));
    let found = Api::<ConfigMap>::namespaced(client.clone(), &namespace)
        .get_metadata_opt(&name)
        .await
        .map_err(|error| Error::api(format!("ConfigMap {namespace}/{name}: get"), error))?;
    Ok(found.is_some())
}

/// Whose turn it is in the upgrade's cluster.
pub async fn turn(client: &Client, upgrade: &ClusterUpgrade) -> Result<Turn, Error> {
    let found = api(client, upgrade)
        .get_opt(&name(upgrade))
        .await
        .map_err(|error| Error::api(described(upgrade, "get"), error))?;
    let Some(object) = found else {
        return Ok(Turn::Free);
    };
    let text = object.data.as_ref().and_then(|data| data.get(KEY));
    let entry = text
        .ok_or_else(|| format!("key {KEY} is not there"))
        .and_then(|text| serde_json::from_str(text).map_err(|error| error.to_string()))
        .map_err(|why| {
            let what = described(upgrade, &why);
            Error::step("journal", format!("{what}; restore it from a backup, or delete it: it is written anew from the status of the ClusterUpgrade that is under way"))
        })?;
    Ok(Turn::Of(Box::new(entry), object.resource_version()))
}

/// Whether it is the upgrade's turn.
pub async fn is_of(client: &Client, upgrade: &ClusterUpgrade) -> Result<bool, Error> {
    let turn = turn(client, upgrade).await?;
    Ok(matches!(turn, Turn::Of(entry, _) if entry.uid == owned::uid(upgrade)))
}

/// Takes the turn for the upgrade. Somebody else's turn is a conflict.
pub async fn take(client: &Client, upgrade: &ClusterUpgrade, entry: &Entry) -> Result<(), Error> {
    let object = object(upgrade, entry, None)?;
    api(client, upgrade)
        .create(&PostParams::default(), &object)
        .await
        .map_err(|error| Error::api(described(upgrade, "create"), error))?;
    Ok(())
}

/// Writes the entry over that version.
pub async fn replace(
    client: &Client,
    upgrade: &ClusterUpgrade,
    entry: &Entry,
    version: Option<String>,
) -> Result<(), Error> {
    let object = object(upgrade, entry, version)?;
    api(client, upgrade)
        .replace(&name(upgrade), &PostParams::default(), &object)
        .await
        .map_err(|error| Error::api(described(upgrade, "replace"), error))?;
    Ok(())
}

/// Gives the turn back, if it is the upgrade's.
pub async fn give_back(client: &Client, upgrade: &ClusterUpgrade) -> Result<(), Error> {
    let Turn::Of(entry, version) = turn(client, upgrade).await? else {
        return Ok(());
    };
    if entry.uid != owned::uid(upgrade) {
        return Ok(());
    }
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: version,
            uid: None,
        }),
        ..DeleteParams::default()
    };
    match api(client, upgrade).delete(&name(upgrade), &params).await {
        Ok(_) => Ok(()),
        Err(error) if status_code(&error) == Some(404) => Ok(()),
        Err(error) => Err(Error::api(described(upgrade, "delete"), error)),
    }
}

fn object(upgrade: &ClusterUpgrade, entry: &Entry, version: Option<String>) -> Result<ConfigMap, Error> {
    let text = serde_json::to_string_pretty(entry).map_err(|error| Error::step("journal", error))?;
    Ok(ConfigMap {
        metadata: ObjectMeta {
            name: Some(name(upgrade)),
            namespace: Some(owned::namespace(upgrade)),
            labels: Some(owned::labels(&upgrade.spec.cluster_ref.name)),
            owner_references: owned::owner_reference(upgrade).map(|owner| vec![owner]),
            resource_version: version,
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), text)])),
        ..ConfigMap::default()
    })
}
