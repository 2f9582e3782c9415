//! Clients of API servers whose calls end within a limit.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, Client, ClientBuilder, ConfigExt, DynBody};
use tokio_rustls::rustls::client::Resumption;
use tower::{BoxError, Layer, Service, ServiceBuilder};

/// After how long a request that nobody waits for any more is not carried out any more. An API server gives one up after a minute:
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/> (request-timeout).
pub const LATE: Duration = Duration::from_mins(5);
/// How long a connection to an API server may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection that requests wait on may be silent before the other end is asked whether it is still there, and how long its
/// answer may take. One that does not answer is closed, and watches on it are begun anew: a machine that lost its power closes nothing.
/// An API server whose processor is emulated may take many seconds, and to begin anew would cost it more than the answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How many TLS sessions a client keeps to resume: it has one server, and room for rustls' usual 256 takes tens of kilobytes.
const SESSIONS: usize = 1;
/// How many bytes of one answer may be under way.
const WINDOW: u32 = 1 << 20;

/// A client whose every call, watches apart, has its whole answer within `limit`, and that leaves trying again to its caller:
/// the client's own retries would hold a reconcile for minutes, and would hide that an eviction is refused (429).
///
/// A watch has its first answer within `limit` too; from then on kube's watcher looks after it.
///
/// All requests to a server, watches among them, share one connection (HTTP/2), where the server offers it: with one for each
/// watch, a thousand clusters would take four thousand, and the memory for their TLS.
pub fn build(config: Config, limit: Duration) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        return through_proxy(config, limit);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_LIMIT.min(limit)));
    connector.set_keepalive(Some(KEEPALIVE));
    let mut tls = config.rustls_client_config()?;
    tls.resumption = Resumption::in_memory_sessions(SESSIONS);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(WINDOW * 4)
        .http2_keep_alive_interval(KEEPALIVE)
        .http2_keep_alive_timeout(KEEPALIVE)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(LimitLayer { limit })
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .map_response(boxed)
        .service(client);
    Ok(Client::new(service, config.default_namespace))
}

/// As kube itself does it: a connection for each request that is under way.
fn through_proxy(mut config: Config, limit: Duration) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(CONNECT_LIMIT.min(limit));
    config.write_timeout = Some(limit);
    config.read_timeout = None;
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&LimitLayer { limit })
        .build())
}

fn boxed<B>(response: Response<B>) -> Response<Box<DynBody>>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    response.map(|body| Box::new(body.map_err(Into::into)) as Box<DynBody>)
}

/// A client of that service, whose calls end within `limit` as those of [`build`]'s clients do.
pub fn over<S>(service: S, limit: Duration) -> Client
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
{
    Client::new(LimitLayer { limit }.layer(service), "default")
}

/// Of a request, as an extension: how long its answer may take, where that is another time than that of the client's calls.
#[derive(Debug, Clone, Copy)]
pub struct Patience(pub Duration);

/// No whole answer came within the limit. What was asked may have been done all the same.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", limit.as_secs_f32())]
pub struct NoAnswer {
    limit: Duration,
}

#[derive(Debug, Clone, Copy)]
struct LimitLayer {
    limit: Duration,
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Limited {
            inner,
            limit: self.limit,
        }
    }
}

#[derive(Debug)]
struct Limited<S> {
    inner: S,
    limit: Duration,
}

impl<S> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError> + Send,
    S::Future: Send + 'static,
{
    type Response = Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let patience = request.extensions().get::<Patience>();
        let limit = patience.map_or(self.limit, |patience| patience.0);
        let watch = is_watch(request.uri().query());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let whole = async {
                let response = answer.await?;
                if watch {
                    return Ok(response);
                }
                let (head, body) = response.into_parts();
                let bytes = body.collect().await?.to_bytes();
                let body: Box<DynBody> = Box::new(Body::from(bytes).map_err(BoxError::from));
                Ok::<_, BoxError>(Response::from_parts(head, body))
            };
            tokio::time::timeout(limit, whole)
                .await
                .unwrap_or_else(|_| Err(NoAnswer { limit }.into()))
        })
    }
}

fn is_watch(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        query
            .split('&')
            .any(|part| matches!(part, "watch=true" | "watch=1"))
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::client::Body;

    use super::*;
    use crate::errors::api_message;

    /// A server that never answers.
    fn silent(limit: Duration) -> Client {
        let service = tower::service_fn(|_: Request<Body>| {
            futures::future::pending::<Result<Response<Box<DynBody>>, BoxError>>().boxed()
        });
        over(service, limit)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_ends_and_says_so() {
        let api = Api::<ConfigMap>::default_namespaced(silent(Duration::from_secs(10)));
        let error = api.get("x").await.unwrap_err();
        assert!(api_message(&error).contains("no answer within 10 s"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_have_more_patience() {
        let client = silent(Duration::from_secs(10));
        let mut request = Request::get("/metrics").body(Vec::new()).unwrap();
        request.extensions_mut().insert(Patience(Duration::from_secs(40)));
        let error = client.request_text(request).await.unwrap_err();
        assert!(api_message(&error).contains("no answer within 40 s"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_ends_the_call_too() {
        let service = tower::service_fn(|_: Request<Body>| async {
            let endless = futures::stream::pending::<Result<_, BoxError>>();
            let body: Box<DynBody> = Box::new(http_body_util::StreamBody::new(endless));
            Ok::<_, BoxError>(Response::new(body))
        });
        let client = over(service, Duration::from_secs(10));
        let error = Api::<ConfigMap>::default_namespaced(client)
            .get("x")
            .await
            .unwrap_err();
        assert!(api_message(&error).contains("no answer within 10 s"), "{error}");
    }
}
