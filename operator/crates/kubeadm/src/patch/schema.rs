//! The fields of kubeadm's documents (`kubeadm.k8s.io/v1beta4`), to find those that a patch misspelt.
//!
//! The kubelet's and kube-proxy's documents are not in here: they gain fields with every release.

use serde_json::Value;

use super::Problem;
use crate::config::Document;

/// What may stand in a place of a document.
enum Shape {
    Text,
    Duration,
    Flag,
    Number,
    List(&'static Shape),
    /// A map with names of the user's.
    MapOf(&'static Shape),
    Object(&'static [(&'static str, Shape)]),
    /// A type of the core API that is not looked into.
    Any,
}

use Shape::{Any, Duration, Flag, List, MapOf, Number, Object, Text};

const ARGUMENTS: Shape = List(&Object(&[("name", Text), ("value", Text)]));
const ENVIRONMENT: Shape = List(&Object(&[("name", Text), ("value", Text), ("valueFrom", Any)]));
const TEXTS: Shape = List(&Text);
const API_ENDPOINT: Shape = Object(&[("advertiseAddress", Text), ("bindPort", Number)]);
const PATCHES: Shape = Object(&[("directory", Text)]);
const VOLUMES: Shape = List(&Object(&[
    ("hostPath", Text),
    ("mountPath", Text),
    ("name", Text),
    ("pathType", Text),
    ("readOnly", Flag),
]));
const COMPONENT: Shape = Object(&[
    ("extraArgs", ARGUMENTS),
    ("extraEnvs", ENVIRONMENT),
    ("extraVolumes", VOLUMES),
]);
const TIMEOUTS: Shape = Object(&[
    ("controlPlaneComponentHealthCheck", Duration),
    ("discovery", Duration),
    ("etcdAPICall", Duration),
    ("kubeletHealthCheck", Duration),
    ("kubernetesAPICall", Duration),
    ("tlsBootstrap", Duration),
    ("upgradeManifests", Duration),
]);
const NODE_REGISTRATION: Shape = Object(&[
    ("criSocket", Text),
    ("ignorePreflightErrors", TEXTS),
    ("imagePullPolicy", Text),
    ("imagePullSerial", Flag),
    ("kubeletExtraArgs", ARGUMENTS),
    ("name", Text),
    (
        "taints",
        List(&Object(&[
            ("effect", Text),
            ("key", Text),
            ("timeAdded", Text),
            ("value", Text),
        ])),
    ),
]);
const INIT: Shape = Object(&[
    ("apiVersion", Text),
    (
        "bootstrapTokens",
        List(&Object(&[
            ("description", Text),
            ("expires", Text),
            ("groups", TEXTS),
            ("token", Text),
            ("ttl", Duration),
            ("usages", TEXTS),
        ])),
    ),
    ("certificateKey", Text),
    ("dryRun", Flag),
    ("kind", Text),
    ("localAPIEndpoint", API_ENDPOINT),
    ("nodeRegistration", NODE_REGISTRATION),
    ("patches", PATCHES),
    ("skipPhases", TEXTS),
    ("timeouts", TIMEOUTS),
]);
const JOIN: Shape = Object(&[
    ("apiVersion", Text),
    ("caCertPath", Text),
    (
        "controlPlane",
        Object(&[("certificateKey", Text), ("localAPIEndpoint", API_ENDPOINT)]),
    ),
    (
        "discovery",
        Object(&[
            (
                "bootstrapToken",
                Object(&[
                    ("apiServerEndpoint", Text),
                    ("caCertHashes", TEXTS),
                    ("token", Text),
                    ("unsafeSkipCAVerification", Flag),
                ]),
            ),
            ("file", Object(&[("kubeConfigPath", Text)])),
            ("tlsBootstrapToken", Text),
        ]),
    ),
    ("dryRun", Flag),
    ("kind", Text),
    ("nodeRegistration", NODE_REGISTRATION),
    ("patches", PATCHES),
    ("skipPhases", TEXTS),
    ("timeouts", TIMEOUTS),
]);
const CLUSTER: Shape = Object(&[
    (
        "apiServer",
        Object(&[
            ("certSANs", TEXTS),
            ("extraArgs", ARGUMENTS),
            ("extraEnvs", ENVIRONMENT),
            ("extraVolumes", VOLUMES),
        ]),
    ),
    ("apiVersion", Text),
    ("caCertificateValidityPeriod", Duration),
    ("certificateValidityPeriod", Duration),
    ("certificatesDir", Text),
    ("clusterName", Text),
    ("controlPlaneEndpoint", Text),
    ("controllerManager", COMPONENT),
    (
        "dns",
        Object(&[("disabled", Flag), ("imageRepository", Text), ("imageTag", Text)]),
    ),
    ("encryptionAlgorithm", Text),
    (
        "etcd",
        Object(&[
            (
                "external",
                Object(&[
                    ("caFile", Text),
                    ("certFile", Text),
                    ("endpoints", TEXTS),
                    ("httpEndpoints", TEXTS),
                    ("keyFile", Text),
                ]),
            ),
            (
                "local",
                Object(&[
                    ("dataDir", Text),
                    ("extraArgs", ARGUMENTS),
                    ("extraEnvs", ENVIRONMENT),
                    ("imageRepository", Text),
                    ("imageTag", Text),
                    ("peerCertSANs", TEXTS),
                    ("serverCertSANs", TEXTS),
                ]),
            ),
        ]),
    ),
    ("featureGates", MapOf(&Flag)),
    ("imageRepository", Text),
    ("kind", Text),
    ("kubernetesVersion", Text),
    (
        "networking",
        Object(&[("dnsDomain", Text), ("podSubnet", Text), ("serviceSubnet", Text)]),
    ),
    ("proxy", Object(&[("disabled", Flag)])),
    ("scheduler", COMPONENT),
]);
/// A document of another group: a map, and no more is known of it here.
const COMPONENT_CONFIGURATION: Shape = MapOf(&Any);

