//! The kinds of documents, and what the user's patches make of them.

use std::fmt;

use serde_json::Value;

use crate::patch::{self, PatchError, UserPatch};

/// One kind of document in a kubeadm configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Document {
    /// What holds for the machine on which the cluster is made.
    InitConfiguration,
    /// What holds for a machine that joins.
    JoinConfiguration,
    /// What holds for the whole control plane.
    ClusterConfiguration,
    /// What the kubelets of the cluster share.
    KubeletConfiguration,
    /// What the kube-proxies of the cluster share.
    KubeProxyConfiguration,
}

impl Document {
    /// The document's `kind`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::InitConfiguration => "InitConfiguration",
            Self::JoinConfiguration => "JoinConfiguration",
            Self::ClusterConfiguration => "ClusterConfiguration",
            Self::KubeletConfiguration => "KubeletConfiguration",
            Self::KubeProxyConfiguration => "KubeProxyConfiguration",
        }
    }

    /// The document's `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::InitConfiguration | Self::JoinConfiguration | Self::ClusterConfiguration => {
                "kubeadm.k8s.io/v1beta4"
            }
            Self::KubeletConfiguration => "kubelet.config.k8s.io/v1beta1",
            Self::KubeProxyConfiguration => "kubeproxy.config.k8s.io/v1alpha1",
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A document of the given kind, complete with `apiVersion` and `kind`.
pub(super) fn complete(document: Document, mut fields: Value) -> Value {
    fields["apiVersion"] = document.api_version().into();
    fields["kind"] = document.kind().into();
    fields
}

/// Applies those of the patches that are for this document, in their order.
pub(super) fn patched(document: Document, value: Value, patches: &[UserPatch]) -> Result<Value, PatchError> {
    patches
        .iter()
        .enumerate()
        .filter(|(_, patch)| patch.target == document)
        .try_fold(value, |value, (index, patch)| patch::apply(index, patch, &value))
}
