//! A simulated world: a seed, hosts with machines, and instances of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use seedbed_hypervisor::simulated::Simulated;
use seedbed_hypervisor::{EventKind, HostEvent, HostFacts, Hypervisor, Inventory};
use seedbed_operator::context::{Clock, VirtualClock};
use seedbed_simulated_api::{ApiServer, Kind, Kinds, Preconditions, Refusal, Selector, Store, Subresource};
use seedbed_simulator::{Machines, Timers, Timing};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::api::Unanswered;
use crate::host::Connection;
use crate::operator::Operator;
use crate::stage::Stage;
use crate::step::Director;
use crate::{Chance, objects};

/// The namespace of everything that is in one.
pub const NAMESPACE: &str = "default";
/// Between two looks of the garbage collector.
const COLLECT: Duration = Duration::from_millis(500);

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What everything that is drawn follows from.
    pub seed: u64,
    /// The Kubernetes version of the release that there is.
    pub version: String,
    /// The hosts, by their names, and the ranges of their machines' addresses.
    pub hosts: BTreeMap<String, String>,
    /// How long things take in machines.
    pub timing: Timing,
    /// Memory of each host in bytes.
    pub memory_bytes: u64,
    /// Whether instances of the operator elect a leader; without that each works at once.
    pub election: bool,
    /// Whether there is a garbage collector; a seed of a kube-apiserver alone has none.
    pub collects_garbage: bool,
}

impl Settings {
    /// One host named `local` with room for everything, and no election.
    pub fn new(version: &str) -> Self {
        Self {
            seed: 0,
            version: version.to_owned(),
            hosts: BTreeMap::from([("local".to_owned(), "10.64.0.0/16".to_owned())]),
            timing: Timing {
                renew: None,
                ..Timing::default()
            },
            memory_bytes: 256 << 30,
            election: false,
            collects_garbage: true,
        }
    }
}

/// A host of the world.
pub struct Host {
    /// The host itself.
    pub simulated: Arc<Simulated>,
    /// Its machines.
    pub machines: Machines,
    pub(crate) connection: Arc<Connection>,
}

/// A simulated world. Clones are the same one.
#[derive(Clone)]
pub struct World(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) stage: Arc<Stage>,
    pub(crate) api: ApiServer,
    pub(crate) hosts: BTreeMap<String, Host>,
    pub(crate) cut: Mutex<BTreeSet<Ipv4Addr>>,
    pub(crate) started: Mutex<u64>,
    collector: Mutex<Option<AbortHandle>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let collector = self.collector.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(collector) = collector {
            collector.abort();
        }
    }
}

impl World {
    /// With its hosts, a release on its way to them, and nothing else. Has to be made in a runtime whose time is paused.
    pub fn new(settings: Settings, director: Arc<dyn Director>) -> Self {
        let clock = Arc::new(VirtualClock::new());
        let stage = Arc::new(Stage::new(director));
        let now = clock.clone();
        let api = ApiServer::new(Store::new(kinds(), "seed"), settings.version.clone(), move || {
            Clock::now(&*now)
        });
        let hosts = settings
            .hosts
            .keys()
            .map(|name| (name.clone(), host(name, &settings, &clock, &stage)))
            .collect();
        let world = Self(Arc::new(Inner {
            clock,
            stage,
            api,
            hosts,
            cut: Mutex::default(),
            started: Mutex::default(),
            collector: Mutex::default(),
            settings,
        }));
        for (name, range) in &world.0.settings.hosts {
            world.create(objects::host(name, range)).expect("a host");
        }
        world
            .create(objects::release(&world.0.settings.version))
            .expect("a release");
        if world.0.settings.collects_garbage {
            world.collect_garbage();
        }
        world
    }

    /// Asks for the deletion of all whose owners are gone.
    pub(crate) fn remove_garbage(&self) {
        remove_garbage(&self.0.api, self.now());
    }

    /// Collects garbage from now on, until the world is let go of.
    fn collect_garbage(&self) {
        let (api, clock, stage) = (self.0.api.clone(), self.0.clock.clone(), self.0.stage.clone());
        let collector = tokio::spawn(async move {
            let mut seen = 0;
            loop {
                sleep(stage.director.later(COLLECT)).await;
                let revision = api.with(|store| store.revision());
                if revision != seen {
                    remove_garbage(&api, Clock::now(&*clock));
                    stage.director.collected();
                    seen = revision;
                }
            }
        });
        *self.0.collector.lock().unwrap_or_else(PoisonError::into_inner) = Some(collector.abort_handle());
    }

