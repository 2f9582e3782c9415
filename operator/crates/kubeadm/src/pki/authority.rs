//! A certificate authority and what it signs.

use std::{fmt, net::IpAddr, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, date_time_ymd,
};
use sha2::{Digest, Sha256};

use super::{
    PkiError,
    key_pair::{read_block, read_private_key},
};

/// From when until when a certificate is valid, in seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// First second in which it is valid.
    pub not_before: i64,
    /// Last second in which it is valid.
    pub not_after: i64,
}

/// How far a certificate's validity begins before the moment it was made: clocks of guests that were just started or
/// restored lag behind. kubeadm uses five minutes for the same reason.
const CLOCK_SKEW_SECONDS: i64 = 5 * 60;

impl Lifetime {
    /// A lifetime that begins five minutes before `now` (seconds since 1970), for clocks that lag, and ends
    /// `duration` after it.
    pub fn starting(now: i64, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self {
            not_before: now.saturating_sub(CLOCK_SKEW_SECONDS),
            not_after: now.saturating_add(seconds),
        }
    }
}

/// A certificate authority: its certificate and private key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// The certificate. Whoever trusts it trusts what the key signs.
    pub cert_pem: String,
    /// The private key, PKCS #8. A secret.
    pub key_pem: String,
}

/// A certificate with its private key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS #8. A secret.
    pub key_pem: String,
}

impl CertificateAuthority {
    /// Makes a self-signed authority named `common_name`.
    pub fn generate(common_name: &str, lifetime: Lifetime) -> Result<Self, PkiError> {
        let what = format!("certificate authority {common_name:?}");
        let mut params = parameters(&what, common_name, None, lifetime)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        // kubeadm names its authorities in the alternative names too; some TLS libraries warn without.
        params.subject_alt_names = vec![dns_name(&what, common_name)?];
        let key = new_key(&what)?;
        let certificate = params
            .self_signed(&key)
            .map_err(|source| PkiError::Make { what, source })?;
        Ok(Self {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Reads an authority back, and checks that certificate and key belong together.
    pub fn from_pem(what: &str, cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let key = read_private_key(what, key_pem)?;
        if public_key_info(what, cert_pem)? != key.subject_public_key_info() {
            return Err(PkiError::Mismatch {
                what: what.to_owned(),
            });
        }
        Ok(Self {
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
        })
    }

    /// Signs a certificate with which a client shows that it is `common_name` and, where one is given, a
    /// member of the group `organization` (this is how Kubernetes reads the two).
    pub fn client_certificate(
        &self,
        common_name: &str,
        organization: Option<&str>,
        lifetime: Lifetime,
    ) -> Result<IssuedCertificate, PkiError> {
        let what = format!("client certificate {common_name:?}");
        let mut params = parameters(&what, common_name, organization, lifetime)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&what, params)
    }

    /// Signs a certificate for a server that is reached by the given names and addresses.
    pub fn server_certificate(
        &self,
        common_name: &str,
        dns_names: &[&str],
        addresses: &[IpAddr],
        lifetime: Lifetime,
    ) -> Result<IssuedCertificate, PkiError> {
        self.serving(
            common_name,
            dns_names,
            addresses,
            lifetime,
            vec![ExtendedKeyUsagePurpose::ServerAuth],
        )
    }

    /// Signs a certificate for a member of an etcd cluster, which is server and client to its peers.
    pub fn peer_certificate(
        &self,
        common_name: &str,
        dns_names: &[&str],
        addresses: &[IpAddr],
        lifetime: Lifetime,
    ) -> Result<IssuedCertificate, PkiError> {
        let usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.serving(common_name, dns_names, addresses, lifetime, usages)
    }

    /// kubeadm's discovery hash of this authority: `sha256:` and the digest of its public key (SPKI), in hex. It is
    /// what `--discovery-token-ca-cert-hash` and `caCertHashes` take.
    pub fn discovery_hash(&self) -> Result<String, PkiError> {
        use fmt::Write;
        let digest = Sha256::digest(public_key_info("certificate authority", &self.cert_pem)?);
        Ok(digest.iter().fold(String::from("sha256:"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    fn serving(
        &self,
        common_name: &str,
        dns_names: &[&str],
        addresses: &[IpAddr],
        lifetime: Lifetime,
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Result<IssuedCertificate, PkiError> {
        let what = format!("server certificate {common_name:?}");
        let mut params = parameters(&what, common_name, None, lifetime)?;
        params.extended_key_usages = usages;
        params.subject_alt_names = dns_names
            .iter()
            .map(|name| dns_name(&what, name))
            .chain(addresses.iter().map(|address| Ok(SanType::IpAddress(*address))))
            .collect::<Result<_, _>>()?;
        self.issue(&what, params)
    }

    fn issue(&self, what: &str, mut params: CertificateParams) -> Result<IssuedCertificate, PkiError> {
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.use_authority_key_identifier_extension = true;
        let failed = |source| PkiError::Make {
            what: what.to_owned(),
            source,
        };
        let issuer_key = read_private_key("certificate authority", &self.key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, issuer_key).map_err(failed)?;
        let key = new_key(what)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok(IssuedCertificate {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("cert_pem", &self.cert_pem)
            .field("key_pem", &"<redacted>")
            .finish()
    }
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("cert_pem", &self.cert_pem)
            .field("key_pem", &"<redacted>")
            .finish()
    }
}

fn new_key(what: &str) -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| PkiError::Make {
        what: what.to_owned(),
        source,
    })
}

fn dns_name(what: &str, name: &str) -> Result<SanType, PkiError> {
    let name = name.try_into().map_err(|source| PkiError::Make {
        what: what.to_owned(),
        source,
    })?;
    Ok(SanType::DnsName(name))
}

fn parameters(
    what: &str,
    common_name: &str,
    organization: Option<&str>,
    lifetime: Lifetime,
) -> Result<CertificateParams, PkiError> {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(what, lifetime.not_before)?;
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(what, lifetime.not_after)?;
    Ok(params)
}

/// Last second of the year 9999, the last that X.509 can express.
const LAST_SECOND: u64 = 253_402_300_799;

fn since_1970(what: &str, seconds: i64) -> Result<Duration, PkiError> {
    u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds <= LAST_SECOND)
        .map(Duration::from_secs)
        .ok_or_else(|| PkiError::Time {
            what: what.to_owned(),
            seconds,
        })
}

/// The `SubjectPublicKeyInfo` of a certificate, DER, as it stands in the certificate.
fn public_key_info(what: &str, cert_pem: &str) -> Result<Vec<u8>, PkiError> {
    let malformed = |found: String| PkiError::Malformed {
        what: format!("{what}, certificate"),
        found,
        expected: "one PEM block CERTIFICATE",
    };
    let der = read_block("CERTIFICATE", cert_pem).map_err(malformed)?;
    let (_, certificate) =
        x509_parser::parse_x509_certificate(&der).map_err(|error| malformed(error.to_string()))?;
    Ok(certificate.tbs_certificate.subject_pki.raw.to_vec())
}
