//! Leader election by a `Lease`, as client-go does it.
//!
//! Every write carries the resource version that was read, so that of two instances that reach for the lease one loses. Whether
//! the holder is alive is judged by this machine's own clock, from when a change of the lease was seen: clocks of two machines
//! are never compared.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::context::{Clock, Randomness, jittered};
use crate::errors::{api_message, status_code};
use crate::health::Health;
use crate::names::FIELD_MANAGER;

/// How long a lease that is not renewed keeps others away.
const DURATION: Duration = Duration::from_secs(15);
/// How long the holder tries to renew before it gives up: shorter than `DURATION`, so that it has stopped before another starts.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// How long one look may take.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Whose lease, and who reaches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseName {
    /// Namespace of the `Lease`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who this instance is: unique among all instances.
    pub identity: String,
}

/// Why the lease is not this instance's any more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another instance has it.
    #[error("Lease {lease} is held by {holder} now")]
    Taken {
        /// The lease.
        lease: String,
        /// Who holds it.
        holder: String,
    },
    /// It could not be renewed in time.
    #[error("Lease {lease} could not be renewed for {} s: {message}", RENEW_DEADLINE.as_secs())]
    NotRenewed {
        /// The lease.
        lease: String,
        /// Why the last attempt failed.
        message: String,
    },
}

/// Reaches for a lease and keeps it.
pub struct Election {
    api: Api<Lease>,
    name: LeaseName,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
    health: Arc<Health>,
}

/// The lease as it was last seen, and when that was first seen by this machine's clock.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    at: Duration,
}

/// What one look came to.
enum Look {
    Held(Lease),
    Other { holder: String },
    Failed { message: String },
}

