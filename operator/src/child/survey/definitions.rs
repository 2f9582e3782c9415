//! Custom kinds that are stored in versions that are not served.

use kube::api::{ApiResource, ListParams};
use kube::core::{GroupVersionKind, Object};
use kube::{Api, Client, ResourceExt};
use seedbed_planner::upgrade::preflight::CustomKind;
use serde::{Deserialize, Serialize};

/// What counts of a definition: its schemas, which are most of it, are not kept.
type Definition = Object<Spec, Status>;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Spec {
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Version {
    name: String,
    served: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    stored_versions: Vec<String>,
}

pub(super) async fn unserved(client: &Client) -> Result<Vec<CustomKind>, kube::Error> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions");
    let api = Api::<Definition>::all_with(client.clone(), &resource);
    let mut found = Vec::new();
    super::each(&api, ListParams::default(), |definition| {
        let unserved = unserved_of(&definition);
        if !unserved.is_empty() {
            found.push(CustomKind {
                name: definition.name_any(),
                unserved,
            });
        }
    })
    .await?;
    Ok(found)
}

fn unserved_of(definition: &Definition) -> Vec<String> {
    let is_served = |name: &String| {
        let versions = &definition.spec.versions;
        versions
            .iter()
            .any(|version| version.served && version.name == *name)
    };
    definition
        .status
        .iter()
        .flat_map(|status| &status.stored_versions)
        .filter(|name| !is_served(name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::client;

    #[tokio::test]
    async fn those_that_are_stored_as_what_is_not_served_are_told() {
        let definition = |name: &str, old_is_served: bool| {
            json!({
                "metadata": {"name": name},
                "spec": {"group": "example.com", "versions": [
                    {"name": "v1alpha1", "served": old_is_served, "storage": false, "schema": {}},
                    {"name": "v1", "served": true, "storage": true, "schema": {}},
                ]},
                "status": {"storedVersions": ["v1alpha1", "v1"]},
            })
        };
        let client = client(move |_| {
            let items = [
                definition("widgets.example.com", false),
                definition("gadgets.example.com", true),
            ];
            std::future::ready((200, json!({"metadata": {}, "items": items})))
        });
        let found = unserved(&client).await.unwrap();
        assert_eq!(
            found,
            [CustomKind {
                name: "widgets.example.com".into(),
                unserved: vec!["v1alpha1".into()],
            }]
        );
    }
}
