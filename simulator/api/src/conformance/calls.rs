//! Requests, and what of their answers is compared.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request};
use http_body_util::{BodyExt, Collected};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// How long an event of a watch may take.
const LIMIT: Duration = Duration::from_secs(20);

/// An answer, without what differs from run to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was asked, with its number where the same is asked more than once.
    pub request: String,
    code: u16,
    /// A line for each document: one, or as many as there were events.
    body: Vec<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.request, self.code)?;
        self.body.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// Asks an API server, and keeps what it answers.
///
/// Left out of every answer, because no server has them alike:
/// - `managedFields`: the server in memory does not keep who wrote which field;
/// - fields of `spec` and `status` that no request had: they are defaults of a schema;
/// - a cause that is told twice, and the oldest resourceVersion that is known;
/// - the `resourceVersion` of a list or bookmark: others write meanwhile;
/// - times: that there is one is compared.
///
/// UIDs and resourceVersions are numbered in the order in which they are seen first. A resourceVersion that is not larger than all
/// those before it is marked.
pub struct Calls {
    client: Client,
    forget: Option<Box<dyn Fn() + Send + Sync>>,
    namespace: String,
    sent: Value,
    uids: BTreeMap<String, usize>,
    versions: BTreeMap<u64, usize>,
    answers: Vec<Answer>,
    last: Value,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    path: String,
    accept: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Ask {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            accept: "application/json",
            content_type: "application/json",
            body: Vec::new(),
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>, body: &Value) -> Self {
        Self::new(Method::POST, path).with(body)
    }

    pub(super) fn put(path: impl Into<String>, body: &Value) -> Self {
        Self::new(Method::PUT, path).with(body)
    }

    pub(super) fn merge(path: impl Into<String>, body: &Value) -> Self {
        Self {
            content_type: "application/merge-patch+json",
            ..Self::new(Method::PATCH, path).with(body)
        }
    }

    pub(super) fn apply(path: impl Into<String>, body: &Value) -> Self {
        Self {
            content_type: "application/apply-patch+yaml",
            ..Self::new(Method::PATCH, path).with(body)
        }
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(super) fn with(self, body: &Value) -> Self {
        self.with_text(&body.to_string())
    }

    pub(super) fn with_text(self, body: &str) -> Self {
        Self {
            body: body.as_bytes().to_vec(),
            ..self
        }
    }

    pub(super) fn metadata(self) -> Self {
        Self {
            accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            ..self
        }
    }

    pub(super) fn metadata_list(self) -> Self {
        Self {
            accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            ..self
        }
    }
}

impl Calls {
    pub(super) fn new(client: Client, namespace: &str, forget: Option<Box<dyn Fn() + Send + Sync>>) -> Self {
        Self {
            client,
            forget,
            namespace: namespace.to_owned(),
            sent: json!({"spec": {}, "status": {}}),
            uids: BTreeMap::new(),
            versions: BTreeMap::new(),
            answers: Vec::new(),
            last: Value::Null,
        }
    }

    pub(super) fn answers(self) -> Vec<Answer> {
        self.answers
    }

    /// Path of something in the case's namespace, such as `v1 configmaps/a` or `apps/v1 deployments`; one that begins with a slash
    /// is taken as it is.
    fn path(&self, path: &str) -> String {
        match path.split_once(' ') {
            None => path.to_owned(),
            Some(("v1", rest)) => format!("/api/v1/namespaces/{}/{rest}", self.namespace),
            Some((group, rest)) => format!("/apis/{group}/namespaces/{}/{rest}", self.namespace),
        }
    }

    /// The server forgets what happened so far, if it does not know when it began: a real one did not see its own first writes.
    pub(super) fn forget(&self) {
        if let Some(forget) = &self.forget {
            forget();
        }
    }

    /// Asks without keeping the answer: to prepare something, or to clear it away.
    pub(super) async fn quietly(&mut self, ask: Ask) {
        let (_, body) = self.send(&ask).await;
        let bytes = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(uid) = value["metadata"]["uid"].as_str() {
            self.know(uid);
        }
    }

    /// Asks, keeps the answer and returns it as it came.
    pub(super) async fn ask(&mut self, ask: Ask) -> Value {
        if let Ok(body) = serde_json::from_slice::<Value>(&ask.body) {
            for part in ["spec", "status"] {
                if body[part].is_object() {
                    json_patch::merge(&mut self.sent[part], &body[part]);
                }
            }
        }
        let (code, body) = self.send(&ask).await;
        let bytes = body
            .collect()
            .await
            .map(|b| b.to_bytes().to_vec())
            .unwrap_or_default();
        let (line, value) = match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => (self.shown(value.clone()).to_string(), value),
            Err(_) => (String::from_utf8_lossy(&bytes).trim().to_owned(), Value::Null),
        };
        self.keep(&ask, code, vec![line]);
        self.last = value;
        self.last.clone()
    }

