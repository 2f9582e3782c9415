//! Whether the CRDs that are installed are those that this operator was built with.
//!
//! The API server drops fields that an installed schema does not have: an operator of a newer schema would write a status and
//! lose parts of it without an error.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::errors::{api_message, status_code};

const REMEDY: &str =
    "install the CRDs of this release of the operator (crds/generated, or the chart of the CRDs)";

/// Why the operator cannot work with the CRDs that are installed.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A CRD is not installed.
    #[error("CRD {crd} is not installed; {REMEDY}")]
    Missing {
        /// The CRD.
        crd: String,
    },
    /// A CRD is installed with another schema.
    #[error(
        "CRD {crd} is not the one that this operator was built with: version {version} differs first at {path}: installed {installed}, built with {compiled}; {REMEDY}"
    )]
    Different {
        /// The CRD.
        crd: String,
        /// The API version.
        version: String,
        /// Where they differ first.
        path: String,
        /// What is installed there.
        installed: String,
        /// What this operator was built with.
        compiled: String,
    },
    /// The operator's identity may not read CRDs.
    #[error(
        "CRD {crd}: {message}; bind the ClusterRole seedbed-operator (config/rbac) to the operator's identity"
    )]
    Forbidden {
        /// The CRD.
        crd: String,
        /// The API server's words.
        message: String,
    },
    /// The API server did not answer, or not to the point. It may do so later.
    #[error("CRD {crd}: {message}")]
    Unreachable {
        /// The CRD.
        crd: String,
        /// What was heard.
        message: String,
    },
}

/// Compares all CRDs that are installed with those that this operator was built with.
pub async fn check(client: &Client) -> Result<(), SchemaError> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for compiled in seedbed_crds::all() {
        let crd = compiled.name_any();
        let installed = api.get(&crd).await.map_err(|error| {
            let message = api_message(&error);
            match status_code(&error) {
                Some(404) => SchemaError::Missing { crd: crd.clone() },
                Some(401 | 403) => SchemaError::Forbidden {
                    crd: crd.clone(),
                    message,
                },
                _ => SchemaError::Unreachable {
                    crd: crd.clone(),
                    message,
                },
            }
        })?;
        compare(&installed, &compiled)?;
    }
    Ok(())
}

fn compare(
    installed: &CustomResourceDefinition,
    compiled: &CustomResourceDefinition,
) -> Result<(), SchemaError> {
    let crd = compiled.name_any();
    for version in &compiled.spec.versions {
        let told = |path: String, installed: String, compiled: String| SchemaError::Different {
            crd: crd.clone(),
            version: version.name.clone(),
            path,
            installed,
            compiled,
        };
        let Some(found) = installed
            .spec
            .versions
            .iter()
            .find(|found| found.name == version.name && found.served)
        else {
            return Err(told(
                "spec.versions".to_owned(),
                "no such version is served".to_owned(),
                version.name.clone(),
            ));
        };
        if let Some((path, found, expected)) = difference("schema", &schema(found), &schema(version)) {
            return Err(told(path, found, expected));
        }
    }
    Ok(())
}

type Version =
    k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;

/// The schema as plain JSON. What cannot be written as JSON is no schema.
fn schema(version: &Version) -> Value {
    serde_json::to_value(&version.schema).unwrap_or_default()
}

/// Where two documents differ first: path, what is there in the one and in the other.
fn difference(path: &str, one: &Value, other: &Value) -> Option<(String, String, String)> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.map(|key| (format!("{path}.{key}"), a.get(key), b.get(key)))
                .find_map(|(path, a, b)| {
                    difference(&path, a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null))
                })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(index, (a, b))| difference(&format!("{path}[{index}]"), a, b)),
        // 1 and 1.0 are the same number.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ if one == other => None,
        _ => Some((path.to_owned(), shown(one), shown(other))),
    }
}

/// A part of a schema for a message.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 80;
    if value.is_null() {
        return "nothing".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devclusters() -> CustomResourceDefinition {
        seedbed_crds::all()
            .into_iter()
            .find(|crd| crd.name_any() == "devclusters.seedbed.dev")
            .unwrap()
    }

    #[test]
    fn the_same_schema_is_accepted() {
        compare(&devclusters(), &devclusters()).unwrap();
    }

    #[test]
    fn an_older_schema_is_refused_and_the_field_is_named() {
        let mut installed = devclusters();
        let schema = installed.spec.versions[0].schema.as_mut().unwrap();
        let properties = schema
            .open_api_v3_schema
            .as_mut()
            .unwrap()
            .properties
            .as_mut()
            .unwrap();
        properties
            .get_mut("spec")
            .unwrap()
            .properties
            .as_mut()
            .unwrap()
            .remove("paused");
        let message = compare(&installed, &devclusters()).unwrap_err().to_string();
        assert!(message.contains("devclusters.seedbed.dev"), "{message}");
        assert!(
            message.contains("properties.spec.properties.paused: installed nothing"),
            "{message}"
        );
        assert!(message.contains("install the CRDs"), "{message}");
    }
}
