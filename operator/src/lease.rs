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

/// The lease, as this instance has it.
#[derive(Debug)]
pub struct Held {
    lease: Box<Lease>,
    /// When it was asked for, or its renewal was, by this machine's clock: the answer may be heard much later.
    since: Duration,
}

/// What one look came to.
enum Look {
    Held(Box<Lease>),
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
    pub async fn acquire(&self) -> Held {
        let mut seen = None;
        let mut told = None;
        loop {
            let since = self.clock.elapsed();
            let look = self.look(&mut seen).await;
            self.health.election_alive();
            let what = match look {
                Look::Held(lease) => {
                    tracing::info!(
                        lease = self.lease(),
                        identity = self.name.identity,
                        "lease acquired"
                    );
                    return Held { lease, since };
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
    pub async fn keep(&self, mut held: Held) -> Lost {
        let mut message = silent();
        loop {
            // One that was stopped for a time does not go on, whatever it hears then.
            if self.left(&held).is_zero() {
                return self.not_renewed(message);
            }
            self.clock.sleep(RETRY_PERIOD).await;
            let (since, left) = (self.clock.elapsed(), self.left(&held));
            if left.is_zero() {
                return self.not_renewed(message);
            }
            // The deadline cuts an attempt short: whoever waits for the lease to expire does not wait for our answer.
            match tokio::time::timeout(left, self.renew(&held.lease)).await {
                Ok(Look::Held(lease)) => held = Held { lease, since },
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
                Err(_) => return self.not_renewed(message),
            }
            self.health.election_alive();
        }
    }

    /// How long it is still held.
    fn left(&self, held: &Held) -> Duration {
        RENEW_DEADLINE.saturating_sub(self.clock.elapsed().saturating_sub(held.since))
    }

    fn not_renewed(&self, message: String) -> Lost {
        Lost::NotRenewed {
            lease: self.lease(),
            message,
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
            return self.take(self.claim(None)).await;
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
            self.take(self.claim(Some(lease))).await
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
            Ok(lease) => Look::Held(Box::new(lease)),
            Err(Refusal::Other(message) | Refusal::Missing(message)) => Look::Failed { message },
            // Somebody else wrote it: perhaps only a label, or an earlier renewal of ours whose answer was lost.
            Err(Refusal::Conflict) => match self.get().await {
                Ok(Some(lease)) if holder(&lease) == Some(&self.name.identity) => Look::Held(Box::new(lease)),
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
    async fn claim(&self, found: Option<Lease>) -> Result<Lease, Refusal> {
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
        if let Some(found) = found {
            return self
                .replace(&Lease {
                    spec: Some(spec),
                    ..found
                })
                .await;
        }
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
            },
        ))
        .await
    }

    async fn take(&self, write: impl Future<Output = Result<Lease, Refusal>>) -> Look {
        match write.await {
            Ok(lease) => Look::Held(Box::new(lease)),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Asked, NoChance, client, refusal, virtual_clock};

    /// An API server that holds one `Lease` and refuses writes over an old version, as the real one does.
    #[derive(Debug, Default)]
    struct Server {
        lease: Option<Value>,
        version: u64,
        down: bool,
        /// How long its answers are under way.
        slow: Option<Duration>,
    }

    impl Server {
        fn answer(&mut self, asked: &Asked) -> Option<(u16, Value)> {
            if self.down {
                return None;
            }
            Some(match (asked.method.as_str(), &self.lease) {
                ("GET", Some(lease)) => (200, lease.clone()),
                ("GET" | "PUT", None) => refusal(404, "NotFound", "not found"),
                ("POST", Some(_)) => refusal(409, "AlreadyExists", "exists"),
                ("PUT", Some(lease))
                    if lease["metadata"]["resourceVersion"] != asked.body["metadata"]["resourceVersion"] =>
                {
                    refusal(409, "Conflict", "the object has been modified")
                }
                _ => {
                    self.version += 1;
                    let mut lease = asked.body.clone();
                    lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
                    self.lease = Some(lease.clone());
                    (200, lease)
                }
            })
        }
    }

    type Shared = Arc<Mutex<Server>>;

    fn election(server: &Shared, clock: &Arc<dyn Clock>, identity: &str) -> Election {
        let server = server.clone();
        let client = client(move |asked| {
            let mut server = server.lock().unwrap();
            let (answer, slow) = (server.answer(&asked), server.slow);
            async move {
                if let Some(slow) = slow {
                    tokio::time::sleep(slow).await;
                }
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        });
        let name = LeaseName {
            namespace: "seedbed-system".into(),
            name: "operator".into(),
            identity: identity.into(),
        };
        Election::new(
            client,
            name,
            clock.clone(),
            Arc::new(NoChance),
            Arc::new(Health::new(clock.clone())),
        )
    }

    fn holder_at(server: &Shared) -> Value {
        server
            .lock()
            .unwrap()
            .lease
            .as_ref()
            .map_or(Value::Null, |lease| lease["spec"]["holderIdentity"].clone())
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_that_start_together_one_wins_and_keeps_it() {
        let (server, clock) = (Shared::default(), virtual_clock());
        let all: Vec<_> = (0..5)
            .map(|n| election(&server, &clock, &format!("instance-{n}")))
            .collect();
        let leaders = Mutex::new(0);
        let each = all.iter().map(|election| async {
            let held = election.acquire().await;
            *leaders.lock().unwrap() += 1;
            election.keep(held).await
        });
        let lost = tokio::time::timeout(
            Duration::from_mins(2),
            futures::future::select_all(each.map(Box::pin)),
        );
        assert!(
            lost.await.is_err(),
            "the leader lost a lease that nobody else could have"
        );
        assert_eq!(*leaders.lock().unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_lease_is_taken_at_once_and_a_silent_holders_after_its_duration() {
        let (server, clock) = (Shared::default(), virtual_clock());
        let (one, two) = (election(&server, &clock, "one"), election(&server, &clock, "two"));
        one.acquire().await;
        one.release().await;
        let begun = clock.elapsed();
        two.acquire().await;
        assert!(clock.elapsed().saturating_sub(begun) < Duration::from_secs(1));

        let begun = clock.elapsed();
        one.acquire().await;
        let waited = clock.elapsed().saturating_sub(begun);
        assert!(
            waited >= DURATION && waited < DURATION + 2 * RETRY_PERIOD,
            "{waited:?}"
        );
        assert_eq!(
            server.lock().unwrap().lease.as_ref().unwrap()["spec"]["leaseTransitions"],
            2
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_cannot_renew_gives_up_before_another_may_start() {
        let (server, clock) = (Shared::default(), virtual_clock());
        let one = election(&server, &clock, "one");
        let held = one.acquire().await;
        server.lock().unwrap().down = true;
        let begun = clock.elapsed();
        let lost = one.keep(held).await;
        assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
        let waited = clock.elapsed().saturating_sub(begun);
        assert!(waited <= RENEW_DEADLINE, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_was_stopped_past_its_deadline_does_not_go_on_for_a_moment() {
        let (server, clock) = (Shared::default(), virtual_clock());
        let one = election(&server, &clock, "one");
        let held = one.acquire().await;
        let mut kept = Box::pin(one.keep(held));
        assert!(futures::poll!(kept.as_mut()).is_pending());
        server.lock().unwrap().lease.as_mut().unwrap()["metadata"]["resourceVersion"] = json!("999");
        tokio::time::advance(RENEW_DEADLINE + RETRY_PERIOD).await;
        let begun = clock.elapsed();
        let lost = kept.await;
        assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
        assert_eq!(clock.elapsed(), begun);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_heard_after_the_deadline_holds_nothing() {
        let (server, clock) = (Shared::default(), virtual_clock());
        let one = election(&server, &clock, "one");
        // It was stopped, and the answer was there when it went on: the first time to what it took the lease by, and then to a renewal.
        let held = one.acquire().await;
        tokio::time::advance(RENEW_DEADLINE).await;
        let begun = clock.elapsed();
        let lost = one.keep(held).await;
        assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
        assert_eq!(clock.elapsed(), begun);

        let late = Duration::from_secs(4);
        let held = one.acquire().await;
        let mut kept = Box::pin(one.keep(held));
        assert!(futures::poll!(kept.as_mut()).is_pending());
        server.lock().unwrap().slow = Some(late);
        tokio::time::advance(RETRY_PERIOD).await;
        assert!(futures::poll!(kept.as_mut()).is_pending());
        tokio::time::advance(RENEW_DEADLINE + late).await;
        let begun = clock.elapsed();
        let lost = kept.await;
        assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
        assert_eq!(clock.elapsed(), begun);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_notices_that_it_was_replaced_and_does_not_take_it_back() {
        let (server, clock) = (Shared::default(), virtual_clock());
        let one = election(&server, &clock, "one");
        let held = one.acquire().await;
        {
            let mut server = server.lock().unwrap();
            let lease = server.lease.as_mut().unwrap();
            lease["spec"]["holderIdentity"] = json!("two");
            lease["metadata"]["resourceVersion"] = json!("999");
        }
        let lost = one.keep(held).await;
        assert!(
            matches!(&lost, Lost::Taken { holder, .. } if holder == "two"),
            "{lost}"
        );
        one.release().await;
        assert_eq!(holder_at(&server), json!("two"));
    }
}