    /// Watches until so many events came, and keeps them. What a watch tells at once of a failure is kept as well.
    pub(super) async fn watch(&mut self, ask: Ask, events: usize) {
        let (code, body) = self.send(&ask).await;
        let mut lines = Vec::new();
        let mut text = Vec::new();
        let mut data = body.into_data_stream();
        while lines.len() < events {
            let Ok(Some(Ok(bytes))) = tokio::time::timeout(LIMIT, data.next()).await else {
                lines.push("no more events".to_owned());
                break;
            };
            text.extend_from_slice(&bytes);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line).unwrap_or_default();
                if event["type"] == "BOOKMARK" {
                    event["object"]["metadata"]["resourceVersion"] = "any".into();
                }
                let object = self.shown(event["object"].take());
                event["object"] = object;
                lines.push(event.to_string());
            }
        }
        self.keep(&ask, code, lines);
    }

    /// The resourceVersion of the latest answer.
    pub(super) fn version(&self) -> String {
        self.last["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The UID of the latest answer.
    pub(super) fn uid(&self) -> String {
        self.last["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    async fn send(&self, ask: &Ask) -> (u16, Body) {
        let request = Request::builder()
            .method(&ask.method)
            .uri(self.path(&ask.path))
            .header(http::header::ACCEPT, ask.accept)
            .header(http::header::CONTENT_TYPE, ask.content_type)
            .body(Body::from(ask.body.clone()));
        let Ok(request) = request else {
            return (0, Body::from(b"not a request".to_vec()));
        };
        match self.client.send(request).await {
            Ok(response) => (response.status().as_u16(), response.into_body()),
            Err(error) => (0, Body::from(error.to_string().into_bytes())),
        }
    }

    fn keep(&mut self, ask: &Ask, code: u16, body: Vec<String>) {
        let kind = match ask.content_type {
            "application/merge-patch+json" => " (merge)",
            "application/apply-patch+yaml" => " (apply)",
            _ => "",
        };
        let what = self.replaced(format!("{} {}{kind}", ask.method, ask.path));
        let again = self
            .answers
            .iter()
            .filter(|a| a.request.split(" #").next() == Some(&what))
            .count();
        let request = if again == 0 {
            what
        } else {
            format!("{what} #{}", again + 1)
        };
        self.answers.push(Answer { request, code, body });
    }

    /// The document without what differs from run to run.
    fn shown(&mut self, mut value: Value) -> Value {
        if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) {
            if let Some(items) = value["items"].as_array_mut() {
                let items = std::mem::take(items);
                let items: Vec<Value> = items.into_iter().map(|item| self.shown(item)).collect();
                value["items"] = items.into();
            }
            value["metadata"]["resourceVersion"] = "any".into();
            if let Some(metadata) = value["metadata"].as_object_mut() {
                metadata.retain(|name, field| name != "continue" || *field != "");
            }
            return value;
        }
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            for time in ["creationTimestamp", "deletionTimestamp"] {
                if metadata.get(time).is_some_and(|t| !t.is_null()) {
                    metadata.insert(time.to_owned(), "a time".into());
                }
            }
            if let Some(uid) = metadata.get("uid").and_then(Value::as_str) {
                self.know(uid);
            }
            let version = metadata
                .get("resourceVersion")
                .and_then(Value::as_str)
                .and_then(|v| v.parse().ok());
            if let Some(version) = version {
                let text = self.numbered(version);
                metadata.insert("resourceVersion".to_owned(), text.into());
            }
        }
        if let Some(causes) = value.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
            causes.dedup();
        }
        if value["reason"] == "Expired"
            && let Some((words, _)) = value["message"].as_str().and_then(|text| text.split_once(" ("))
        {
            value["message"] = words.into();
        }
        if value["kind"] != "Status"
            && let Some(fields) = value.as_object_mut()
        {
            for part in ["spec", "status"] {
                let Some(found) = fields.get_mut(part) else {
                    continue;
                };
                prune(found, &self.sent[part]);
                if found.as_object().is_some_and(serde_json::Map::is_empty) {
                    fields.remove(part);
                }
            }
        }
        let text = self.replaced(value.to_string());
        serde_json::from_str(&text).unwrap_or(value)
    }

    fn know(&mut self, uid: &str) {
        let next = self.uids.len() + 1;
        self.uids.entry(uid.to_owned()).or_insert(next);
    }

    fn numbered(&mut self, version: u64) -> String {
        if let Some(known) = self.versions.get(&version) {
            return format!("version {known}");
        }
        let grows = self
            .versions
            .keys()
            .next_back()
            .is_none_or(|last| *last < version);
        let next = self.versions.len() + 1;
        self.versions.insert(version, next);
        if grows {
            format!("version {next}")
        } else {
            format!("version {next}, which is older")
        }
    }

    fn replaced(&self, mut text: String) -> String {
        for (uid, number) in &self.uids {
            text = text.replace(uid, &format!("uid-{number}"));
        }
        for (version, number) in &self.versions {
            text = text.replace(
                &format!("resourceVersion={version}"),
                &format!("resourceVersion=version-{number}"),
            );
            text = text.replace(&format!("({version})"), &format!("(version-{number})"));
        }
        text
    }
}

/// Takes out what the model does not have.
fn prune(value: &mut Value, model: &Value) {
    if let (Some(fields), Some(known)) = (value.as_object_mut(), model.as_object()) {
        fields.retain(|name, _| known.contains_key(name));
        for (name, field) in fields {
            prune(field, &known[name]);
        }
    } else if let (Some(items), Some(known)) = (value.as_array_mut(), model.as_array()) {
        for (item, model) in items.iter_mut().zip(known) {
            prune(item, model);
        }
    }
}
