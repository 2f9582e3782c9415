//! Who may ask a simulated cluster's API, as far as a caller can tell it from a real one: an administrator's certificate opens
//! everything, a bootstrap token what joining nodes read, nothing else anything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use seedbed_simulated_api::ApiServer;
use serde_json::Value;
use tower::Service;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who is on the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A member of the group that the API server trusts before any role is bound.
    Administrator,
    /// Somebody whose certificate the cluster's CA signed.
    Certified(String),
    /// Somebody without a certificate.
    Unknown,
}

impl Caller {
    /// Who shows that certificate (DER), whose signature was checked before.
    pub(crate) fn of(certificate: Option<&[u8]>) -> Self {
        let Some(certificate) = certificate.and_then(|der| X509Certificate::from_der(der).ok()) else {
            return Self::Unknown;
        };
        let subject = certificate.1.subject();
        let mut groups = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok());
        if groups.any(|group| group == "system:masters") {
            return Self::Administrator;
        }
        let name = subject.iter_common_name().find_map(|name| name.as_str().ok());
        Self::Certified(name.unwrap_or_default().to_owned())
    }

    /// Why the request is not let in: the HTTP status and the API server's words.
    pub(crate) async fn refusal<B>(&self, request: &Request<B>, api: &ApiServer) -> Option<(u16, String)> {
        match self {
            Self::Administrator => None,
            Self::Certified(name) => {
                Some((403, format!("forbidden: User \"{name}\" cannot access this path")))
            }
            Self::Unknown if has_token(request, api).await => {
                let allowed = request.method() == Method::GET
                    && request.uri().path() == "/api/v1/namespaces/kube-public/configmaps/cluster-info";
                (!allowed).then(|| {
                    (
                        403,
                        "forbidden: a bootstrap token reads kube-public/cluster-info only".to_owned(),
                    )
                })
            }
            Self::Unknown => Some((401, "Unauthorized".to_owned())),
        }
    }
}

async fn has_token<B>(request: &Request<B>, api: &ApiServer) -> bool {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ")?.split_once('.'));
    let Some((id, secret)) = token else {
        return false;
    };
    let path = format!("/api/v1/namespaces/kube-system/secrets/bootstrap-token-{id}");
    let Ok(asked) = Request::get(path).body(http_body_util::Full::new(Bytes::new())) else {
        return false;
    };
    let Ok(answer) = api.clone().call(asked).await;
    let Ok(body) = answer.into_body().collect().await;
    let object: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let kept = object["data"]["token-secret"].as_str();
    kept.and_then(|kept| STANDARD.decode(kept).ok())
        .is_some_and(|kept| kept == secret.as_bytes())
}
