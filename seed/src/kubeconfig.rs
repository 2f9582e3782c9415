//! The kubeconfigs that a person uses: one context for the seed and one for each child cluster.

use std::{fs, io, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    credentials::{self, SEED_CONTEXT},
    error::{Error, Result},
    files,
    instance::{Instance, Settings},
    kubectl::Kubectl,
};

/// A child cluster's kubeconfig, as the operator left it in its Secret.
#[derive(Clone, Debug)]
pub struct Child {
    /// `<namespace>-<cluster>`.
    pub context: String,
    content: Value,
}

/// What to do with the current context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Current<'a> {
    /// Leave it, unless it is gone.
    Keep,
    /// Set it.
    Set(&'a str),
    /// Set it where this context is new; leave it where the person has seen this context before.
    New(&'a str),
}

/// Writes both kubeconfigs anew from the seed and the clusters that it has now. Returns the names of the contexts.
pub fn refresh(instance: &Instance, settings: &Settings, current: Current) -> Result<Vec<String>> {
    let children = children(&Kubectl::of(instance, settings))?;
    write(instance, settings, &children, current)
}

/// The kubeconfigs of all child clusters that have one.
fn children(kubectl: &Kubectl) -> Result<Vec<Child>> {
    let purpose = "read the clusters' kubeconfigs";
    let clusters = match kubectl.json(purpose, &["get", "devclusters.seedbed.dev", "--all-namespaces"]) {
        Ok(clusters) => clusters,
        // Before its CRDs are there, a seed has no clusters.
        Err(Error::Command { output, .. }) if output.contains("the server doesn't have a resource type") => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut children = Vec::new();
    for cluster in clusters["items"].as_array().into_iter().flatten() {
        let metadata = &cluster["metadata"];
        let (Some(namespace), Some(name)) = (metadata["namespace"].as_str(), metadata["name"].as_str())
        else {
            continue;
        };
        let secret = format!("{name}-kubeconfig");
        let arguments = [
            "get",
            "secret",
            &secret,
            "--namespace",
            namespace,
            "--ignore-not-found",
        ];
        let found = kubectl.run(
            purpose,
            &[&arguments[..], &["-o", "jsonpath={.data.value}"]].concat(),
        )?;
        if !found.is_empty() {
            children.push(child(namespace, name, &found)?);
        }
    }
    Ok(children)
}

fn child(namespace: &str, name: &str, encoded: &str) -> Result<Child> {
    let bad = |found: String| {
        let what = format!("the Secret {namespace}/{name}-kubeconfig, key `value`");
        Error::unexpected(
            what,
            found,
            "a kubeconfig; delete the Secret to have it made anew",
        )
    };
    let text = STANDARD.decode(encoded).map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|error| bad(error.to_string()))?;
    // The parser's message could quote from the text, which is a secret.
    let content = serde_saphyr::from_str(&text).map_err(|_| bad("a text that is not YAML".to_owned()))?;
    Ok(Child {
        context: format!("{namespace}-{name}"),
        content,
    })
}

fn write(
    instance: &Instance,
    settings: &Settings,
    children: &[Child],
    current: Current,
) -> Result<Vec<String>> {
    let mut contexts = Vec::new();
    for (path, outside) in [
        (instance.inside_kubeconfig(), false),
        (instance.kubeconfig(), true),
    ] {
        let seed = credentials::seed_kubeconfig(instance, settings, outside)?;
        let seed = serde_saphyr::from_str(&seed).map_err(|error| yaml(&path, &error.to_string()))?;
        let proxy = credentials::proxy_url(settings).filter(|_| outside);
        let merged = merge(
            &seed,
            children,
            proxy.as_deref(),
            present(&path)?.as_ref(),
            current,
        );
        let text = serde_saphyr::to_string(&merged).map_err(|error| yaml(&path, &error.to_string()))?;
        files::write(&path, text.as_bytes(), files::SECRET)?;
        contexts = names(&merged["contexts"]);
    }
    hand_over(&instance.kubeconfig())?;
    Ok(contexts)
}

/// Gives the file to who called sudo.
fn hand_over(path: &Path) -> Result<()> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let (Some(user), Some(group)) = (number("SUDO_UID"), number("SUDO_GID")) {
        std::os::unix::fs::chown(path, Some(user), Some(group)).map_err(Error::file("hand over", path))?;
    }
    Ok(())
}

fn yaml(path: &Path, found: &str) -> Error {
    Error::unexpected(
        path.display().to_string(),
        found,
        "YAML; remove the file to have it made anew",
    )
}

