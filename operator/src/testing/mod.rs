//! Stand-ins for tests: chance without chance, a host for transfers, and an API of one's own.

mod host;

use std::future::Future;
use std::io;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

use crate::context::{Clock, Randomness, VirtualClock};
pub use host::TransferHost;

/// Tokio's clock, which the test has paused.
pub fn virtual_clock() -> Arc<dyn Clock> {
    Arc::new(VirtualClock::new())
}

/// Always the same bytes: jitter in the middle of its range.
#[derive(Debug)]
pub struct NoChance;

impl Randomness for NoChance {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(0x7f);
        Ok(())
    }
}

/// What was asked of the API.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Value,
}

/// A client whose requests the function answers.
pub fn client<F, A>(answer: F) -> Client
where
    F: Fn(Asked) -> A + Send + Sync + 'static,
    A: Future<Output = (u16, Value)> + Send + 'static,
{
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let asked = Asked {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
            };
            let (code, value) = answer(asked).await;
            let body = Body::from(serde_json::to_vec(&value)?);
            Ok::<_, BoxError>(
                Response::builder()
                    .status(StatusCode::from_u16(code)?)
                    .body(body)?,
            )
        }
    });
    Client::new(service, "default")
}

/// What an API server answers to what it refuses.
pub fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    (code, status)
}
