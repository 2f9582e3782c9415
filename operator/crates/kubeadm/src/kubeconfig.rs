//! Kubeconfig files.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

pub use crate::document::RenderError;
use crate::{document, pki::IssuedCertificate, token::BootstrapToken};

/// What a client shows to say who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A client certificate and its key.
    Certificate(IssuedCertificate),
    /// A bootstrap token.
    Token(BootstrapToken),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(_) => f.write_str("Certificate(<redacted>)"),
            Self::Token(token) => write!(f, "Token({token:?})"),
        }
    }
}

/// A kubeconfig with one cluster, one user and one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// URL of the API server, `https://<host>:<port>`.
    pub server: String,
    /// Certificate of the authority that the server's certificate is signed by, PEM.
    pub ca_pem: String,
    /// Who the client is.
    pub credentials: Credentials,
    /// Name of the entry in `clusters`.
    pub cluster: String,
    /// Name of the entry in `users`.
    pub user: String,
    /// Name of the context, which is also the current one.
    pub context: String,
    /// Proxy through which the server is reached, where it cannot be reached directly.
    pub proxy_url: Option<String>,
    /// Name to expect in the server's certificate, where it is not the host of `server`.
    pub tls_server_name: Option<String>,
}

impl Kubeconfig {
    /// Writes the file. The result holds credentials: treat it as a secret.
    pub fn render(&self) -> Result<String, RenderError> {
        let mut cluster = json!({
            "server": self.server,
            "certificate-authority-data": STANDARD.encode(&self.ca_pem),
        });
        if let Some(proxy) = &self.proxy_url {
            cluster["proxy-url"] = json!(proxy);
        }
        if let Some(name) = &self.tls_server_name {
            cluster["tls-server-name"] = json!(name);
        }
        let file = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.cluster, "cluster": cluster}],
            "users": [{"name": self.user, "user": self.user_entry()}],
            "contexts": [{"name": self.context, "context": {"cluster": self.cluster, "user": self.user}}],
            "current-context": self.context,
        });
        document::value_to_yaml("kubeconfig", &file)
    }

    fn user_entry(&self) -> Value {
        match &self.credentials {
            Credentials::Certificate(issued) => json!({
                "client-certificate-data": STANDARD.encode(&issued.cert_pem),
                "client-key-data": STANDARD.encode(&issued.key_pem),
            }),
            Credentials::Token(token) => json!({"token": token.expose()}),
        }
    }
}
