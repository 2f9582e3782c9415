//! The whole operator on a simulated seed, host and guests, in tokio's virtual time: while everything waits, the clock is put to the
//! next moment at which something happens.

use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use seedbed_guest::Pause;
use seedbed_hypervisor::simulated::Simulated;
use seedbed_hypervisor::{HostFacts, Hypervisor, Inventory};
use seedbed_operator::backoff::Backoff;
use seedbed_operator::child::{ChildAccess, ChildKeeper};
use seedbed_operator::context::{Clock, Context, Randomness, Settings, TokioTasks};
use seedbed_operator::controllers;
use seedbed_operator::events::EventRecorder;
use seedbed_operator::health::Health;
use seedbed_operator::hosts::HostKeeper;
use seedbed_operator::metrics::Metrics;
use seedbed_operator::uploads::Uploads;
use seedbed_simulated_api::{ApiServer, Kind, Kinds, Preconditions, Selector, Store};
use seedbed_simulator::{Machines, Timers, Timing};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceExt};

/// How long anything may take, in virtual time.
const LIMIT: Duration = Duration::from_mins(30);

/// Tokio's clock, from 2026-01-01 on.
#[derive(Debug, Clone, Copy)]
struct Virtual {
    started: Instant,
}

#[async_trait]
impl Pause for Virtual {
    async fn pause(&self, time: Duration) {
        sleep(time).await;
    }
}

#[async_trait]
impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_225_600).unwrap() + self.started.elapsed()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        sleep(time).await;
    }
}

impl Timers for Virtual {
    fn now(&self) -> Timestamp {
        Clock::now(self)
    }

    fn after(&self, delay: Duration, work: Box<dyn FnOnce() + Send>) {
        tokio::spawn(async move {
            sleep(delay).await;
            work();
        });
    }
}

/// Always the same bytes: jitter in the middle of its range.
#[derive(Debug)]
struct NoChance;

impl Randomness for NoChance {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(0x7f);
        Ok(())
    }
}

/// A release's disk, and its digest: written once for all tests, which run side by side.
static IMAGE: LazyLock<(PathBuf, String)> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("empty.qcow2");
    let image = empty_qcow2();
    std::fs::write(&path, &image).unwrap();
    let digest = Sha256::digest(&image)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
    (path, digest)
});

/// A simulated seed with a simulated host.
pub struct Setting {
    pub api: ApiServer,
    pub host: Arc<Simulated>,
    pub machines: Machines,
    clock: Virtual,
}

impl Setting {
    /// With a host, a release of that version on its way to it, and nothing else.
    pub fn new(version: &str) -> Self {
        let clock = Virtual {
            started: Instant::now(),
        };
        let machines = Machines::new(Timing::default(), Arc::new(clock));
        let facts = HostFacts {
            hostname: "simulated".to_owned(),
            hypervisor_version: "simulated".to_owned(),
            manager_version: "simulated".to_owned(),
            cpus: 64,
            memory_bytes: 256 << 30,
            pool_capacity_bytes: 1 << 42,
            pool_available_bytes: 1 << 42,
        };
        let host = Arc::new(Simulated::new(facts, Arc::new(machines.clone())));
        machines.set_host(&host);
        let api = ApiServer::new(Store::new(kinds(), "seed"), version, move || Clock::now(&clock));
        let setting = Self {
            api,
            host,
            machines,
            clock,
        };
        setting.create(json!({
            "kind": "HypervisorHost", "metadata": {"name": "local"},
            "spec": {
                "libvirt": {"uri": "qemu:///system", "domainType": "kvm", "storagePool": "seedbed"},
                "nodeAddressRange": "10.64.0.0/16",
            },
        }));
        let (image, digest) = &*IMAGE;
        setting.create(json!({
            "kind": "KubernetesRelease", "metadata": {"name": version},
            "spec": {
                "version": version,
                "guestImage": {"disk": {"url": format!("file://{}", image.display()), "sha256": digest}},
                "components": {"containerd": "v2.3.7", "etcd": "v3.6.6", "coredns": "v1.13.1"},
            },
        }));
        setting
    }

    /// Starts the operator; it ends with what is returned.
    pub fn operator(&self) -> Operator {
        let context = Arc::new(self.context());
        let work = tokio::spawn(controllers::run(context, std::future::pending()));
        Operator(work)
    }

    fn context(&self) -> Context {
        let clock: Arc<dyn Clock> = Arc::new(self.clock);
        let random: Arc<dyn Randomness> = Arc::new(NoChance);
        let tasks = Arc::new(TokioTasks);
        let client = Client::new(self.api.clone(), "default");
        let host: Arc<dyn Hypervisor> = self.host.clone();
        let machines = self.machines.clone();
        let settings = Settings::default();
        Context {
            events: EventRecorder::new(client.clone(), clock.clone(), random.clone(), "simulated"),
            backoff: Arc::new(Backoff::new(random.clone())),
            hosts: Arc::new(HostKeeper::new(tasks.clone(), move |_| host.clone())),
            uploads: Arc::new(Uploads::new(
                clock.clone(),
                random.clone(),
                tasks.clone(),
                settings.upload_limit,
            )),
            children: Arc::new(ChildKeeper::new(
                clock.clone(),
                tasks.clone(),
                move |_, access| Ok(reach(&machines, access)),
            )),
            metrics: Arc::new(Metrics::new().unwrap()),
            health: Arc::new(Health::new(clock.clone())),
            client,
            clock,
            random,
            tasks,
            settings,
        }
    }