/// Looks for fields that the document does not have and values of the wrong type.
pub(super) fn check(target: Document, document: &Value) -> Result<(), Problem> {
    let shape = match target {
        Document::InitConfiguration => &INIT,
        Document::JoinConfiguration => &JOIN,
        Document::ClusterConfiguration => &CLUSTER,
        Document::KubeletConfiguration | Document::KubeProxyConfiguration => &COMPONENT_CONFIGURATION,
    };
    check_value("", shape, document)
}

fn check_value(path: &str, shape: &Shape, value: &Value) -> Result<(), Problem> {
    let wrong = |expected: &str| {
        let (path, found) = (path.to_owned(), describe(value));
        Err(Problem::WrongType {
            path,
            found,
            expected: expected.to_owned(),
        })
    };
    match (shape, value) {
        // kubeadm reads a null as an absent field.
        (Any, _) | (_, Value::Null) | (Text, Value::String(_)) | (Flag, Value::Bool(_)) => Ok(()),
        (Text, _) => wrong("a text; put quotes around it"),
        (Duration, Value::String(text)) if is_duration(text) => Ok(()),
        (Duration, _) => wrong("a duration as Go writes it, for example 10m0s"),
        (Flag, _) => wrong("true or false"),
        (Number, Value::Number(number)) if number.is_i64() => Ok(()),
        (Number, _) => wrong("a whole number"),
        (List(inner), Value::Array(list)) => list
            .iter()
            .enumerate()
            .try_for_each(|(index, entry)| check_value(&format!("{path}/{index}"), inner, entry)),
        (List(Object(fields)), _) => wrong(&format!("a list of maps with the fields {}", names(fields))),
        (List(_), _) => wrong("a list"),
        (MapOf(inner), Value::Object(map)) => map
            .iter()
            .try_for_each(|(name, entry)| check_value(&format!("{path}/{}", escape(name)), inner, entry)),
        (Object(fields), Value::Object(map)) => {
            map.iter().try_for_each(
                |(name, entry)| match fields.iter().find(|(field, _)| field == name) {
                    Some((_, inner)) => check_value(&format!("{path}/{}", escape(name)), inner, entry),
                    None => Err(Problem::UnknownField {
                        path: path.to_owned(),
                        field: name.clone(),
                        known: fields
                            .iter()
                            .map(|(field, _)| *field)
                            .collect::<Vec<_>>()
                            .join(", "),
                    }),
                },
            )
        }
        (MapOf(_) | Object(_), _) => wrong("a map"),
    }
}

fn names(fields: &[(&str, Shape)]) -> String {
    fields
        .iter()
        .map(|(field, _)| *field)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether Go's `time.ParseDuration` reads the text: numbers with units, a sign in front.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - digits.len()];
        if number.parse::<f64>().is_err() {
            return false;
        }
        let Some(after) = ["ns", "us", "µs", "ms", "s", "m", "h"]
            .iter()
            .find_map(|unit| digits.strip_prefix(unit))
        else {
            return false;
        };
        rest = after;
    }
    !text.is_empty() && !text.ends_with(['-', '+'])
}

/// A value in a few words: its type, and itself where it is short and a scalar.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(flag) => format!("{flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() <= 80 => format!("the text {text:?}"),
        Value::String(text) => format!("a text of {} characters", text.chars().count()),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("a map of {}", map.len()),
    }
}

/// A name as part of a JSON pointer (RFC 6901).
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
