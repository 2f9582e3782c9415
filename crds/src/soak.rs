//! What an upgrade goes by while its new control plane is watched: the user's own checks, and what was noted when the watch began.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Something that has to hold in the upgraded cluster while it is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.httpGet) != has(self.job)", "a check has either httpGet or job"))]
pub struct UpgradeCheck {
    /// Names the check within its upgrade.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A request that has to be answered with a status from 200 to 399, again and again. One that is not answered so for three minutes
    /// takes the upgrade back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetCheck>,
    /// A Job that has to become Complete. One that fails takes the upgrade back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobCheck>,
}

/// A request to a Service of the cluster, by way of its API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetCheck {
    /// The Service that is asked.
    pub service: CheckedService,
    /// The path, with its query if it has one.
    #[serde(default = "default_path")]
    #[schemars(length(max = 1024), regex(pattern = r"^/[!-~]*$"))]
    pub path: String,
}

fn default_path() -> String {
    "/".to_owned()
}

/// A port of a Service of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckedService {
    /// Its namespace.
    #[serde(default = "default_namespace")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The number of the port, as the Service has it.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken there. The certificate of a server is not verified.
    #[serde(default)]
    pub scheme: HttpScheme,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpScheme {
    /// Plain HTTP.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP over TLS.
    #[serde(rename = "HTTPS")]
    Https,
}

/// A Job that is made in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCheck {
    /// The namespace that it is made in.
    #[serde(default = "default_namespace")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// What it is made of.
    pub template: JobTemplate,
}

/// What a Job is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplate {
    /// Labels and annotations of the Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<JobTemplateMetadata>,
    /// The Job's spec, as in `batch/v1`. `ttlSecondsAfterFinished` has no effect: the Job is there until the upgrade has ended.
    #[schemars(schema_with = "open_object")]
    pub spec: Map<String, Value>,
}

/// Labels and annotations of a Job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplateMetadata {
    /// Labels, beside those by which the operator knows it again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The schema of a Job's spec has some ten thousand lines, and is another one in each release: the child's API server knows its own.
fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// What was noted of the cluster since it is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeWatch {
    /// How often the control plane's containers had restarted when the watch began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<PodRestarts>,
    /// What the API server had answered when the watch began, or nothing, where it was restarted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<RequestCounts>,
    /// The Jobs of checks that were begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<CheckJob>,
}

/// How often containers of a pod have restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodRestarts {
    /// Name of the pod, in namespace kube-system.
    pub pod: String,
    /// How often.
    pub count: i64,
}

/// What an API server has answered since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestCounts {
    /// When its process was started, in seconds since 1970: another process counts anew.
    pub process_started: i64,
    /// How many requests it has answered, those that it only passed on to a Service or a pod left out.
    pub total: i64,
    /// How many of them with an error of its own (5xx).
    pub failed: i64,
}

/// The Job of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckJob {
    /// Name of the check.
    pub check: String,
    /// When it was begun: written down before the Job is made.
    pub begun_at: Time,
    /// Whether the Job became Complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed: bool,
}