    /// Starts an instance of the operator; it ends with what is returned.
    pub fn operator(&self) -> Operator {
        Operator::start(self)
    }

    /// Numbers for something of that name.
    pub fn chance(&self, name: &str) -> Chance {
        Chance::new(self.0.settings.seed).of(name)
    }

    /// What the world was made of.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The API that the operator's objects are in.
    pub fn api(&self) -> &ApiServer {
        &self.0.api
    }

    /// The hosts by their names.
    pub fn hosts(&self) -> &BTreeMap<String, Host> {
        &self.0.hosts
    }

    /// The one host of a world that has one.
    pub fn host(&self) -> &Host {
        self.0.hosts.values().next().expect("a world has a host")
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        Clock::now(&*self.0.clock)
    }

    /// How long the world has been.
    pub fn elapsed(&self) -> Duration {
        self.0.stage.started.elapsed()
    }

    /// Writes down that something happened.
    pub fn note(&self, what: &str) {
        self.0.stage.note(what);
    }

    /// All that happened, a line each.
    pub fn log(&self) -> String {
        self.0.stage.log()
    }

    /// The connection to the host's daemon is lost, or made again. Its machines go on.
    pub fn set_connection(&self, host: &str, lost: bool) {
        let Some(host) = self.0.hosts.get(host) else {
            return;
        };
        if lost {
            host.simulated.happens(HostEvent {
                domain: None,
                kind: EventKind::HostDisconnected,
            });
        }
        host.connection.set_lost(lost);
        if !lost {
            host.simulated.happens(HostEvent {
                domain: None,
                kind: EventKind::HostConnected,
            });
        }
    }

    /// Packets to that address get lost from now on, or come through again.
    pub fn set_cut(&self, address: Ipv4Addr, cut: bool) {
        let mut all = self.0.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if cut {
            all.insert(address);
        } else {
            all.remove(&address);
        }
    }

    /// The child cluster's API that answers at that address, to a client that trusts that CA (PEM).
    pub(crate) fn child(&self, address: Ipv4Addr, ca: &str) -> Result<(ApiServer, u64), Unanswered> {
        if self
            .0
            .cut
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&address)
        {
            return Err(Unanswered::Silent);
        }
        let found = self.0.hosts.values().find_map(|host| {
            let api = host.machines.api(address)?;
            let server = host.machines.server(address)?;
            Some(((api, server), host.machines.ca(address)?))
        });
        match found {
            None => Err(Unanswered::Refused),
            Some((_, of)) if of != ca.as_bytes() => Err(Unanswered::Untrusted),
            Some((api, _)) => Ok(api),
        }
    }

    /// Makes an object.
    pub fn create(&self, object: Value) -> Result<Value, Refusal> {
        let kind = self.kind(object["kind"].as_str().unwrap_or_default());
        let namespace = namespace_of(&kind);
        self.0
            .api
            .with(|store| store.create(&kind, namespace, object, self.now()))
    }

    /// Asks for an object's deletion.
    pub fn delete(&self, kind: &str, name: &str) -> Result<Value, Refusal> {
        let kind = self.kind(kind);
        let now = self.now();
        self.0
            .api
            .with(|store| store.delete(&kind, namespace_of(&kind), name, &Preconditions::default(), now))
    }

    /// Changes an object's spec.
    pub fn change(&self, kind: &str, name: &str, spec: &Value) -> Result<Value, Refusal> {
        let kind = self.kind(kind);
        let patch = json!({"spec": spec});
        self.0
            .api
            .with(|store| store.merge(&kind, namespace_of(&kind), name, &patch, Subresource::Main))
    }

    /// An object's status is lost, as by a restore from a backup that has none.
    pub fn lose_status(&self, kind: &str, name: &str) -> Result<Value, Refusal> {
        let kind = self.kind(kind);
        let none = json!({"status": null});
        self.0
            .api
            .with(|store| store.merge(&kind, namespace_of(&kind), name, &none, Subresource::Status))
    }

    /// All objects of that kind.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.list(&self.kind(kind))
    }

    /// All events of the seed's objects.
    pub fn events(&self) -> Vec<Value> {
        // There are two kinds of that name.
        self.list(&Kind {
            group: "events.k8s.io",
            ..self.kind("Event")
        })
    }

    fn list(&self, kind: &Kind) -> Vec<Value> {
        self.0
            .api
            .with(|store| store.list(kind, "", &Selector::default()).cloned().collect())
    }

    /// Whether all objects of that kind are so.
    pub(crate) fn every(&self, kind: &str, is_so: impl FnMut(&Value) -> bool) -> bool {
        let kind = self.kind(kind);
        self.0
            .api
            .with(|store| store.list(&kind, "", &Selector::default()).all(is_so))
    }

    /// The object of that kind and name.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let kind = self.kind(kind);
        self.0
            .api
            .with(|store| store.get(&kind, namespace_of(&kind), name).ok().cloned())
    }

    /// An object's condition: its status; none where there is no such object or condition.
    pub fn condition(&self, kind: &str, name: &str, type_: &str) -> Option<String> {
        let object = self.get(kind, name)?;
        condition(&object, type_).map(str::to_owned)
    }

    /// Everything on the one host.
    pub async fn inventory(&self) -> Inventory {
        self.host()
            .simulated
            .inventory()
            .await
            .expect("a simulated host answers")
    }

    /// How often machines were switched on, on all hosts.
    pub fn boots(&self) -> u64 {
        self.0.hosts.values().map(|host| host.machines.boots()).sum()
    }

    /// Waits, in virtual time, until it is so: true; false where it is not so after that long.
    pub async fn within(&self, limit: Duration, mut is_so: impl AsyncFnMut(&Self) -> bool) -> bool {
        let began = Instant::now();
        while !is_so(self).await {
            if began.elapsed() >= limit {
                return false;
            }
            sleep(Duration::from_millis(500)).await;
        }
        true
    }

    /// What the objects say of themselves, for messages.
    pub fn told(&self) -> String {
        let mut text = String::new();
        for kind in KINDS.map(|(kind, ..)| kind) {
            for object in self.all(kind) {
                // Writing into a string does not fail.
                let _ = writeln!(text, "{kind} {}", object["metadata"]["name"]);
                for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
                    let (type_, status) = (&condition["type"], &condition["status"]);
                    let (reason, message) = (&condition["reason"], &condition["message"]);
                    let _ = writeln!(text, "  {type_}={status} ({reason}) {message}");
                }
            }
        }
        text
    }

    /// The kind of that name.
    pub fn kind(&self, name: &str) -> Kind {
        let plural = match name {
            "NetworkPolicy" => "networkpolicies".to_owned(),
            name => format!("{}s", name.to_lowercase()),
        };
        let found = self.0.api.with(|store| store.kinds().of_plural(&plural).cloned());
        found.expect("a kind that the seed knows")
    }
}

