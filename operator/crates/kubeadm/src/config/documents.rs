//! The set of documents in one configuration file, while it is being put together.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    document::{self, RenderError},
    patch::{self, PatchError, UserPatch},
};

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

/// The documents of one file. There is no `Debug` form, since they may hold a token.
#[derive(Clone, PartialEq)]
pub(super) struct Documents(BTreeMap<Document, Value>);

impl Documents {
    /// Takes the given documents and writes `apiVersion` and `kind` into each.
    pub(super) fn new(documents: impl IntoIterator<Item = (Document, Value)>) -> Self {
        Self(
            documents
                .into_iter()
                .map(|(document, mut value)| {
                    value["apiVersion"] = document.api_version().into();
                    value["kind"] = document.kind().into();
                    (document, value)
                })
                .collect(),
        )
    }

    /// Applies the patches in their order, each to the document that it names; those for documents that are not here
    /// are left out.
    pub(super) fn patch(&mut self, patches: &[UserPatch]) -> Result<(), PatchError> {
        for (index, user_patch) in patches.iter().enumerate() {
            if let Some(value) = self.0.get_mut(&user_patch.target) {
                *value = patch::apply(index, user_patch, value)?;
            }
        }
        Ok(())
    }

    /// Writes the file.
    pub(super) fn render(&self) -> Result<String, RenderError> {
        document::documents_to_yaml(self.0.iter().map(|(document, value)| (document.kind(), value)))
    }
}