/// The kubeconfig that is there now; what a person broke is not worth keeping.
fn present(path: &Path) -> Result<Option<Value>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(serde_saphyr::from_str(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// One kubeconfig of all. A person's choice of context, and of a namespace in it, outlasts it.
fn merge(
    seed: &Value,
    children: &[Child],
    proxy: Option<&str>,
    present: Option<&Value>,
    current: Current,
) -> Value {
    let mut clusters = entries(&seed["clusters"]);
    let mut users = entries(&seed["users"]);
    let mut contexts = entries(&seed["contexts"]);
    for child in children {
        let name = &child.context;
        let mut cluster = child.content["clusters"][0]["cluster"].clone();
        if let Some(proxy) = proxy {
            cluster["proxy-url"] = json!(proxy);
        }
        clusters.push(json!({"name": name, "cluster": cluster}));
        users.push(json!({"name": name, "user": child.content["users"][0]["user"]}));
        contexts.push(json!({"name": name, "context": {"cluster": name, "user": name}}));
    }
    for context in &mut contexts {
        if let Some(namespace) = present.and_then(|present| namespace_of(present, &context["name"])) {
            context["context"]["namespace"] = namespace;
        }
    }
    let known = |name: &&str| contexts.iter().any(|context| context["name"] == **name);
    let wanted = match current {
        Current::Set(name) => Some(name),
        Current::New(name) if !present.is_some_and(|present| has_context(present, name)) => Some(name),
        _ => present.and_then(|present| present["current-context"].as_str()),
    };
    let current = wanted.filter(known).unwrap_or(SEED_CONTEXT).to_owned();
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": users,
        "contexts": contexts,
        "current-context": current,
    })
}

fn has_context(kubeconfig: &Value, name: &str) -> bool {
    names(&kubeconfig["contexts"]).iter().any(|found| found == name)
}

fn namespace_of(kubeconfig: &Value, context: &Value) -> Option<Value> {
    let contexts = kubeconfig["contexts"].as_array()?;
    let found = contexts.iter().find(|found| found["name"] == *context)?;
    found["context"].get("namespace").cloned()
}

fn entries(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

fn names(list: &Value) -> Vec<String> {
    entries(list)
        .iter()
        .filter_map(|entry| entry["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> Value {
        json!({
            "clusters": [{"name": "seed", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "seed-admin", "user": {}}],
            "contexts": [{"name": "seed", "context": {"cluster": "seed", "user": "seed-admin"}}],
        })
    }

    fn demo() -> Child {
        let text = "clusters: [{name: x, cluster: {server: 'https://10.64.0.2:6443'}}]\nusers: [{name: y, user: {token: t}}]";
        child("default", "demo", &STANDARD.encode(text)).unwrap()
    }

    #[test]
    fn each_cluster_gets_a_context_and_the_proxy() {
        let merged = merge(
            &seed(),
            &[demo()],
            Some("http://127.0.0.1:9"),
            None,
            Current::New("default-demo"),
        );
        assert_eq!(names(&merged["contexts"]), ["seed", "default-demo"]);
        assert_eq!(merged["current-context"], "default-demo");
        assert_eq!(
            merged["clusters"][1]["cluster"]["proxy-url"],
            "http://127.0.0.1:9"
        );
        assert_eq!(
            merged["clusters"][1]["cluster"]["server"],
            "https://10.64.0.2:6443"
        );
        assert_eq!(merged["users"][1]["user"]["token"], "t");
        let inside = merge(&seed(), &[demo()], None, None, Current::Keep);
        assert!(inside["clusters"][1]["cluster"].get("proxy-url").is_none());
    }

    #[test]
    fn a_persons_choice_stays_while_it_can() {
        let mut present = merge(&seed(), &[demo()], None, None, Current::New("default-demo"));
        present["contexts"][1]["context"]["namespace"] = json!("shop");
        let kept = merge(&seed(), &[demo()], None, Some(&present), Current::Keep);
        assert_eq!(kept["current-context"], "default-demo");
        assert_eq!(kept["contexts"][1]["context"]["namespace"], "shop");
        present["current-context"] = json!("seed");
        let again = merge(
            &seed(),
            &[demo()],
            None,
            Some(&present),
            Current::New("default-demo"),
        );
        assert_eq!(again["current-context"], "seed", "chosen by the person");
        present["current-context"] = json!("default-demo");
        let set = merge(
            &seed(),
            &[demo()],
            None,
            Some(&present),
            Current::Set("default-demo"),
        );
        assert_eq!(set["current-context"], "default-demo");
        let gone = merge(&seed(), &[], None, Some(&present), Current::Keep);
        assert_eq!(gone["current-context"], "seed");
    }

    #[test]
    fn a_damaged_secret_is_named_without_its_content() {
        let error = child("default", "demo", &STANDARD.encode("{token: hunter2"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("default/demo-kubeconfig") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
