//! What the operator decides, and a patch may not change.

use serde_json::Value;

use super::{
    Problem,
    schema::{describe, escape},
};
use crate::config::Document;

/// In which way a place of a document belongs to the operator.
enum Rule {
    /// What stands there stays, and where nothing stands nothing comes.
    Whole(&'static str),
    /// The list keeps the entries that it has; others may come.
    Entries(&'static str),
    /// The entry of this name in the list stays, and where there is none none comes.
    Named(&'static str, &'static str),
}

use Rule::{Entries, Named, Whole};

const BY_SPEC: &str = "set it in the cluster's spec instead";
const BY_MACHINE: &str = "it follows from the machine; take it out of the patch";
const BY_OPERATOR: &str = "the operator relies on it; take it out of the patch";

const COMMON: &[(Rule, &str)] = &[(Whole("/apiVersion"), BY_OPERATOR), (Whole("/kind"), BY_OPERATOR)];

const NODE: &[(Rule, &str)] = &[
    (Whole("/nodeRegistration/name"), BY_MACHINE),
    (Whole("/nodeRegistration/criSocket"), BY_OPERATOR),
    (Named("/nodeRegistration/kubeletExtraArgs", "node-ip"), BY_MACHINE),
    (
        Named("/nodeRegistration/kubeletExtraArgs", "provider-id"),
        BY_MACHINE,
    ),
    (
        Named("/nodeRegistration/kubeletExtraArgs", "hostname-override"),
        BY_MACHINE,
    ),
    (Whole("/patches"), BY_OPERATOR),
    (Entries("/skipPhases"), BY_OPERATOR),
    (Whole("/dryRun"), BY_OPERATOR),
];

const INIT: &[(Rule, &str)] = &[
    (Whole("/localAPIEndpoint"), BY_MACHINE),
    (Whole("/bootstrapTokens"), BY_OPERATOR),
    (Whole("/certificateKey"), BY_OPERATOR),
];

const JOIN: &[(Rule, &str)] = &[
    (Whole("/discovery"), BY_OPERATOR),
    (Whole("/caCertPath"), BY_OPERATOR),
    (Whole("/controlPlane"), BY_OPERATOR),
];

const CLUSTER: &[(Rule, &str)] = &[
    (Whole("/kubernetesVersion"), BY_SPEC),
    (Whole("/controlPlaneEndpoint"), BY_OPERATOR),
    (Whole("/clusterName"), BY_OPERATOR),
    (Whole("/networking"), BY_SPEC),
    (Whole("/certificatesDir"), BY_OPERATOR),
    (Whole("/etcd/external"), BY_OPERATOR),
    (Whole("/etcd/local/dataDir"), BY_OPERATOR),
    (
        Whole("/imageRepository"),
        "the images are those of the KubernetesRelease; take it out of the patch",
    ),
    (Entries("/apiServer/certSANs"), BY_SPEC),
    (
        Named("/controllerManager/extraArgs", "allocate-node-cidrs"),
        BY_OPERATOR,
    ),
    (Named("/controllerManager/extraArgs", "cluster-cidr"), BY_SPEC),
    (
        Named("/controllerManager/extraArgs", "service-cluster-ip-range"),
        BY_SPEC,
    ),
    (Named("/apiServer/extraArgs", "advertise-address"), BY_MACHINE),
    (Named("/apiServer/extraArgs", "secure-port"), BY_OPERATOR),
    (Named("/apiServer/extraArgs", "service-cluster-ip-range"), BY_SPEC),
];

const KUBELET: &[(Rule, &str)] = &[
    (Whole("/containerRuntimeEndpoint"), BY_OPERATOR),
    (Whole("/staticPodPath"), BY_OPERATOR),
    (Whole("/providerID"), BY_MACHINE),
    (Whole("/clusterDomain"), BY_SPEC),
];

const KUBE_PROXY: &[(Rule, &str)] = &[(Whole("/clusterCIDR"), BY_SPEC)];

/// Compares a document before and after a patch.
pub(super) fn check(target: Document, before: &Value, after: &Value) -> Result<(), Problem> {
    let (shared, own): (&[_], &[_]) = match target {
        Document::InitConfiguration => (NODE, INIT),
        Document::JoinConfiguration => (NODE, JOIN),
        Document::ClusterConfiguration => (CLUSTER, &[]),
        Document::KubeletConfiguration => (KUBELET, &[]),
        Document::KubeProxyConfiguration => (KUBE_PROXY, &[]),
    };
    COMMON
        .iter()
        .chain(shared)
        .chain(own)
        .try_for_each(|(rule, instead)| check_rule(rule, instead, before, after))
}

fn check_rule(rule: &Rule, instead: &'static str, before: &Value, after: &Value) -> Result<(), Problem> {
    let changed = |path: String, found: Option<&Value>, expected: Option<&Value>| {
        let words = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), describe);
        Err(Problem::Owned {
            path,
            found: words(found),
            expected: words(expected),
            instead,
        })
    };
    match *rule {
        Whole(path) => match first_difference(path, before.pointer(path), after.pointer(path)) {
            None => Ok(()),
            Some((path, old, new)) => changed(path, new, old),
        },
        Entries(path) => {
            let kept = after.pointer(path).and_then(Value::as_array);
            let lost = before
                .pointer(path)
                .and_then(Value::as_array)
                .and_then(|entries| {
                    entries
                        .iter()
                        .find(|entry| !kept.is_some_and(|kept| kept.contains(entry)))
                });
            lost.map_or(Ok(()), |lost| {
                changed(path.to_owned(), after.pointer(path), Some(lost))
            })
        }
        Named(path, name) => {
            let entries = |document: &Value| -> Vec<Value> {
                let list = document
                    .pointer(path)
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                list.into_iter().filter(|entry| entry["name"] == name).collect()
            };
            let (old, new) = (entries(before), entries(after));
            if old == new {
                return Ok(());
            }
            let value = |entries: &[Value]| entries.first().map(|entry| entry["value"].clone());
            changed(
                format!("{path} ({name})"),
                value(&new).as_ref(),
                value(&old).as_ref(),
            )
        }
    }
}

/// The first place under `path` where two values differ, looking into maps but not into lists, whose entries may be
/// secrets.
fn first_difference<'a>(
    path: &str,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> Option<(String, Option<&'a Value>, Option<&'a Value>)> {
    let (old, new) = (
        old.filter(|value| !value.is_null()),
        new.filter(|value| !value.is_null()),
    );
    match (old, new) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            left.keys().chain(right.keys()).find_map(|name| {
                first_difference(
                    &format!("{path}/{}", escape(name)),
                    left.get(name),
                    right.get(name),
                )
            })
        }
        _ if old == new => None,
        _ => Some((path.to_owned(), old, new)),
    }
}