impl Election {
    /// Of an instance that has not reached for the lease yet.
    pub fn new(
        client: Client,
        name: LeaseName,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Randomness>,
        health: Arc<Health>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, &name.namespace),
            name,
            clock,
            random,
            health,
        }
    }

    /// Returns once the lease is this instance's.
    pub async fn acquire(&self) -> Lease {
        let mut seen = None;
        let mut told = None;
        loop {
            let look = self.look(&mut seen).await;
            self.health.election_alive();
            let what = match look {
                Look::Held(lease) => {
                    tracing::info!(
                        lease = self.lease(),
                        identity = self.name.identity,
                        "lease acquired"
                    );
                    return lease;
                }
                Look::Other { holder } => format!("held by {holder}; waiting to take over"),
                Look::Failed { message } => format!("not acquired, trying again: {message}"),
            };
            if told.as_ref() != Some(&what) {
                tracing::info!(lease = self.lease(), "{what}");
                told = Some(what);
            }
            self.clock.sleep(jittered(&*self.random, RETRY_PERIOD)).await;
        }
    }

    /// Renews the lease until it is lost.
    pub async fn keep(&self, mut held: Lease) -> Lost {
        let mut renewed = self.clock.elapsed();
        let mut message = silent();
        loop {
            self.clock.sleep(RETRY_PERIOD).await;
            let begun = self.clock.elapsed();
            let left = RENEW_DEADLINE.saturating_sub(begun.saturating_sub(renewed));
            // The deadline cuts an attempt short: whoever waits for the lease to expire does not wait for our answer.
            match tokio::time::timeout(left, self.renew(&held)).await {
                Ok(Look::Held(lease)) => {
                    held = lease;
                    renewed = begun;
                }
                Ok(Look::Other { holder }) => {
                    return Lost::Taken {
                        lease: self.lease(),
                        holder,
                    };
                }
                Ok(Look::Failed { message: why }) => {
                    tracing::warn!(lease = self.lease(), "not renewed: {why}");
                    message = why;
                }
                Err(_) => {
                    return Lost::NotRenewed {
                        lease: self.lease(),
                        message,
                    };
                }
            }
            self.health.election_alive();
        }
    }

    /// Gives the lease up, so that another instance need not wait for it to expire. Does nothing where it is not ours any more.
    pub async fn release(&self) {
        let found = match self.call(self.api.get(&self.name.name)).await {
            Ok(lease) if holder(&lease) == Some(&self.name.identity) => lease,
            Ok(_) => return,
            Err(message) => return tracing::warn!(lease = self.lease(), "not released: {message}"),
        };
        let mut lease = found;
        let now = self.clock.now();
        lease.spec = Some(LeaseSpec {
            holder_identity: None,
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(now)),
            acquire_time: Some(MicroTime(now)),
            ..lease.spec.unwrap_or_default()
        });
        match self
            .call(self.api.replace(&self.name.name, &params(), &lease))
            .await
        {
            Ok(_) => tracing::info!(lease = self.lease(), "lease released"),
            Err(message) => tracing::warn!(lease = self.lease(), "not released: {message}"),
        }
    }

    /// Looks at the lease and takes it where nobody has it, or whoever has it did not renew it for its duration.
    async fn look(&self, seen: &mut Option<Seen>) -> Look {
        let found = match self.get().await {
            Ok(found) => found,
            Err(message) => return Look::Failed { message },
        };
        let Some(lease) = found else {
            return self.take(self.create(None)).await;
        };
        let now = self.clock.elapsed();
        let since = match seen {
            Some(before) if before.lease.spec == lease.spec => before.at,
            _ => now,
        };
        let free = match holder(&lease) {
            None => true,
            // Ours from before a restart under the same name: nobody else can have it.
            Some(identity) if *identity == self.name.identity => true,
            Some(_) => now.saturating_sub(since) >= duration_of(&lease),
        };
        let held_by = holder(&lease).cloned().unwrap_or_default();
        *seen = Some(Seen {
            lease: lease.clone(),
            at: since,
        });
        if free {
            self.take(self.create(Some(lease))).await
        } else {
            Look::Other { holder: held_by }
        }
    }

    async fn renew(&self, held: &Lease) -> Look {
        let mut lease = held.clone();
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(self.clock.now()));
        }
        match self.replace(&lease).await {
            Ok(lease) => Look::Held(lease),
            Err(Refusal::Other(message) | Refusal::Missing(message)) => Look::Failed { message },
            // Somebody else wrote it: perhaps only a label, or an earlier renewal of ours whose answer was lost.
            Err(Refusal::Conflict) => match self.get().await {
                Ok(Some(lease)) if holder(&lease) == Some(&self.name.identity) => Look::Held(lease),
                Ok(Some(lease)) => {
                    let holder = holder(&lease).cloned().unwrap_or_else(|| "nobody".to_owned());
                    Look::Other { holder }
                }
                Ok(None) => Look::Other {
                    holder: "nobody: it was deleted".to_owned(),
                },
                Err(message) => Look::Failed { message },
            },
        }
    }

    /// Writes the lease as this instance's: a new one, or over the one that was read.
    async fn create(&self, found: Option<Lease>) -> Result<Lease, Refusal> {
        let now = MicroTime(self.clock.now());
        let before = found
            .as_ref()
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let ours = before.holder_identity.as_ref() == Some(&self.name.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.name.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(if ours || found.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        };
        match found {
            Some(found) => {
                self.replace(&Lease {
                    spec: Some(spec),
                    ..found
                })
                .await
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.name.clone()),
                    namespace: Some(self.name.namespace.clone()),
                    ..ObjectMeta::default()
                };
                self.write(self.api.create(
                    &params(),
                    &Lease {
                        metadata,
                        spec: Some(spec),
                        ..Lease::default()
                    },
                ))
                .await
            }
        }
    }

    async fn take(&self, write: impl Future<Output = Result<Lease, Refusal>>) -> Look {
        match write.await {
            Ok(lease) => Look::Held(lease),
            Err(Refusal::Conflict) => Look::Failed {
                message: "another instance was faster".to_owned(),
            },
            Err(Refusal::Other(message) | Refusal::Missing(message)) => Look::Failed { message },
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Refusal> {
        match self
            .write(self.api.replace(&self.name.name, &params(), lease))
            .await
        {
            // Deleted since it was read: read again.
            Err(Refusal::Missing(_)) => Err(Refusal::Conflict),
            result => result,
        }
    }

    async fn write(&self, write: impl Future<Output = kube::Result<Lease>>) -> Result<Lease, Refusal> {
        match tokio::time::timeout(CALL_LIMIT, write).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) if status_code(&error) == Some(409) => Err(Refusal::Conflict),
            Ok(Err(error)) if status_code(&error) == Some(404) => {
                Err(Refusal::Missing(self.explained(&error)))
            }
            Ok(Err(error)) => Err(Refusal::Other(self.explained(&error))),
            Err(_) => Err(Refusal::Other(silent())),
        }
    }

    async fn get(&self) -> Result<Option<Lease>, String> {
        self.call(self.api.get_opt(&self.name.name)).await
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        match tokio::time::timeout(CALL_LIMIT, call).await {
            Ok(result) => result.map_err(|error| self.explained(&error)),
            Err(_) => Err(silent()),
        }
    }

    fn explained(&self, error: &kube::Error) -> String {
        let message = api_message(error);
        match status_code(error) {
            Some(403) => format!(
                "{message}; bind the Role seedbed-operator (config/rbac) in namespace {} to the operator's identity",
                self.name.namespace
            ),
            Some(404) => format!("{message}; create the namespace {}", self.name.namespace),
            _ => message,
        }
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.name.namespace, self.name.name)
    }
}

/// Why a write was not done.
enum Refusal {
    /// Somebody else wrote first.
    Conflict,
    /// What it would be written to, or into, is not there.
    Missing(String),
    /// Anything else.
    Other(String),
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn silent() -> String {
    format!("no answer within {} s", CALL_LIMIT.as_secs())
}

/// Who holds the lease; none where nobody does.
fn holder(lease: &Lease) -> Option<&String> {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_ref())
        .filter(|holder| !holder.is_empty())
}

fn duration_of(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs)
}
