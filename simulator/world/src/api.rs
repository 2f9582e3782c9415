//! The way from an operator to an API server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::{Body, DynBody};
use seedbed_operator::client;
use seedbed_simulated_api::ApiServer;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};
use tower::BoxError;

use crate::process::Process;
use crate::stage::{Manner, Stage};
use crate::step::{Boundary, Delivery, Refusal, Step};

type Answer = Result<Response<Box<DynBody>>, BoxError>;

/// How long a watch lasts whose client does not say: between 30 and 60 minutes in a real API server.
const LONGEST_WATCH: Duration = Duration::from_mins(30);

/// Between two looks whether a connection is still one to the process that answers. All of them look at the same moments, which costs
/// a simulation of many hours one turn for all.
const LOOK: Duration = Duration::from_secs(5);

/// Finds the server that answers now, and which process it is; why none does, where that is so.
pub(crate) type Find = Arc<dyn Fn() -> Result<(ApiServer, u64), Unanswered> + Send + Sync>;

/// Why no server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nothing listens there.
    Refused,
    /// Packets get lost.
    Silent,
    /// What listens there has a certificate of another CA.
    Untrusted,
}

/// A client of whatever answers at that boundary, for a process of the operator, whose calls end within `limit`.
pub(crate) fn client_of(
    stage: Arc<Stage>,
    process: Arc<Process>,
    boundary: Boundary,
    limit: Duration,
    find: Find,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| -> BoxFuture<'static, Answer> {
        answer(
            stage.clone(),
            process.clone(),
            boundary.clone(),
            find.clone(),
            request,
        )
        .boxed()
    });
    client::over(service, limit)
}

async fn answer(
    stage: Arc<Stage>,
    process: Arc<Process>,
    boundary: Boundary,
    find: Find,
    request: Request<Body>,
) -> Answer {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, body.collect_bytes().await?);
    let step = step(process.name(), boundary, &request);
    let watch = (step.verb == "WATCH").then(|| (step.clone(), length(&request)));
    let manner = Manner {
        refuse,
        tell,
        limit: None,
    };
    let seek = find.clone();
    let run = async move {
        match seek() {
            Ok((server, _)) => {
                let (head, body) = server.answer(&request).into_parts();
                let body: Box<DynBody> = Box::new(body.map_err(BoxError::from));
                Ok(Response::from_parts(head, body))
            }
            Err(Unanswered::Refused) => Err(refused()),
            Err(Unanswered::Untrusted) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "invalid peer certificate: UnknownIssuer",
            )
            .into()),
            Err(Unanswered::Silent) => futures::future::pending().await,
        }
    };
    let response = stage.pass(&process, step, manner, run).await?;
    let Some((step, length)) = watch else {
        return Ok(response);
    };
    let (head, body) = response.into_parts();
    let events = Events {
        stage,
        step,
        server: find().map(|(_, server)| server).ok(),
        find,
        ends: Instant::now() + length,
        frames: frames(body),
    };
    let body: Box<DynBody> = Box::new(StreamBody::new(events.stream()));
    Ok(Response::from_parts(head, body))
}

fn step(instance: &str, boundary: Boundary, request: &Request<Bytes>) -> Step {
    let query = request.uri().query().unwrap_or_default();
    let asks = |key: &str| query.split('&').find_map(|part| part.strip_prefix(key));
    let path = request.uri().path();
    let is_watch = asks("watch=").is_some();
    let verb = match *request.method() {
        Method::GET if is_watch => "WATCH",
        ref other => other.as_str(),
    };
    Step {
        instance: instance.to_owned(),
        boundary,
        verb: verb.to_owned(),
        object: path.to_owned(),
        detail: asks("labelSelector=")
            .or_else(|| asks("fieldSelector="))
            .unwrap_or_default()
            .to_owned(),
        owner: None,
        changes: *request.method() != Method::GET,
    }
}

/// How long the server keeps a watch open.
fn length(request: &Request<Bytes>) -> Duration {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .find_map(|part| part.strip_prefix("timeoutSeconds=")?.parse().ok())
        .map_or(LONGEST_WATCH, Duration::from_secs)
}

fn refused() -> BoxError {
    io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused").into()
}

fn refuse(step: &Step, refusal: &Refusal) -> Answer {
    let (code, reason) = match refusal {
        Refusal::Unreachable => {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer").into());
        }
        Refusal::Answered(409) => (409, "Conflict"),
        Refusal::Answered(410) => (410, "Expired"),
        Refusal::Answered(429) => (429, "TooManyRequests"),
        Refusal::Answered(503) => (503, "ServiceUnavailable"),
        Refusal::Answered(code) => (*code, "InternalError"),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": format!("{} of {}: {reason}, as the simulation wants it", step.verb, step.object),
    });
    let body: Box<DynBody> = Box::new(Full::new(Bytes::from(status.to_string())).map_err(BoxError::from));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code)?;
    if code == 429 {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    Ok(response)
}

fn tell(answer: &Answer) -> String {
    match answer {
        Ok(response) => response.status().as_str().to_owned(),
        Err(error) => error.to_string(),
    }
}

type Frames = BoxStream<'static, Result<Frame<Bytes>, BoxError>>;

fn frames(body: Box<DynBody>) -> Frames {
    stream::unfold(body, |mut body| async move {
        let frame = body.frame().await?;
        Some((frame, body))
    })
    .boxed()
}

/// The events of a watch on their way.
struct Events {
    stage: Arc<Stage>,
    step: Step,
    find: Find,
    /// The process that it is a connection to.
    server: Option<u64>,
    ends: Instant,
    frames: Frames,
}

impl Events {
    fn stream(self) -> Frames {
        stream::unfold(Some(self), |events| async move {
            let mut events = events?;
            let frame = events.next().await?;
            let goes_on = frame.is_ok();
            Some((frame, goes_on.then_some(events)))
        })
        .boxed()
    }

    /// When to look at the connection the next time. The seed's API is one process that is always in reach.
    fn next_look(&self) -> Instant {
        if self.step.boundary == Boundary::Seed {
            return self.ends;
        }
        let started = self.stage.started;
        let looks = started.elapsed().as_secs() / LOOK.as_secs();
        started + Duration::from_secs((looks + 1) * LOOK.as_secs())
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        let mut waiting = None;
        let frame = loop {
            let look = self.ends.min(self.next_look());
            let frame = match waiting.take() {
                Some(frame) => Ok(frame),
                None => timeout_at(look, self.frames.next()).await,
            };
            match (self.find)().map(|(_, server)| server) {
                Ok(server) if Some(server) == self.server => {}
                // Another process answers there, and knows nothing of this connection.
                Ok(_) => return Some(Err(io::Error::from(io::ErrorKind::ConnectionReset).into())),
                // Nobody ends it; what is on its way comes once packets come through again.
                Err(_) => {
                    waiting = frame.ok();
                    sleep(LOOK).await;
                    continue;
                }
            }
            match frame {
                Ok(frame) => break frame?,
                Err(_) if Instant::now() >= self.ends => return None,
                Err(_) => {}
            }
        };
        match self.stage.director.delivery(&self.step) {
            Delivery::Now => {}
            Delivery::After(delay) => sleep(delay).await,
            Delivery::Broken => {
                self.stage.note(&format!("{} -> breaks", self.step));
                return Some(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()));
            }
        }
        Some(frame)
    }
}
