//! The set of authorities that one cluster has.

use std::time::Duration;

use super::{CertificateAuthority, KeyPairPem, Lifetime, PkiError};
use crate::file::GuestFile;

/// Common name of the cluster's authority, kubeadm's.
pub const KUBERNETES_CA_NAME: &str = "kubernetes";
/// Common name of etcd's authority, kubeadm's.
pub const ETCD_CA_NAME: &str = "etcd-ca";
/// Common name of the authority of the front proxy (aggregated API servers), kubeadm's.
pub const FRONT_PROXY_CA_NAME: &str = "front-proxy-ca";

/// Ten years, as kubeadm's authorities.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// Folder in which kubeadm looks for authorities before it makes its own.
pub const PKI_FOLDER: &str = "/etc/kubernetes/pki";

/// All authorities and keys that kubeadm would otherwise make on the first control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPki {
    /// Signs the API server, its clients and the kubelets.
    pub ca: CertificateAuthority,
    /// Signs etcd's members and clients.
    pub etcd_ca: CertificateAuthority,
    /// Signs the client certificate with which the API server forwards requests to aggregated API servers.
    pub front_proxy_ca: CertificateAuthority,
    /// Signs and verifies service account tokens.
    pub service_account: KeyPairPem,
}

impl ClusterPki {
    /// Makes all of it anew. `now` is in seconds since 1970-01-01T00:00:00Z; the authorities are valid for ten years.
    pub fn generate(now: i64) -> Result<Self, PkiError> {
        let lifetime = Lifetime::starting(now, AUTHORITY_LIFETIME);
        Ok(Self {
            ca: CertificateAuthority::generate(KUBERNETES_CA_NAME, lifetime)?,
            etcd_ca: CertificateAuthority::generate(ETCD_CA_NAME, lifetime)?,
            front_proxy_ca: CertificateAuthority::generate(FRONT_PROXY_CA_NAME, lifetime)?,
            service_account: KeyPairPem::generate("service account key")?,
        })
    }

    /// The files under `folder` (kubeadm's is a staging folder on the way and `/etc/kubernetes/pki` in the
    /// end), named as kubeadm names them: eight files, the private keys readable by root alone.
    pub fn files(&self, folder: &str) -> Vec<GuestFile> {
        let mut files = Vec::with_capacity(8);
        for (name, authority) in [
            ("ca", &self.ca),
            ("etcd/ca", &self.etcd_ca),
            ("front-proxy-ca", &self.front_proxy_ca),
        ] {
            files.push(GuestFile::public(
                format!("{folder}/{name}.crt"),
                authority.cert_pem.as_bytes(),
            ));
            files.push(GuestFile::secret(
                format!("{folder}/{name}.key"),
                authority.key_pem.as_bytes(),
            ));
        }
        files.push(GuestFile::public(
            format!("{folder}/sa.pub"),
            self.service_account.public.as_bytes(),
        ));
        files.push(GuestFile::secret(
            format!("{folder}/sa.key"),
            self.service_account.private.as_bytes(),
        ));
        files
    }
}
