//! Answering HTTP requests from the store, in the process.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::answered::Answered;
use crate::refusal::about;
use crate::request::{Asked, Parts, PatchType, Shape, Verb, read};
use crate::table::table;
use crate::{Kind, Refusal, Selector, Store, Subresource, discovery};

/// The body of an answer: all at once, or a line for each event of a watch.
pub type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// An API server in the process. Clones answer from the same objects.
#[derive(Clone)]
pub struct ApiServer {
    store: Arc<Mutex<Store>>,
    changed: Arc<watch::Sender<u64>>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    version: Arc<str>,
    emulated: Option<Arc<str>>,
    answered: Arc<Mutex<Answered>>,
    /// How those behind Services answer, by namespace and the Service's name in paths.
    services: Arc<Mutex<BTreeMap<(String, String), u16>>>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl ApiServer {
    /// A server of these objects, which says that it is Kubernetes of that version.
    pub fn new(
        store: Store,
        version: impl Into<Arc<str>>,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        let revision = store.revision();
        let answered = Answered::since(now());
        Self {
            store: Arc::new(Mutex::new(store)),
            changed: Arc::new(watch::channel(revision).0),
            now: Arc::new(now),
            version: version.into(),
            emulated: None,
            answered: Arc::new(Mutex::new(answered)),
            services: Arc::default(),
        }
    }

    /// Another server of the same objects, as after a restart: of that version, which behaves like that minor version (such as
    /// `1.35`), or like its own.
    #[must_use]
    pub fn restarted(&self, version: &str, emulated: Option<&str>) -> Self {
        Self {
            version: version.into(),
            emulated: emulated.map(Into::into),
            answered: Arc::new(Mutex::new(Answered::since((self.now)()))),
            ..self.clone()
        }
    }

    /// As if so many more requests had been answered well, and so many with an error of its own.
    pub fn count_requests(&self, well: u64, failed: u64) {
        self.answered().count(well, failed);
    }

    /// Whoever is behind that Service, such as `web:80` or `https:web:443`, answers with that status from now on.
    pub fn set_service(&self, namespace: &str, service: &str, code: u16) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.insert((namespace.to_owned(), service.to_owned()), code);
    }

