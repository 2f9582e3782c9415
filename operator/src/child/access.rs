//! Which child cluster, and how it is reached.

use std::fmt;

use kube::runtime::reflector::ObjectRef;
use seedbed_crds::DevCluster;

/// A child cluster, by the `DevCluster` that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildKey {
    /// Namespace of the `DevCluster`.
    pub namespace: String,
    /// Name of the `DevCluster`.
    pub name: String,
}

impl ChildKey {
    /// The `DevCluster`, for a controller's queue.
    pub fn object_ref(&self) -> ObjectRef<DevCluster> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for ChildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How the API of a child cluster is reached, as its administrator. Its `Debug` form shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct ChildAccess {
    /// URL of the API server, such as `https://10.64.0.10:6443`.
    pub endpoint: String,
    /// Certificate of the cluster's CA, PEM.
    pub ca_pem: String,
    /// Client certificate of an administrator, PEM.
    pub certificate_pem: String,
    /// Its private key, PEM.
    pub key_pem: String,
}

impl fmt::Debug for ChildAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildAccess")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let access = ChildAccess {
            endpoint: "https://10.64.0.10:6443".into(),
            ca_pem: "ca".into(),
            certificate_pem: "certificate".into(),
            key_pem: "very secret".into(),
        };
        assert!(!format!("{access:?}").contains("secret"));
    }
}
