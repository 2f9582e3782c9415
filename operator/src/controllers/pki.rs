//! A cluster's certificate authorities in their Secrets, under the names that Cluster API gave them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use seedbed_crds::DevCluster;
use seedbed_kubeadm::pki::{CertificateAuthority, ClusterPki, KeyPairPem, PkiError};

use super::owned;

/// Suffixes of the Secrets that hold a cluster's keys.
const SUFFIXES: [&str; 4] = ["ca", "etcd", "proxy", "sa"];
/// Key of a certificate (or public key) in its Secret.
const CERTIFICATE: &str = "tls.crt";
/// Key of a private key in its Secret.
const KEY: &str = "tls.key";

/// Why a cluster's keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The API server did not do it.
    #[error("Secret {name}: {source}")]
    Api {
        /// The Secret.
        name: String,
        /// Its words.
        #[source]
        source: kube::Error,
    },
    /// A Secret is there and lacks a key, or what it holds cannot be read.
    #[error("Secret {name}: {message}; restore it from a backup: the cluster's nodes trust no other keys")]
    Broken {
        /// The Secret.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// Keys could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Name of the Secret that holds the administrator's kubeconfig.
pub fn kubeconfig_secret(cluster: &str) -> String {
    format!("{cluster}-kubeconfig")
}

/// Names of all Secrets that the operator makes for a cluster.
pub fn secret_names(cluster: &str) -> Vec<String> {
    SUFFIXES
        .iter()
        .map(|s| format!("{cluster}-{s}"))
        .chain([kubeconfig_secret(cluster)])
        .collect()
}

/// The cluster's keys; none where at least one of the Secrets is not there yet.
pub async fn load(client: &Client, namespace: &str, cluster: &str) -> Result<Option<ClusterPki>, KeysError> {
    let mut pairs = Vec::with_capacity(SUFFIXES.len());
    for suffix in SUFFIXES {
        match pair(client, namespace, &format!("{cluster}-{suffix}")).await? {
            Some(pair) => pairs.push(pair),
            None => return Ok(None),
        }
    }
    let [ca, etcd, proxy, sa] = <[_; 4]>::try_from(pairs).map_err(|_| KeysError::Broken {
        name: cluster.to_owned(),
        message: "not all of its Secrets were read".to_owned(),
    })?;
    Ok(Some(ClusterPki {
        ca: CertificateAuthority::from_pem("cluster CA", &ca.0, &ca.1)?,
        etcd_ca: CertificateAuthority::from_pem("etcd CA", &etcd.0, &etcd.1)?,
        front_proxy_ca: CertificateAuthority::from_pem("front proxy CA", &proxy.0, &proxy.1)?,
        service_account: KeyPairPem::from_pem("service account key", &sa.0, &sa.1)?,
    }))
}

/// Writes each of the keys into its Secret. One that is there already is kept: another start of the operator made it, and
/// a machine may have it. Whether none was there.
pub async fn create(client: &Client, cluster: &DevCluster, pki: &ClusterPki) -> Result<bool, KeysError> {
    let (namespace, name) = (owned::namespace(cluster), owned::name(cluster));
    let pairs = [
        (&pki.ca.cert_pem, &pki.ca.key_pem),
        (&pki.etcd_ca.cert_pem, &pki.etcd_ca.key_pem),
        (&pki.front_proxy_ca.cert_pem, &pki.front_proxy_ca.key_pem),
        (&pki.service_account.public, &pki.service_account.private),
    ];
    let mut all_new = true;
    for (suffix, (certificate, key)) in SUFFIXES.iter().zip(pairs) {
        let data = [(CERTIFICATE, certificate), (KEY, key)]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), ByteString(v.clone().into_bytes())))
            .collect();
        let secret = secret(cluster, format!("{name}-{suffix}"), data);
        all_new &= create_secret(client, &namespace, &secret).await?;
    }
    Ok(all_new)
}

/// Creates the Secret unless one of its name is there; whether it was created.
async fn create_secret(client: &Client, namespace: &str, secret: &Secret) -> Result<bool, KeysError> {
    match Api::<Secret>::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), secret)
        .await
    {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(source) => Err(KeysError::Api {
            name: secret.metadata.name.clone().unwrap_or_default(),
            source,
        }),
    }
}

/// A Secret that belongs to the cluster.
pub fn secret(cluster: &DevCluster, name: String, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: cluster.metadata.namespace.clone(),
            labels: Some(owned::labels(&owned::name(cluster))),
            owner_references: owned::owner_reference(cluster).map(|o| vec![o]),
            ..ObjectMeta::default()
        },
        type_: Some("cluster.x-k8s.io/secret".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

async fn pair(client: &Client, namespace: &str, name: &str) -> Result<Option<(String, String)>, KeysError> {
    let secret = Api::<Secret>::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await
        .map_err(|source| KeysError::Api {
            name: name.to_owned(),
            source,
        })?;
    let Some(secret) = secret else { return Ok(None) };
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| {
        let broken = |message: String| KeysError::Broken {
            name: name.to_owned(),
            message,
        };
        let bytes = data
            .get(key)
            .ok_or_else(|| broken(format!("found no key {key}, expected one in PEM")))?;
        String::from_utf8(bytes.0.clone()).map_err(|_| broken(format!("key {key} is not text, expected PEM")))
    };
    Ok(Some((text(CERTIFICATE)?, text(KEY)?)))
}
