//! `NodePool`: a set of like workers.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalReference, MachineResources, NodeFile, NodeTaint};
use crate::devcluster::KubeadmSettings;

/// A set of like workers of one `DevCluster`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "seedbed.dev",
    version = "v1alpha1",
    kind = "NodePool",
    namespaced,
    status = "NodePoolStatus",
    derive = "PartialEq",
    shortname = "np",
    category = "seedbed",
    doc = "A set of like workers of one DevCluster. Scale it with kubectl scale.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name", description = "The DevCluster that the workers belong to."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether all workers are as asked for."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Summary of the conditions."),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas", description = "How many workers there should be."),
    printcolumn(name = "ReadyReplicas", type_ = "integer", json_path = ".status.readyReplicas", description = "How many workers are Ready."),
    printcolumn(name = "UpToDate", type_ = "integer", json_path = ".status.upToDateReplicas", description = "How many workers are of the present template."),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "Kubernetes version of the workers' kubelets."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Held", type_ = "boolean", json_path = ".spec.holdVersion", priority = 1, description = "Whether the workers keep their version when the cluster is upgraded."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1, description = "Why it is or is not Ready."),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What was found and what to do."),
    validation = Rule::new("size(self.metadata.name) <= 50").message("a NodePool's name has at most 50 characters: the names of its machines are made from it"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("a NodePool's name has no dots: the names of its machines are made from it"),
    validation = Rule::new("self.spec.clusterRef == oldSelf.spec.clusterRef").message("spec.clusterRef cannot be changed: workers do not move between clusters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!quantity(self.machine.memory).isLessThan(quantity('1Gi'))", "machine.memory must be at least 1Gi: a node does not start with less"),
    validation = ("!quantity(self.machine.disk).isLessThan(quantity('8Gi'))", "machine.disk must be at least 8Gi: the guest image alone takes 6Gi")
)]
pub struct NodePoolSpec {
    /// The `DevCluster` that the workers belong to, in the same namespace.
    pub cluster_ref: LocalReference,
    /// How many workers.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 200))]
    pub replicas: i32,
    /// Size of each machine. A change replaces the machines.
    pub machine: MachineResources,
    /// Labels of the nodes. Changes are carried out on the running nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, String>,
    /// Taints that the nodes register with. A change replaces the machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub node_taints: Vec<NodeTaint>,
    /// Changes to kubeadm's configuration for these nodes, applied after those of the cluster. A change replaces the machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("!has(self.patches) || self.patches.all(p, p.target in ['JoinConfiguration', 'KubeletConfiguration'])", "a NodePool's patches are for JoinConfiguration or KubeletConfiguration: the other documents belong to the cluster"))]
    pub kubeadm: Option<KubeadmSettings>,
    /// Files that are put on these nodes before kubeadm runs, beside those of the cluster. A change replaces the machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub files: Vec<NodeFile>,
    /// Shell commands that these nodes run before kubeadm, as root, after those of the cluster. A change replaces the machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 4096)))]
    pub pre_kubeadm_commands: Vec<String>,
    /// Shell commands that these nodes run after kubeadm, as root, after those of the cluster. A change replaces the machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 4096)))]
    pub post_kubeadm_commands: Vec<String>,
    /// While true, the workers' kubelets keep their version in upgrades of the cluster that begin, and new workers are made of it. They may be
    /// three minor versions older than the API server at most: an upgrade beyond that is not begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold_version: bool,
    /// How the workers get to the new version when the cluster is upgraded.
    #[serde(default)]
    pub upgrade_strategy: UpgradeStrategy,
    /// How machines are replaced when the template changes.
    #[serde(default)]
    pub strategy: RolloutStrategy,
    /// How long a node is drained before its machine is removed all the same, in seconds.
    #[serde(default = "default_drain_timeout")]
    #[schemars(range(min = 0, max = 86400))]
    pub drain_timeout_seconds: i64,
}

fn one() -> i32 {
    1
}

fn default_drain_timeout() -> i64 {
    300
}

/// How workers get to the new version when their cluster is upgraded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradeStrategy {
    /// As a step of the upgrade: drained, and given the new kubelet, as `strategy.maxUnavailable` allows.
    #[default]
    InPlace,
    /// Once the upgrade is done: replaced by machines of the new version, as `strategy` allows.
    Replace,
}

/// How machines are replaced when the template changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])", "strategy.maxSurge and strategy.maxUnavailable cannot both be 0: nothing could ever be replaced"))]
pub struct RolloutStrategy {
    /// How many machines there may be above `replicas` during a replacement: a number, or a percentage (rounded up).
    #[serde(default = "IntOrPercent::one")]
    pub max_surge: IntOrPercent,
    /// How many machines may be missing below `replicas` during a replacement: a number, or a percentage (rounded down).
    #[serde(default = "IntOrPercent::zero")]
    pub max_unavailable: IntOrPercent,
}

impl Default for RolloutStrategy {
    fn default() -> Self {
        Self {
            max_surge: IntOrPercent::one(),
            max_unavailable: IntOrPercent::zero(),
        }
    }
}

/// A number, or a percentage such as `25%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    /// A number of machines.
    Int(i32),
    /// A share of `replicas`, such as `25%`.
    Percent(String),
}

impl IntOrPercent {
    fn one() -> Self {
        Self::Int(1)
    }

    fn zero() -> Self {
        Self::Int(0)
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 0 && self <= 200 : self.matches('^([0-9]|[1-9][0-9]|100)%$')",
                "message": "must be a number from 0 to 200 or a percentage from 0% to 100%"
            }]
        })
    }
}

/// What was seen of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Summary of the conditions for people. Never read by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// How many machines there are.
    #[serde(default)]
    pub replicas: i32,
    /// How many of them are Ready nodes.
    #[serde(default)]
    pub ready_replicas: i32,
    /// How many of them are of the present template.
    #[serde(default)]
    pub up_to_date_replicas: i32,
    /// Label selector of the pool's machines, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Kubernetes version that the pool's machines are made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
