//! Registry mirrors and trusted certificate authorities for containerd.
//!
//! The guest image's containerd reads `/etc/containerd/certs.d` at each pull, so that mirrors need no restart. The
//! system's trusted authorities are read once by a process, so that a new one needs a restart of containerd.

use std::fmt::Write;

use crate::file::GuestFile;

/// Where containerd looks for the hosts of a registry.
const HOSTS_FOLDER: &str = "/etc/containerd/certs.d";
/// Where `update-ca-certificates` looks for authorities.
const AUTHORITIES_FOLDER: &str = "/usr/local/share/ca-certificates";

/// A registry and where to pull from instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryMirror {
    /// The registry as image names spell it, for example `docker.io` or `registry.example:5000`; `_default` for all
    /// that have no entry of their own.
    pub registry: String,
    /// URLs to try in this order before the registry itself.
    pub endpoints: Vec<String>,
}

/// An authority that the whole guest trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCa {
    /// A name for it: lower-case letters, digits, `-` and `.`.
    pub name: String,
    /// Its certificate, PEM.
    pub pem: String,
}

/// A setting that containerd could not work with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ContainerdError {
    /// A registry's name.
    #[error(
        "registry mirror [{index}]: found the registry {found:?}, expected a host with or without a port, such as docker.io or registry.example:5000, or _default"
    )]
    Registry {
        /// Place in the list, from 0.
        index: usize,
        /// The name.
        found: String,
    },
    /// A mirror's URL.
    #[error(
        "registry mirror [{index}] ({registry}): found the endpoint {found:?}, expected a URL that begins with http:// or https://"
    )]
    Endpoint {
        /// Place in the list, from 0.
        index: usize,
        /// The registry.
        registry: String,
        /// The URL.
        found: String,
    },
    /// An authority's name.
    #[error(
        "trusted CA [{index}]: found the name {found:?}, expected lower-case letters, digits, - and ., beginning with a letter or digit"
    )]
    CaName {
        /// Place in the list, from 0.
        index: usize,
        /// The name.
        found: String,
    },
    /// An authority's certificate.
    #[error(
        "trusted CA [{index}] ({name}): found no PEM block CERTIFICATE; give the certificate in PEM form"
    )]
    CaPem {
        /// Place in the list, from 0.
        index: usize,
        /// The authority's name.
        name: String,
    },
}

/// What is set for containerd beyond what the guest image brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerdSettings {
    /// Registry mirrors.
    pub mirrors: Vec<RegistryMirror>,
    /// Trusted authorities.
    pub trusted_cas: Vec<TrustedCa>,
}

impl ContainerdSettings {
    /// The files that carry the settings.
    pub fn files(&self) -> Result<Vec<GuestFile>, ContainerdError> {
        let mut files = Vec::with_capacity(self.mirrors.len() + self.trusted_cas.len());
        for (index, mirror) in self.mirrors.iter().enumerate() {
            let content = hosts(index, mirror)?;
            files.push(GuestFile::public(
                format!("{HOSTS_FOLDER}/{}/hosts.toml", mirror.registry),
                content,
            ));
        }
        for (index, ca) in self.trusted_cas.iter().enumerate() {
            let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let valid = ca.name.bytes().next().is_some_and(named)
                && ca
                    .name
                    .bytes()
                    .all(|byte| named(byte) || byte == b'-' || byte == b'.');
            if !valid {
                return Err(ContainerdError::CaName {
                    index,
                    found: ca.name.clone(),
                });
            }
            if !ca.pem.contains("-----BEGIN CERTIFICATE-----") {
                return Err(ContainerdError::CaPem {
                    index,
                    name: ca.name.clone(),
                });
            }
            let pem = format!("{}\n", ca.pem.trim());
            files.push(GuestFile::public(
                format!("{AUTHORITIES_FOLDER}/seedbed-{}.crt", ca.name),
                pem,
            ));
        }
        Ok(files)
    }

    /// Shell commands that make containerd see the files, in their order. Empty where none is needed.
    pub fn commands(&self) -> &'static [&'static str] {
        if self.trusted_cas.is_empty() {
            &[]
        } else {
            &["update-ca-certificates", "systemctl restart containerd.service"]
        }
    }
}

fn hosts(index: usize, mirror: &RegistryMirror) -> Result<String, ContainerdError> {
    let registry = &mirror.registry;
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_' | b'[' | b']');
    if registry.is_empty() || registry.starts_with('.') || !registry.bytes().all(allowed) {
        return Err(ContainerdError::Registry {
            index,
            found: registry.clone(),
        });
    }
    let mut file = String::new();
    // Docker Hub's images are named after docker.io, its registry answers elsewhere. `_default` has no server.
    match registry.as_str() {
        "docker.io" => file.push_str("server = \"https://registry-1.docker.io\"\n"),
        "_default" => {}
        other => {
            let _ = writeln!(file, "server = \"https://{other}\"");
        }
    }
    for endpoint in &mirror.endpoints {
        let rest = endpoint
            .strip_prefix("https://")
            .or_else(|| endpoint.strip_prefix("http://"));
        let printable = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        if !rest.is_some_and(printable) {
            return Err(ContainerdError::Endpoint {
                index,
                registry: registry.clone(),
                found: endpoint.clone(),
            });
        }
        let _ = write!(
            file,
            "\n[host.\"{endpoint}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
        );
    }
    Ok(file)
}