    /// Does something with the objects, as whoever is behind the API does, and tells those who watch.
    pub fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let (result, revision) = {
            let mut store = self.lock();
            let result = work(&mut store);
            (result, store.revision())
        };
        self.changed.send_if_modified(|known| {
            let changed = *known != revision;
            *known = revision;
            changed
        });
        result
    }

    /// Answers a request.
    pub fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        let accept = header_of(request, header::ACCEPT);
        let parts = Parts {
            method: request.method(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            accept,
            content_type: header_of(request, header::CONTENT_TYPE),
            body: request.body(),
        };
        match parts.path {
            "/version" => return whole(200, &self.version_info()),
            "/livez" | "/readyz" | "/healthz" => return response(200, once(Bytes::from_static(b"ok"))),
            "/metrics" => return text(self.answered().text()),
            _ => {}
        }
        if let Some((namespace, service)) = passed_on(parts.path) {
            let answer = self.pass_on(namespace, service);
            self.answered().count_passed_on(answer.status().as_u16());
            return answer;
        }
        let answer = self.answer_of_objects(&parts);
        let failed = answer.status().is_server_error();
        self.answered().count(u64::from(!failed), u64::from(failed));
        answer
    }

    /// What whoever is behind the Service answers.
    fn pass_on(&self, namespace: &str, service: &str) -> Response<Body> {
        let name = service
            .split(':')
            .find(|word| *word != "https")
            .unwrap_or_default();
        let known = {
            let store = self.lock();
            let kind = store.kinds().of_plural("services").cloned();
            let kind = kind.ok_or_else(Refusal::no_such_page);
            kind.and_then(|kind| store.get(&kind, namespace, name).map(drop))
        };
        if let Err(refusal) = known {
            return refused(&refusal);
        }
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        match services.get(&(namespace.to_owned(), service.to_owned())) {
            Some(code) => response(*code, once(Bytes::from_static(b"as the simulation wants it"))),
            None => refused(&Refusal::no_endpoints(name)),
        }
    }

    fn answer_of_objects(&self, parts: &Parts<'_>) -> Response<Body> {
        if *parts.method == Method::GET
            && let Some(found) = discovery::answer(parts.path, self.lock().kinds())
        {
            return whole(200, &found);
        }
        let asked = match read(parts, self.lock().kinds()) {
            Ok(asked) => asked,
            Err(refusal) => return refused(&refusal),
        };
        let result = match asked {
            Asked {
                verb: Verb::Watch(selector, from, told),
                kind,
                namespace,
                shape,
            } => return self.watch(kind, namespace, selector, from, told, shape),
            asked => {
                let shape = asked.shape;
                self.with(|store| self.carry_out(store, asked))
                    .map(|(code, value)| whole(code, &shown(value, shape, (self.now)())))
            }
        };
        result.unwrap_or_else(|refusal| refused(&refusal))
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version_info(&self) -> Value {
        let version = &*self.version;
        let (major, minor) = numbers(version);
        let (emulated_major, emulated_minor) = self.emulated.as_deref().map_or((major, minor), numbers);
        // What kube-apiserver takes where no flag says otherwise: the minor version before the one that it behaves like.
        let compatible: Option<u32> = emulated_minor.parse().ok();
        let compatible = compatible.map_or(0, |minor| minor.saturating_sub(1));
        json!({
            "major": major, "minor": minor, "emulationMajor": emulated_major, "emulationMinor": emulated_minor,
            "minCompatibilityMajor": emulated_major, "minCompatibilityMinor": compatible.to_string(),
            "gitVersion": version, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "go1", "compiler": "gc", "platform": "linux/amd64",
        })
    }

    fn carry_out(&self, store: &mut Store, asked: Asked) -> Result<(u16, Value), Refusal> {
        let Asked {
            kind,
            namespace,
            verb,
            ..
        } = asked;
        let now = (self.now)();
        let known = |store: &Store, name: &str| store.get(&kind, &namespace, name).is_ok();
        match verb {
            Verb::Get(name) => Ok((200, store.get(&kind, &namespace, &name)?.clone())),
            Verb::List(selector) => Ok((200, list(store, &kind, &namespace, &selector))),
            Verb::Create(object) => Ok((201, store.create(&kind, &namespace, object, now)?)),
            Verb::TryCreate(object) => Ok((201, store.to_create(&kind, &namespace, object, now)?)),
            // Of the kinds here a Lease alone is made by a write to where there is none.
            Verb::Replace(name, object, Subresource::Main)
                if kind.plural == "leases" && !known(store, &name) =>
            {
                Ok((201, store.create(&kind, &namespace, object, now)?))
            }
            Verb::Replace(name, object, part) => {
                Ok((200, store.replace(&kind, &namespace, &name, object, part)?))
            }
            Verb::Patch(name, patch, PatchType::Merge, part) => {
                Ok((200, store.merge(&kind, &namespace, &name, &patch, part)?))
            }
            Verb::Patch(name, object, PatchType::Apply, _) => {
                let code = if known(store, &name) { 200 } else { 201 };
                Ok((code, store.apply(&kind, &namespace, &name, object, now)?))
            }
            Verb::Delete(name, conditions) => {
                let object = store.delete(&kind, &namespace, &name, &conditions, now)?;
                if known(store, &name) {
                    return Ok((200, object));
                }
                let mut details = about(&kind, kind.plural, &name);
                details["uid"] = object["metadata"]["uid"].clone();
                let mut status = success(200);
                status["details"] = details;
                Ok((200, status))
            }
            Verb::Evict(name, conditions) => {
                store.evict(&kind, &namespace, &name, &conditions, now)?;
                Ok((201, success(201)))
            }
            Verb::Watch(..) => Err(Refusal::unsupported("a watch as a single answer")),
        }
    }

    /// Events after that resourceVersion or, without one, all objects as new and then events. That a resourceVersion is too old is
    /// told by an event, too.
    fn watch(
        &self,
        kind: Kind,
        namespace: String,
        selector: Selector,
        from: Option<u64>,
        told: bool,
        shape: Shape,
    ) -> Response<Body> {
        let mut waiting = VecDeque::new();
        let revision = {
            let store = self.lock();
            if let Some(revision) = from {
                revision
            } else {
                waiting.extend(
                    store
                        .list(&kind, &namespace, &selector)
                        .map(|object| json!({"type": "ADDED", "object": object})),
                );
                if told {
                    waiting.push_back(bookmark(&kind, store.revision()));
                }
                store.revision()
            }
        };
        let follower = Follower {
            server: self.clone(),
            changed: self.changed.subscribe(),
            kind,
            namespace,
            selector,
            revision,
            waiting,
            ended: false,
        };
        let lines = stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        });
        let now = self.now.clone();
        let frames = lines.map(move |mut event| {
            event["object"] = shown(event["object"].take(), shape, now());
            Ok(Frame::data(Bytes::from(format!("{event}\n"))))
        });
        response(200, frames.boxed())
    }
}

