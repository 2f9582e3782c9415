//! Certificate authorities, keys and certificates: ECDSA P-256 throughout, because key generation on an emulated host
//! takes seconds with it and minutes with RSA.
//!
//! The operator makes a cluster's authorities before its first machine exists, so that the kubeconfig is there from
//! the start and every machine can be told beforehand whom to trust.

mod authority;
mod cluster;
mod key_pair;

pub use authority::{CertificateAuthority, IssuedCertificate, Lifetime};
pub use cluster::{ClusterPki, ETCD_CA_NAME, FRONT_PROXY_CA_NAME, KUBERNETES_CA_NAME, PKI_FOLDER};
pub use key_pair::KeyPairPem;

/// A key or certificate that could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Making a key or signing a certificate failed.
    #[error("make {what}: {source}")]
    Make {
        /// What was being made.
        what: String,
        /// The cryptography library's words.
        #[source]
        source: rcgen::Error,
    },
    /// A PEM text is not what it should be.
    #[error(
        "read {what}: found {found}, expected {expected}; restore it from a backup, or remove the Secret that holds it only if the cluster is to be made anew"
    )]
    Malformed {
        /// What was being read.
        what: String,
        /// What was found instead.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A private key and a certificate or public key do not belong together.
    #[error(
        "read {what}: the private key does not belong to its certificate or public key; restore both halves from the same backup"
    )]
    Mismatch {
        /// What was being read.
        what: String,
    },
    /// A time that certificates cannot express.
    #[error(
        "make {what}: found {seconds} s since 1970 as a time, expected one from 0 to 253402300799 (year 9999)"
    )]
    Time {
        /// What was being made.
        what: String,
        /// The time, in seconds since 1970-01-01T00:00:00Z.
        seconds: i64,
    },
}
