//! The control planes' APIs on loopback, each over TLS at its machine's address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{AbortHandle, abortable};
use http::{Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use seedbed_guest::GuestFile;
use seedbed_kubeadm::pki::{CertificateAuthority, Lifetime};
use seedbed_simulated_api::{ApiServer, Body};
use seedbed_simulator::ControlPlanes;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};
use tower::Service;

use crate::access::Caller;

/// Port of every cluster's API server.
const PORT: u16 = 6443;
/// How long a serving certificate is valid: kubeadm's year.
const LIFETIME: Duration = Duration::from_hours(365 * 24);
/// How long a watch lasts that does not say how long, in seconds. kube-apiserver takes between this and twice as long.
const WATCH_SECONDS: u64 = 1800;

/// The APIs that answer, by their addresses. Without one, its port is closed, and connections to it are cut.
#[derive(Debug, Default)]
pub struct Planes(Mutex<HashMap<Ipv4Addr, AbortHandle>>);

impl ControlPlanes for Planes {
    fn began(&self, address: Ipv4Addr, api: &ApiServer, files: &[GuestFile]) -> Result<(), String> {
        self.ended(address);
        if !address.is_loopback() {
            return Err(format!(
                "{address} is not on loopback: the nodeAddressRange of a simulated host, and spec.network.nodeCIDR of its clusters, have to be within 127.0.0.0/8"
            ));
        }
        let acceptor = TlsAcceptor::from(Arc::new(tls(address, files)?));
        let told = |error: std::io::Error| format!("listen on {address}:{PORT}: {error}");
        let listener = TcpListener::bind((address, PORT)).map_err(told)?;
        listener.set_nonblocking(true).map_err(told)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(told)?;
        let (work, handle) = abortable(accept(listener, acceptor, api.clone()));
        tokio::spawn(work);
        self.lock().insert(address, handle);
        Ok(())
    }

    fn ended(&self, address: Ipv4Addr) {
        if let Some(handle) = self.lock().remove(&address) {
            handle.abort();
        }
    }
}

impl Planes {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Ipv4Addr, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What kubeadm and the API server make of the authorities that a control plane was given.
fn tls(address: Ipv4Addr, files: &[GuestFile]) -> Result<ServerConfig, String> {
    let file = |name: &str| {
        files
            .iter()
            .find(|file| file.path.ends_with(name) && !file.path.ends_with(&format!("etcd{name}")))
            .and_then(|file| String::from_utf8(file.content.clone()).ok())
            .ok_or_else(|| format!("the machine was given no file …{name}"))
    };
    let (certificate, key) = (file("/ca.crt")?, file("/ca.key")?);
    let ca = CertificateAuthority::from_pem("cluster CA", &certificate, &key).map_err(|e| e.to_string())?;
    let now = jiff::Timestamp::now().as_second();
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "localhost",
    ];
    let serving = ca
        .server_certificate(
            "kube-apiserver",
            &names,
            &[IpAddr::V4(address)],
            Lifetime::starting(now, LIFETIME),
        )
        .map_err(|e| e.to_string())?;
    let told = |error: &dyn std::fmt::Display| format!("the serving certificate: {error}");
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| told(&e))?)
        .map_err(|e| told(&e))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| told(&e))?;
    let chain = vec![CertificateDer::from_pem_slice(serving.cert_pem.as_bytes()).map_err(|e| told(&e))?];
    let key = PrivateKeyDer::from_pem_slice(serving.key_pem.as_bytes()).map_err(|e| told(&e))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| told(&e))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|e| told(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts connections for ever. Dropped, it cuts those that there are.
async fn accept(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, api: ApiServer) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, acceptor.clone(), api.clone()));
                }
                Err(error) => {
                    tracing::warn!("accept a connection: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, acceptor: TlsAcceptor, api: ApiServer) {
    let Ok(stream) = acceptor.accept(stream).await else {
        // The other end has been told why in TLS's own words.
        return;
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let caller = Caller::of(certificates.and_then(|chain| chain.first()).map(AsRef::as_ref));
    let service = tower::service_fn(move |request| answer(request, caller.clone(), api.clone()));
    let served = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}

async fn answer<B>(
    request: Request<B>,
    caller: Caller,
    mut api: ApiServer,
) -> Result<Response<Body>, B::Error>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    if let Some((code, message)) = caller.refusal(&request, &api).await {
        return Ok(refused(code, &message));
    }
    let limit = watch_limit(request.uri().query().unwrap_or_default());
    let answer = api.call(request).await?;
    let Some(limit) = limit else {
        return Ok(answer);
    };
    let (head, body) = answer.into_parts();
    let end = Box::pin(tokio::time::sleep(limit));
    let frames = http_body_util::BodyStream::new(body).take_until(end);
    Ok(Response::from_parts(head, StreamBody::new(frames.boxed())))
}

/// How long a watch lasts; none for what is no watch.
fn watch_limit(query: &str) -> Option<Duration> {
    let mut parts = query.split('&').filter_map(|part| part.split_once('='));
    let is_watch = parts.clone().any(|part| matches!(part, ("watch", "true" | "1")));
    let seconds = parts.find_map(|(key, value)| (key == "timeoutSeconds").then(|| value.parse().ok())?);
    is_watch.then(|| Duration::from_secs(seconds.unwrap_or(WATCH_SECONDS)))
}

fn refused(code: u16, message: &str) -> Response<Body> {
    let reason = if code == 401 { "Unauthorized" } else { "Forbidden" };
    let status = serde_json::json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let frame = Ok(Frame::data(Bytes::from(status.to_string())));
    let mut response = Response::new(StreamBody::new(
        futures::stream::once(std::future::ready(frame)).boxed(),
    ));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