    /// Makes an object in the namespace `default`, or in none.
    pub fn create(&self, object: Value) {
        let kind = self.kind(object["kind"].as_str().unwrap());
        let namespace = if kind.namespaced { "default" } else { "" };
        let now = Clock::now(&self.clock);
        self.api
            .with(|store| store.create(&kind, namespace, object, now))
            .unwrap();
    }

    /// Asks for an object's deletion.
    pub fn delete(&self, kind: &str, name: &str) {
        let kind = self.kind(kind);
        let now = Clock::now(&self.clock);
        self.api
            .with(|store| store.delete(&kind, "default", name, &Preconditions::default(), now))
            .unwrap();
    }

    /// Changes an object's spec.
    pub fn change(&self, kind: &str, name: &str, spec: &Value) {
        let kind = self.kind(kind);
        self.api
            .with(|store| {
                let patch = json!({"spec": spec});
                store.merge(
                    &kind,
                    "default",
                    name,
                    &patch,
                    seedbed_simulated_api::Subresource::Main,
                )
            })
            .unwrap();
    }

    /// All objects of that kind.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        let kind = self.kind(kind);
        self.api
            .with(|store| store.list(&kind, "", &Selector::default()).cloned().collect())
    }

    /// An object's condition: its status; none where there is no such object or condition.
    pub fn condition(&self, kind: &str, name: &str, type_: &str) -> Option<String> {
        let object = self
            .all(kind)
            .into_iter()
            .find(|o| o["metadata"]["name"] == name)?;
        let conditions = object["status"]["conditions"].as_array()?.clone();
        let condition = conditions.into_iter().find(|c| c["type"] == type_)?;
        condition["status"].as_str().map(str::to_owned)
    }

    /// Everything on the host.
    pub async fn inventory(&self) -> Inventory {
        self.host.inventory().await.unwrap()
    }

    /// Waits, in virtual time, until it is so. Meanwhile garbage is collected, as in a real cluster.
    pub async fn until(&self, what: &str, mut is_so: impl AsyncFnMut(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self).await {
            assert!(
                began.elapsed() < LIMIT,
                "{what}: not so after {} s of virtual time; found {}",
                LIMIT.as_secs(),
                self.told()
            );
            let now = Clock::now(&self.clock);
            while self.api.with(|store| store.collect(now)) {}
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// What the objects say of themselves, for messages.
    fn told(&self) -> String {
        let mut text = String::new();
        for kind in [
            "HypervisorHost",
            "KubernetesRelease",
            "DevCluster",
            "NodePool",
            "DevMachine",
        ] {
            for object in self.all(kind) {
                writeln!(text, "\n{kind} {}", object["metadata"]["name"]).unwrap();
                for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
                    let (type_, status) = (&condition["type"], &condition["status"]);
                    writeln!(
                        text,
                        "  {type_}={status} ({}) {}",
                        condition["reason"], condition["message"]
                    )
                    .unwrap();
                }
            }
        }
        text
    }

    fn kind(&self, name: &str) -> Kind {
        let plural = format!("{}s", name.to_lowercase());
        self.api
            .with(|store| store.kinds().of_plural(&plural).cloned())
            .unwrap()
    }
}

/// An operator that works until it is dropped: then it is gone from one moment to the next.
pub struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn kinds() -> Kinds {
    let mut kinds = Kinds::builtin();
    for (kind, plural, namespaced) in [
        ("DevCluster", "devclusters", true),
        ("NodePool", "nodepools", true),
        ("DevMachine", "devmachines", true),
        ("HypervisorHost", "hypervisorhosts", false),
        ("KubernetesRelease", "kubernetesreleases", false),
    ] {
        kinds.add(Kind {
            group: "seedbed.dev",
            version: "v1alpha1",
            kind,
            plural,
            namespaced,
            has_status: true,
        });
    }
    kinds
}

/// A client of the API at that address, as long as it answers; else a connection is refused.
fn reach(machines: &Machines, access: &ChildAccess) -> Client {
    let host = access
        .endpoint
        .trim_start_matches("https://")
        .trim_end_matches(":6443");
    let address: Ipv4Addr = host.parse().unwrap();
    let machines = machines.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let api = machines.api(address);
        async move {
            let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
            let api = api.ok_or_else(refused)?;
            api.oneshot(request).await.map_err(BoxError::from)
        }
    });
    Client::new(service, "default")
}

/// An empty qcow2 image: its header is all that is looked at.
fn empty_qcow2() -> Vec<u8> {
    let mut image = vec![0; 512];
    image[..4].copy_from_slice(b"QFI\xfb");
    image[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
    image
}