/// The status of an object's condition.
pub(crate) fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|c| c["type"] == type_)?;
    condition["status"].as_str()
}

fn namespace_of(kind: &Kind) -> &'static str {
    if kind.namespaced { NAMESPACE } else { "" }
}

fn host(name: &str, settings: &Settings, clock: &Arc<VirtualClock>, stage: &Arc<Stage>) -> Host {
    let timers = Alarm {
        clock: clock.clone(),
        stage: stage.clone(),
    };
    let machines = Machines::new(settings.timing.clone(), Arc::new(timers));
    let facts = HostFacts {
        hostname: name.to_owned(),
        hypervisor_version: "simulated".to_owned(),
        manager_version: "simulated".to_owned(),
        cpus: 64,
        memory_bytes: settings.memory_bytes,
        pool_capacity_bytes: 1 << 42,
        pool_available_bytes: 1 << 42,
    };
    let simulated = Arc::new(Simulated::new(facts, Arc::new(machines.clone())));
    machines.set_host(&simulated);
    Host {
        simulated,
        machines,
        connection: Arc::default(),
    }
}

/// The machines' clocks.
struct Alarm {
    clock: Arc<VirtualClock>,
    stage: Arc<Stage>,
}

impl Timers for Alarm {
    fn now(&self) -> Timestamp {
        Clock::now(&*self.clock)
    }

    fn after(&self, delay: Duration, work: Box<dyn FnOnce() + Send>) {
        let delay = self.stage.director.later(delay);
        tokio::spawn(async move {
            sleep(delay).await;
            work();
        });
    }
}

const KINDS: [(&str, &str, bool); 6] = [
    ("HypervisorHost", "hypervisorhosts", false),
    ("KubernetesRelease", "kubernetesreleases", false),
    ("DevCluster", "devclusters", true),
    ("NodePool", "nodepools", true),
    ("DevMachine", "devmachines", true),
    ("ClusterUpgrade", "clusterupgrades", true),
];

fn remove_garbage(api: &ApiServer, now: Timestamp) {
    while api.with(|store| store.collect(now)) {}
}

fn kinds() -> Kinds {
    let mut kinds = Kinds::builtin();
    for (kind, plural, namespaced) in KINDS {
        kinds.add(Kinds::custom("seedbed.dev", "v1alpha1", kind, plural, namespaced));
    }
    kinds
}