/// Namespace and name of the Service, where the path is one that is passed on to it.
fn passed_on(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/api/v1/namespaces/")?;
    let (namespace, rest) = rest.split_once("/services/")?;
    let (service, rest) = rest.split_once('/')?;
    (rest == "proxy" || rest.starts_with("proxy/")).then_some((namespace, service))
}

/// The first two numbers of a version.
fn numbers(version: &str) -> (&str, &str) {
    let mut numbers = version.trim_start_matches('v').split('.');
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

/// One watch, and where it is.
struct Follower {
    server: ApiServer,
    changed: watch::Receiver<u64>,
    kind: Kind,
    namespace: String,
    selector: Selector,
    revision: u64,
    waiting: VecDeque<Value>,
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            self.changed.borrow_and_update();
            self.look();
            if self.waiting.is_empty() && self.changed.changed().await.is_err() {
                return None;
            }
        }
    }

    fn look(&mut self) {
        let store = self.server.lock();
        let wanted = |object: &Value| {
            let of = object["metadata"]["namespace"].as_str().unwrap_or_default();
            (self.namespace.is_empty() || of == self.namespace) && self.selector.matches(object)
        };
        match store.since(&self.kind, self.revision) {
            Ok(events) => self
                .waiting
                .extend(events.filter_map(|event| event.seen_by(wanted))),
            Err(refusal) => {
                self.ended = true;
                self.waiting
                    .push_back(json!({"type": "ERROR", "object": refusal.status()}));
            }
        }
        self.revision = store.revision();
    }
}

/// All objects that are wanted. Only those of custom kinds say each what they are.
fn list(store: &Store, kind: &Kind, namespace: &str, selector: &Selector) -> Value {
    let mut items: Vec<Value> = store.list(kind, namespace, selector).cloned().collect();
    if !kind.is_custom {
        for fields in items.iter_mut().filter_map(Value::as_object_mut) {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
    }
    json!({
        "apiVersion": kind.api_version(), "kind": format!("{}List", kind.kind),
        "metadata": {"resourceVersion": store.revision().to_string()}, "items": items,
    })
}

/// Says that what came before were all objects that there are.
fn bookmark(kind: &Kind, revision: u64) -> Value {
    let metadata = json!({
        "annotations": {"k8s.io/initial-events-end": "true"}, "resourceVersion": revision.to_string(),
    });
    json!({"type": "BOOKMARK", "object": {
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata,
    }})
}

fn success(code: u16) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    if code != 200 {
        status["code"] = code.into();
    }
    status
}

/// The object, or each of a list, as it was asked for.
fn shown(mut value: Value, shape: Shape, now: Timestamp) -> Value {
    if value["kind"] == "Status" {
        return value;
    }
    match shape {
        Shape::Whole => return value,
        Shape::Table => return table(&value, now),
        Shape::Metadata => {}
    }
    if let Some(items) = value["items"].as_array_mut() {
        let items: Vec<_> = items.drain(..).map(|item| shown(item, shape, now)).collect();
        // A list of nothing is null there.
        let items = (!items.is_empty()).then_some(items);
        return json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": value["metadata"], "items": items,
        });
    }
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": value["metadata"]})
}

fn header_of(request: &Request<Bytes>, name: header::HeaderName) -> &str {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn refused(refusal: &Refusal) -> Response<Body> {
    whole(refusal.code, &refusal.status())
}

fn whole(code: u16, value: &Value) -> Response<Body> {
    response(code, once(Bytes::from(value.to_string())))
}

fn text(text: String) -> Response<Body> {
    let mut response = response(200, once(Bytes::from(text)));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

fn once(bytes: Bytes) -> BoxStream<'static, Result<Frame<Bytes>, Infallible>> {
    stream::once(ready(Ok(Frame::data(bytes)))).boxed()
}

fn response(code: u16, frames: BoxStream<'static, Result<Frame<Bytes>, Infallible>>) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(frames));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

impl<B> tower::Service<Request<B>> for ApiServer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<Body>;
    type Error = B::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(server.answer(&Request::from_parts(head, body)))
        }
        .boxed()
    }
}
