//! What the watches of a child cluster saw last.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use seedbed_planner::Observed;

/// What the watches of a child cluster saw last. A part is [`Observed::Unknown`] until its first list came, and again when the
/// child was out of reach for a while; what was seen before that stays for as long as the outage may be a short one.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildView {
    /// The nodes, without heartbeat times, images, managed fields and resource versions.
    pub nodes: Observed<Vec<Arc<Node>>>,
    /// The Deployment `kube-system/coredns` without its template; none where the child answered that there is none.
    pub coredns: Observed<Option<Deployment>>,
    /// The `NetworkPolicies` of all namespaces.
    pub network_policies: Observed<Vec<ObjectName>>,
    /// Version that the API server says it runs, such as `v1.35.4`.
    pub api_version: Observed<String>,
}

impl ChildView {
    /// A view in which nothing is known, for that reason.
    pub fn unknown(why: &str) -> Self {
        Self {
            nodes: Observed::Unknown(why.to_owned()),
            coredns: Observed::Unknown(why.to_owned()),
            network_policies: Observed::Unknown(why.to_owned()),
            api_version: Observed::Unknown(why.to_owned()),
        }
    }
}

/// Name of an object in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}
