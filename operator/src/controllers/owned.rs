//! What marks an object as made for a cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use seedbed_planner::names::CLUSTER_LABEL;

/// Label that the field's tools look for on everything that an operator made.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The object's namespace; empty for what has none.
pub fn namespace(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_default()
}

/// The object's name.
pub fn name(object: &impl ResourceExt) -> String {
    object.name_any()
}

/// The object's UID; empty for one that was never stored.
pub fn uid(object: &impl ResourceExt) -> String {
    object.uid().unwrap_or_default()
}

/// Labels of what is made for a cluster. The user's own labels and annotations are not copied: Argo CD tracks objects by them.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (CLUSTER_LABEL.to_owned(), cluster.to_owned()),
        (MANAGED_BY.to_owned(), "seedbed".to_owned()),
    ])
}

/// The reference by which an object says who controls it.
pub fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    owner.controller_owner_ref(&())
}

/// UID of the owner of that kind.
pub fn owner_uid<'a>(object: &'a impl Resource, kind: &str) -> Option<&'a str> {
    object
        .meta()
        .owner_references
        .iter()
        .flatten()
        .find(|o| o.kind == kind)
        .map(|o| o.uid.as_str())
}

/// A reference to an owner that does not control the object.
pub fn reference<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    owner.owner_ref(&()).map(|mut reference| {
        reference.controller = None;
        reference.block_owner_deletion = None;
        reference
    })
}
