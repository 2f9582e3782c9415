//! A bare key pair.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use super::PkiError;

/// A private key (`PRIVATE KEY`, PKCS #8) and its public key (`PUBLIC KEY`, SPKI), both PEM: the form in which kubeadm
/// keeps `sa.key` and `sa.pub`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairPem {
    /// The public key. Signatures of service account tokens are checked with it.
    pub public: String,
    /// The private key. A secret.
    pub private: String,
}

impl KeyPairPem {
    /// Makes a new ECDSA P-256 key pair.
    pub fn generate(what: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| PkiError::Make {
            what: what.to_owned(),
            source,
        })?;
        Ok(Self {
            public: key.public_key_pem(),
            private: key.serialize_pem(),
        })
    }

    /// Reads a key pair back, and checks that the halves belong together.
    pub fn from_pem(what: &str, public: &str, private: &str) -> Result<Self, PkiError> {
        let key = read_private_key(what, private)?;
        let stored = read_block("PUBLIC KEY", public).map_err(|found| PkiError::Malformed {
            what: format!("{what}, public key"),
            found,
            expected: "one PEM block PUBLIC KEY",
        })?;
        if stored != key.subject_public_key_info() {
            return Err(PkiError::Mismatch {
                what: what.to_owned(),
            });
        }
        Ok(Self {
            public: public.to_owned(),
            private: private.to_owned(),
        })
    }
}

impl fmt::Debug for KeyPairPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPairPem")
            .field("public", &self.public)
            .field("private", &"<redacted>")
            .finish()
    }
}

pub(super) fn read_private_key(what: &str, pem: &str) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(pem).map_err(|error| PkiError::Malformed {
        what: format!("{what}, private key"),
        found: error.to_string(),
        expected: "a PEM block PRIVATE KEY (PKCS #8) or EC PRIVATE KEY (SEC 1) of a curve P-256, P-384 or Ed25519 key",
    })
}

/// The bytes of the first PEM block with the given label, or what is wrong with the text.
pub(super) fn read_block(label: &str, pem: &str) -> Result<Vec<u8>, String> {
    let body: String = pem
        .split_once(&format!("-----BEGIN {label}-----"))
        .and_then(|(_, rest)| rest.split_once(&format!("-----END {label}-----")))
        .map(|(body, _)| body.split_whitespace().collect())
        .ok_or_else(|| format!("no block {label}"))?;
    STANDARD
        .decode(body)
        .map_err(|error| format!("a block {label} that is not base64 ({error})"))
}
