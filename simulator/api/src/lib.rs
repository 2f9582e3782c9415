//! A Kubernetes API server that exists in memory only.
//!
//! It keeps objects as kube-apiserver does, as far as controllers can tell: resourceVersions and optimistic locking, generations,
//! status subresources, finalizers, preconditions, owner references and their garbage, watches that can be resumed and may find
//! their place gone. [`Store`] is all of it as data; [`ApiServer`] answers HTTP requests from it, in the process: a `kube::Client` is
//! made with it as its service.
//!
//! Requests to Services by way of it (`…/services/NAME:PORT/proxy/`) are answered as it is told, and requests are counted.
//!
//! What it does not simulate: schemas and their defaults and rules (an object is taken as it is, but for the `restartPolicy` of Jobs), admission, authorization, lists
//! in pages, tables, and the fields that server-side apply would take away again.

mod answered;
#[cfg(feature = "conformance")]
pub mod conformance;
mod discovery;
mod eviction;
mod kinds;
mod metadata;
mod refusal;
mod request;
mod selector;
mod server;
mod store;
mod table;
mod watch;

pub use eviction::covers;
pub use kinds::{Kind, Kinds};
pub use metadata::is_ready;
pub use refusal::Refusal;
pub use selector::Selector;
pub use server::{ApiServer, Body};
pub use store::{Preconditions, Snapshot, Store, Subresource};
pub use watch::{Change, Event};
