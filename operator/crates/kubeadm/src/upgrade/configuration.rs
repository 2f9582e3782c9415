//! kubeadm's `ClusterConfiguration` as the steps of an upgrade change it.

use serde_json::{Value, json};

use crate::document::{self, RenderError};

/// Name of the flag by which a component behaves like an older minor version:
/// <https://github.com/kubernetes/enhancements/tree/master/keps/sig-architecture/4330-compatibility-versions>.
const FLAG: &str = "emulated-version";
/// The components that have it, as the document calls them.
const COMPONENTS: [&str; 3] = ["apiServer", "controllerManager", "scheduler"];

/// A `ClusterConfiguration` that could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It is no YAML.
    #[error(
        "key ClusterConfiguration of ConfigMap kube-system/kubeadm-config cannot be read: {0}; restore it, kubeadm upgrades nothing without it"
    )]
    Unreadable(String),
    /// It could not be written again.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// The document with all components behaving like that minor version (such as `1.35`), or like their own. What else it holds stays.
pub fn emulating(text: &str, minor: Option<&str>) -> Result<String, ConfigurationError> {
    let mut document = read(text)?;
    for component in COMPONENTS {
        if !document[component].is_object() {
            document[component] = json!({});
        }
        let arguments = document[component]["extraArgs"].as_array().cloned();
        let mut arguments = arguments.unwrap_or_default();
        arguments.retain(|argument| argument["name"] != FLAG);
        if let Some(minor) = minor {
            arguments.push(json!({"name": FLAG, "value": minor}));
        }
        match document[component].as_object_mut() {
            Some(fields) if arguments.is_empty() => _ = fields.remove("extraArgs"),
            Some(fields) => _ = fields.insert("extraArgs".to_owned(), arguments.into()),
            None => {}
        }
    }
    Ok(document::value_to_yaml("ClusterConfiguration", &document)?)
}

/// The version in the document, and whether the API server is to emulate an older one.
pub fn version(text: &str) -> Result<(String, bool), ConfigurationError> {
    let document = read(text)?;
    let version = document["kubernetesVersion"].as_str().map(str::to_owned);
    let version =
        version.ok_or_else(|| ConfigurationError::Unreadable("it has no kubernetesVersion".to_owned()))?;
    let arguments = document["apiServer"]["extraArgs"].as_array();
    let emulates = arguments.is_some_and(|all| all.iter().any(|argument| argument["name"] == FLAG));
    Ok((version, emulates))
}

fn read(text: &str) -> Result<Value, ConfigurationError> {
    let document: Value =
        serde_saphyr::from_str(text).map_err(|error| ConfigurationError::Unreadable(error.to_string()))?;
    if !document.is_object() {
        return Err(ConfigurationError::Unreadable("it is no mapping".to_owned()));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "apiServer: {}\ncontrollerManager:\n  extraArgs:\n  - name: allocate-node-cidrs\n    value: \"false\"\nkind: ClusterConfiguration\nkubernetesVersion: v1.35.4\n";

    #[test]
    fn the_version_and_whether_it_emulates_can_be_read() {
        assert_eq!(version(PLAIN).unwrap(), ("v1.35.4".to_owned(), false));
        let with = emulating(PLAIN, Some("1.35")).unwrap();
        assert_eq!(version(&with).unwrap(), ("v1.35.4".to_owned(), true));
        assert!(version("kind: ClusterConfiguration").is_err());
    }

    fn read(text: &str) -> Value {
        super::read(text).unwrap()
    }

    #[test]
    fn every_component_emulates_and_keeps_what_it_had() {
        let document = read(&emulating(PLAIN, Some("1.35")).unwrap());
        for component in COMPONENTS {
            let arguments = document[component]["extraArgs"].as_array().unwrap();
            assert!(
                arguments.contains(&json!({"name": "emulated-version", "value": "1.35"})),
                "{component}"
            );
        }
        assert_eq!(
            document["controllerManager"]["extraArgs"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(document["kubernetesVersion"], "v1.35.4");
    }

    #[test]
    fn nothing_remains_of_it_afterwards() {
        let with = emulating(PLAIN, Some("1.35")).unwrap();
        let without = emulating(&with, None).unwrap();
        assert!(!without.contains("emulated"), "{without}");
        let (mut found, mut plain) = (read(&without), read(PLAIN));
        found["scheduler"].take();
        plain["scheduler"].take();
        assert_eq!(found, plain);
    }

    #[test]
    fn twice_is_as_once_and_another_version_takes_its_place() {
        let once = emulating(PLAIN, Some("1.35")).unwrap();
        assert_eq!(emulating(&once, Some("1.35")).unwrap(), once);
        let other = emulating(&once, Some("1.34")).unwrap();
        assert!(other.contains("1.34") && !other.contains("1.35\""), "{other}");
    }

    #[test]
    fn what_is_no_document_is_told() {
        let error = emulating("[", Some("1.35")).unwrap_err().to_string();
        assert!(error.contains("kube-system/kubeadm-config"), "{error}");
    }
}
