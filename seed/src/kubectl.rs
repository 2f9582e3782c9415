//! The seed's own kubectl, as its administrator, where the seed can be reached.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    command,
    error::{Error, Result},
    instance::{Instance, Settings},
};

/// Whose fields those are that `up` writes.
const FIELD_MANAGER: &str = "seedbed-up";

/// kubectl for one instance.
#[derive(Clone, Debug)]
pub struct Kubectl {
    instance: Instance,
    settings: Settings,
    program: PathBuf,
}

impl Kubectl {
    /// The kubectl of an instance.
    pub fn of(instance: &Instance, settings: &Settings) -> Self {
        Self {
            instance: instance.clone(),
            settings: settings.clone(),
            program: instance.programs().join("kubectl"),
        }
    }

    /// A command to which a verb and its arguments are to be added.
    pub fn command(&self) -> Command {
        let mut command = self.instance.command(&self.settings, &self.program);
        command.env("KUBECONFIG", self.instance.admin_kubeconfig());
        command.env("KUBECACHEDIR", self.instance.path("kubectl-cache"));
        command
    }

    /// Runs it and gives what it wrote.
    pub fn run(&self, purpose: &str, arguments: &[&str]) -> Result<String> {
        command::run(purpose, self.command().args(arguments))
    }

    /// Runs it with `-o json` and gives what it wrote.
    pub fn json(&self, purpose: &str, arguments: &[&str]) -> Result<Value> {
        let text = command::run(purpose, self.command().args(arguments).args(["-o", "json"]))?;
        parse(purpose, &text)
    }

    /// Applies a manifest (server-side) and says which of its objects changed by that, as `Kind/name`.
    pub fn apply(&self, purpose: &str, manifest: &Manifest) -> Result<Vec<String>> {
        let before = self.versions(purpose, &["get", "--ignore-not-found"], manifest)?;
        let manager = format!("--field-manager={FIELD_MANAGER}");
        let after = self.versions(
            purpose,
            &["apply", "--server-side", "--force-conflicts", &manager],
            manifest,
        )?;
        Ok(after
            .into_iter()
            .filter(|(name, version)| before.get(name) != Some(version))
            .map(|(name, _)| name)
            .collect())
    }

    /// Applies a file as a person would, unless all of its objects are there already: what a person changed in them is
    /// theirs. Returns whether something was missing.
    pub fn create_missing(&self, purpose: &str, file: &Path, objects: usize) -> Result<bool> {
        let manifest = Manifest::Path(file.to_owned());
        if self
            .versions(purpose, &["get", "--ignore-not-found"], &manifest)?
            .len()
            >= objects
        {
            return Ok(false);
        }
        command::run(purpose, self.command().args(["apply", "-f"]).arg(file))?;
        Ok(true)
    }

    /// The objects that a command shows for a manifest, with what tells a changed one from the same.
    fn versions(
        &self,
        purpose: &str,
        arguments: &[&str],
        manifest: &Manifest,
    ) -> Result<BTreeMap<String, String>> {
        let mut command = self.command();
        command.args(arguments).args(["-o", "json"]);
        let text = match manifest {
            Manifest::Path(path) => command::run(purpose, command.arg("-f").arg(path))?,
            Manifest::Kustomization(path) => command::run(purpose, command.arg("-k").arg(path))?,
            Manifest::Text(text) => command::run_with_input(purpose, command.args(["-f", "-"]), text)?,
        };
        if text.trim().is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = parse(purpose, &text)?;
        let objects = found["items"].as_array().cloned().unwrap_or_else(|| vec![found]);
        Ok(objects.iter().map(named_version).collect())
    }
}

/// Objects to apply.
#[derive(Clone, Debug)]
pub enum Manifest {
    /// A file, or a folder of files.
    Path(PathBuf),
    /// A folder with a `kustomization.yaml`.
    Kustomization(PathBuf),
    /// YAML or JSON.
    Text(String),
}

/// A name and what changes when the object as asked for changes: its generation, which writes of its status leave alone,
/// or where its kind has none its resource version.
fn named_version(object: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let name = format!("{}/{}", text(&object["kind"]), text(&metadata["name"]));
    let version = metadata["generation"]
        .as_i64()
        .map(|generation| format!("generation {generation}"));
    let uid = text(&metadata["uid"]);
    (
        name,
        format!(
            "{uid} {}",
            version.unwrap_or_else(|| text(&metadata["resourceVersion"]))
        ),
    )
}

fn parse(purpose: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::unexpected(purpose, error.to_string(), "JSON from kubectl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_the_status_is_no_change_of_what_was_asked_for() {
        let object = |version: &str, generation: Option<i64>| {
            let metadata = serde_json::json!({
                "name": "a", "uid": "u", "resourceVersion": version, "generation": generation,
            });
            named_version(&serde_json::json!({"kind": "Namespace", "metadata": metadata}))
        };
        assert_eq!(object("7", Some(1)), object("8", Some(1)));
        assert_ne!(object("7", Some(1)), object("8", Some(2)));
        assert_ne!(object("7", None), object("8", None));
        assert_eq!(object("7", None).0, "Namespace/a");
    }
}
