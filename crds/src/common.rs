//! Types that more than one kind uses.

use k8s_openapi::api::core::v1::Taint;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// API group of all kinds.
pub const GROUP: &str = "seedbed.dev";
/// API version of all kinds.
pub const VERSION: &str = "v1alpha1";

/// A reference to an object by name: in the same namespace, or of a cluster-scoped kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret, in the object's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Size of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineResources {
    /// Virtual processors.
    #[schemars(range(min = 1, max = 64))]
    pub cpus: i32,
    /// Memory, as a quantity in Mi, Gi or Ti, such as `3Gi`.
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    pub memory: String,
    /// Size of the root disk, as a quantity in Mi, Gi or Ti, such as `20Gi`. Grown from the guest image at first boot; the
    /// host's pool fills only with what the guest writes.
    #[schemars(length(max = 12), regex(pattern = r"^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    pub disk: String,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New pods are kept away.
    NoSchedule,
    /// New pods are kept away where another node will do.
    PreferNoSchedule,
    /// New pods are kept away and running ones are evicted.
    NoExecute,
}

/// A taint that a node registers with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeTaint {
    /// The taint's key.
    #[schemars(length(min = 1, max = 316))]
    pub key: String,
    /// The taint's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// What the taint does to pods that do not tolerate it.
    pub effect: TaintEffect,
}

impl From<&NodeTaint> for Taint {
    fn from(taint: &NodeTaint) -> Self {
        let effect = match taint.effect {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
            TaintEffect::NoExecute => "NoExecute",
        };
        Self {
            key: taint.key.clone(),
            value: taint.value.clone(),
            effect: effect.to_owned(),
            time_added: None,
        }
    }
}

/// A file that is put on a node before kubeadm runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.content) != has(self.contentFrom)", "a file has either content or contentFrom"))]
pub struct NodeFile {
    /// Absolute path on the node.
    #[schemars(length(max = 1024), regex(pattern = r"^/[^\x00]*[^/\x00]$"))]
    pub path: String,
    /// Permissions in octal, such as `0644`.
    #[serde(default = "default_permissions")]
    #[schemars(length(max = 4), regex(pattern = r"^0?[0-7]{3}$"))]
    pub permissions: String,
    /// The file's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub content: Option<String>,
    /// Where the file's text is taken from, for what must not stand in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_from: Option<SecretKeyReference>,
}

fn default_permissions() -> String {
    "0644".to_owned()
}

/// Which of kubeadm's documents a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KubeadmPatchTarget {
    /// `kubeadm init` on the first control plane.
    InitConfiguration,
    /// `kubeadm join` on every other node.
    JoinConfiguration,
    /// The cluster's own settings.
    ClusterConfiguration,
    /// The kubelet of every node.
    KubeletConfiguration,
    /// kube-proxy on every node.
    KubeProxyConfiguration,
}

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KubeadmPatchType {
    /// A partial document that is merged: maps by key, known lists by their merge key, other lists replaced, null deletes.
    StrategicMerge,
    /// A list of operations (RFC 6902).
    #[serde(rename = "JSON6902")]
    Json6902,
}

/// A change to one of kubeadm's configuration documents (`kubeadm.k8s.io/v1beta4` and the component configs).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeadmPatch {
    /// The document that is changed.
    pub target: KubeadmPatchTarget,
    /// How the patch is written.
    #[serde(rename = "type", default = "default_patch_type")]
    pub type_: KubeadmPatchType,
    /// The patch, in YAML or JSON.
    #[schemars(length(min = 1, max = 65536))]
    pub patch: String,
}

fn default_patch_type() -> KubeadmPatchType {
    KubeadmPatchType::StrategicMerge
}

/// How patient the components of a cluster are with the machine they run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TimingProfile {
    /// kubeadm's own timings.
    Standard,
    /// Longer leases, elections and probe periods for hosts that emulate their guests: a deliberate difference from production.
    Relaxed,
}
