//! `KubernetesRelease`: one pinned Kubernetes version.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One Kubernetes version with everything that a node of it is made from, pinned by digests.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "seedbed.dev",
    version = "v1alpha1",
    kind = "KubernetesRelease",
    status = "KubernetesReleaseStatus",
    derive = "PartialEq",
    shortname = "kr",
    category = "seedbed",
    doc = "One Kubernetes version with everything that a node of it is made from, pinned by digests.",
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version", description = "The Kubernetes version."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether it is complete on every host that needs it."),
    printcolumn(name = "Containerd", type_ = "string", json_path = ".spec.components.containerd", description = "The container runtime's version."),
    printcolumn(name = "Etcd", type_ = "string", json_path = ".spec.components.etcd", description = "etcd's version."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1, description = "Why it is or is not Ready."),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "What was found and what to do."),
    validation = Rule::new("self.metadata.name == self.spec.version").message("a KubernetesRelease is named like its spec.version")
)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesReleaseSpec {
    /// The Kubernetes version.
    #[schemars(length(max = 20), regex(pattern = r"^v1\.[0-9]{1,3}\.[0-9]{1,3}$"))]
    pub version: String,
    /// What machines boot from.
    pub guest_image: GuestImage,
    /// Disk with which a running node of an earlier release becomes one of this: a qcow2 image that is one ext4 file system, whose content
    /// is in the documentation. Left out: running nodes cannot be upgraded to this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_disk: Option<Artefact>,
    /// Container images that the guest image carries, with their digests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub container_images: Vec<ContainerImage>,
    /// Versions of what stands beside Kubernetes on a node.
    pub components: ReleaseComponents,
}

/// What machines boot from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.kernel) == has(self.initrd)", "kernel and initrd are given together (the host loads them) or not at all (the disk's own boot loader does)"),
    validation = ("!has(self.kernelArguments) || has(self.kernel)", "kernelArguments need a kernel: without one the disk's own boot loader decides them")
)]
pub struct GuestImage {
    /// Disk image in qcow2 format; the guest contract is in the documentation.
    pub disk: Artefact,
    /// Kernel that the host loads. Left out: the disk's own boot loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Artefact>,
    /// Initial RAM disk that the host loads with the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<Artefact>,
    /// The kernel's command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub kernel_arguments: Option<String>,
}

/// A file with its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artefact {
    /// Where the operator reads it: `file://` on the operator's own machine, `http://` or `https://`.
    #[schemars(length(max = 2048), regex(pattern = r"^(file:///|https?://)[^\s]+$"))]
    pub url: String,
    /// SHA-256 of its bytes, in lower-case hex.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// A container image that the guest image carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerImage {
    /// Name and tag.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
    /// Digest of its manifest.
    #[schemars(length(max = 80), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
}

/// Versions of what stands beside Kubernetes on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseComponents {
    /// The container runtime.
    #[schemars(length(max = 32))]
    pub containerd: String,
    /// etcd.
    #[schemars(length(max = 32))]
    pub etcd: String,
    /// CoreDNS.
    #[schemars(length(max = 32))]
    pub coredns: String,
}

/// What was seen of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesReleaseStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The hosts, and whether the release's guest image and upgrade disk are on each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<ReleaseOnHost>,
}

/// Whether a release's guest image and upgrade disk are on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseOnHost {
    /// Name of the `HypervisorHost`.
    pub name: String,
    /// Whether all of it is there and its digests were found right.
    pub present: bool,
    /// What is missing or wrong, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
