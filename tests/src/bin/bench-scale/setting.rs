//! The seed, its hosts, and what is done to them.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{ApiResource, DeleteParams, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use nix::sys::signal::Signal;
use seedbed_seed::{DownOptions, Instance, Mode, OPERATOR_UNIT, Seed, Silent, UpOptions};
use seedbed_tests::{Objects, client, eventually_within, inputs, root_of_checkout};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clusters::Watched;
use crate::processes::{self, Spent};
use crate::requests::{Reader, Requests};
use crate::say;

/// In how many namespaces the clusters are.
const NAMESPACES: usize = 10;
/// How many requests are under way at once while objects are made or deleted.
const AT_ONCE: usize = 16;
/// How many clusters a host has, unless it is said otherwise.
const ON_A_HOST: usize = 50;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// How many clusters.
    pub clusters: usize,
    /// How many workers each has.
    pub workers: usize,
    /// On how many hosts they are; 0 for as many as are needed.
    pub hosts: usize,
}

impl Sizes {
    /// On how many hosts the clusters are.
    pub fn hosts(self) -> usize {
        match self.hosts {
            0 => self.clusters.div_ceil(ON_A_HOST).max(1),
            hosts => hosts,
        }
    }
}

/// The most memory that processes ever had, in bytes.
pub struct Memory {
    /// The operator.
    pub operator: u64,
    /// The simulator.
    pub simulator: u64,
}

/// A seed with simulated hosts.
pub struct Setting {
    /// How much there is.
    pub sizes: Sizes,
    seed: Seed,
    folder: PathBuf,
    log: RefCell<Reader>,
}

impl Setting {
    /// Starts it, in an instance of its own.
    pub fn start(out: &Path, sizes: Sizes) -> Self {
        let own = std::env::current_exe().unwrap();
        let program = |name: &str| {
            let path = own.with_file_name(name);
            assert!(
                path.is_file(),
                "{} is missing: run hack/bench-scale",
                path.display()
            );
            path
        };
        let tools =
            std::env::var_os("SEEDBED_TEST_RELEASE").expect("SEEDBED_TEST_RELEASE: see hack/bench-scale");
        let instance = Instance::below(&out.canonicalize().unwrap().join("state"), "scale").unwrap();
        remove(&instance);
        let checkout = root_of_checkout();
        let options = UpOptions {
            mode: Some(Mode::None),
            programs: PathBuf::from(tools).join("bin"),
            supervisor: program("kubectl-seedbed"),
            crds: Some(checkout.join("crds/generated")),
            rbac: Some(checkout.join("config/rbac")),
            releases: Vec::new(),
            kvm_record: None,
            simulator: Some(program("seedbed-simulator")),
            operator: Some(program("seedbed-operator")),
            operator_log_filter: Some(std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned())),
        };
        let seed = instance.up(&options, &mut Silent).unwrap();
        Self {
            sizes,
            seed,
            folder: out.to_owned(),
            log: RefCell::default(),
        }
    }

    /// Removes it.
    pub fn stop(&self) {
        if let Some(kept) = std::env::var_os("KEEP_LOGS") {
            let kept = PathBuf::from(kept);
            fs::create_dir_all(&kept).unwrap();
            for entry in fs::read_dir(self.seed.instance.folder().join("logs"))
                .unwrap()
                .flatten()
            {
                fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
            }
        }
        remove(&self.seed.instance);
    }

    /// A client of the seed's API as its administrator.
    pub async fn client(&self) -> Client {
        let path = self.seed.instance.admin_kubeconfig();
        client(kube::config::Kubeconfig::read_from(path).unwrap()).await
    }

    /// Makes namespaces, hosts and a release, and waits until they can be used.
    pub async fn prepare(&self) -> Watched {
        let client = self.client().await;
        let objects = Objects::new(client.clone(), "default");
        let release = self.release();
        objects.create(release).await.unwrap();
        for number in 0..NAMESPACES {
            Objects::new(client.clone(), &namespace(number))
                .ensure_namespace()
                .await;
        }
        for number in 0..self.sizes.hosts() {
            objects.create(self.host(number)).await.unwrap();
        }
        let limit = Duration::from_mins(2);
        for number in 0..self.sizes.hosts() {
            let name = host_name(number);
            eventually_within(limit, &format!("host {name} is Ready"), async || {
                is_ready(&objects.get("HypervisorHost", &name).await)
            })
            .await;
        }
        eventually_within(limit, "the release is on the hosts", async || {
            is_ready(&objects.get("KubernetesRelease", inputs::VERSION).await)
        })
        .await;
        Watched::begin(Api::all_with(client, &resource("DevCluster"))).await
    }

    fn release(&self) -> Value {
        // A qcow2 image of which there is only the header: what is in volumes is not simulated.
        let mut image = vec![0; 512];
        image[..4].copy_from_slice(b"QFI\xfb");
        image[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
        let path = self.folder.canonicalize().unwrap().join("state/disk.qcow2");
        fs::write(&path, &image).unwrap();
        let digest = Sha256::digest(&image)
            .iter()
            .fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
        inputs::release(inputs::VERSION, &format!("file://{}", path.display()), &digest)
    }

    fn host(&self, number: usize) -> Value {
        json!({
            "kind": "HypervisorHost",
            "metadata": {"name": host_name(number)},
            "spec": {
                "simulated": {
                    "socket": self.seed.instance.simulator_socket(),
                    "cpus": 4096, "memory": "64Ti", "storage": "1024Ti",
                    "durations": {
                        "boot": "500ms", "apiServer": "500ms", "init": "500ms", "join": "500ms", "nodeReady": "300ms", "dns": "300ms",
                    },
                },
                "nodeAddressRange": format!("127.{}.0.0/16", 64 + number),
            },
        })
    }

    /// Makes all clusters, with their pools.
    pub async fn create_all(&self, _: &Watched) {
        let client = self.client().await;
        let sizes = self.sizes;
        futures::stream::iter(0..sizes.clusters)
            .for_each_concurrent(AT_ONCE, |number| {
                let client = client.clone();
                async move {
                    let objects = Objects::new(client, &namespace(number));
                    let name = format!("c{number:04}");
                    let host = host_name(number % sizes.hosts());
                    objects.create(inputs::cluster(&name, &host)).await.unwrap();
                    if sizes.workers > 0 {
                        let pool = inputs::pool(&format!("{name}-w"), &name);
                        let replicas = json!({"spec": {"replicas": sizes.workers}});
                        objects.create(inputs::with(pool, &replicas)).await.unwrap();
                    }
                }
            })
            .await;
    }

    /// Makes clusters one by one on hosts that do not hang; how long each took until it was Ready, in seconds.
    pub async fn singles(&self, watched: &Watched, prefix: &str, count: usize, pause: Duration) -> Vec<f64> {
        let client = self.client().await;
        let healthy = self.sizes.hosts() - self.sizes.hosts() / 10;
        let mut made = Vec::new();
        for number in 0..count {
            let namespace = namespace(number);
            let name = format!("{prefix}{number:03}");
            let cluster = inputs::cluster(&name, &host_name(number % healthy));
            let key = format!("{namespace}/{name}");
            let at = Instant::now();
            Objects::new(client.clone(), &namespace)
                .create(cluster)
                .await
                .unwrap();
            made.push((key, at));
            tokio::time::sleep(pause).await;
        }
        watched
            .until("the single clusters are Ready", |seen| {
                made.iter()
                    .all(|(key, _)| seen.get(key).is_some_and(|s| s.ready.is_some()))
            })
            .await;
        made.iter()
            .map(|(key, at)| watched.of(key).ready.unwrap().duration_since(*at).as_secs_f64())
            .collect()
    }

    /// Lets the last hosts hang, or answer again; how many.
    pub async fn hang(&self, count: usize, hangs: bool) -> usize {
        let objects = Objects::new(self.client().await, "default");
        let change = json!({"spec": {"simulated": {"hangs": hangs}}});
        for number in self.sizes.hosts() - count..self.sizes.hosts() {
            objects
                .change("HypervisorHost", &host_name(number), &change)
                .await
                .unwrap();
        }
        count
    }

    /// Kills the operator and makes a cluster at once; how long it takes until the operator's first action on it, in seconds.
    pub async fn restart(&self, watched: &Watched) -> f64 {
        let objects = Objects::new(self.client().await, &namespace(0));
        let old = self.seed.instance.process(OPERATOR_UNIT).unwrap().unwrap();
        let at = Instant::now();
        old.signal(Signal::SIGKILL).unwrap();
        objects
            .create(inputs::cluster("restarted", &host_name(0)))
            .await
            .unwrap();
        let key = format!("{}/restarted", namespace(0));
        watched
            .until("the operator begins with the cluster", |seen| {
                seen.get(&key).is_some_and(|s| s.begun.is_some())
            })
            .await;
        let took = watched.of(&key).begun.unwrap().duration_since(at).as_secs_f64();
        watched
            .until("that cluster is Ready", |seen| {
                seen.get(&key).is_some_and(|s| s.ready.is_some())
            })
            .await;
        took
    }

    /// Deletes all pools and clusters, and waits until they are gone.
    pub async fn delete_all(&self, watched: &Watched) {
        let client = self.client().await;
        for kind in ["NodePool", "DevCluster"] {
            let api = Api::<DynamicObject>::all_with(client.clone(), &resource(kind));
            let all = api
                .list_metadata(&kube::api::ListParams::default())
                .await
                .unwrap();
            futures::stream::iter(all.items)
                .for_each_concurrent(AT_ONCE, |object| {
                    let metadata = object.metadata;
                    let namespace = metadata.namespace.unwrap_or_default();
                    let api =
                        Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource(kind));
                    async move {
                        api.delete(&metadata.name.unwrap_or_default(), &DeleteParams::default())
                            .await
                            .unwrap();
                    }
                })
                .await;
        }
        watched
            .until("all clusters are gone", std::collections::HashMap::is_empty)
            .await;
    }

    /// Waits until the operator has written nothing for that long; how long it took since now.
    pub async fn until_quiet(&self, quiet: Duration) -> Duration {
        let began = Instant::now();
        let mut last = (self.writes(), Instant::now());
        while last.1.elapsed() < quiet {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let writes = self.writes();
            if writes != last.0 {
                last = (writes, Instant::now());
            }
            if began.elapsed() > Duration::from_mins(5) {
                say("the operator still writes after five minutes");
                break;
            }
        }
        began.elapsed()
    }

    /// Processor time of each process until now.
    pub fn spent(&self) -> Spent {
        Spent::of(&self.seed.instance)
    }

    /// The operator's requests until now.
    pub fn requests(&self) -> Requests {
        self.log
            .borrow_mut()
            .read(&self.seed.instance.audit_log())
            .clone()
    }

    fn writes(&self) -> u64 {
        self.log
            .borrow_mut()
            .read(&self.seed.instance.audit_log())
            .writes()
    }

    /// The most memory that processes had until now.
    pub fn memory(&self) -> Memory {
        let of = |unit: &str| processes::peak_memory(processes::pid(&self.seed.instance, unit));
        Memory {
            operator: of(OPERATOR_UNIT),
            simulator: of(seedbed_seed::SIMULATOR_UNIT),
        }
    }

    /// Ends the operator, so that nobody else works on what is made then.
    pub fn stop_operator(&self) {
        self.seed.instance.stop_unit(OPERATOR_UNIT).unwrap();
    }
}

/// One of the namespaces.
pub fn namespace(number: usize) -> String {
    format!("scale-{}", number % NAMESPACES)
}

fn host_name(number: usize) -> String {
    format!("host-{number:02}")
}

/// A kind of ours.
pub fn resource(kind: &str) -> ApiResource {
    let plural = format!("{}s", kind.to_lowercase());
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("seedbed.dev", "v1alpha1", kind), &plural)
}

fn is_ready(object: &Value) -> Result<(), String> {
    match seedbed_tests::objects::condition(object, "Ready") {
        Some(ready) if ready.status == "True" => Ok(()),
        _ => Err(seedbed_tests::objects::told(object)),
    }
}

fn remove(instance: &Instance) {
    let options = DownOptions {
        force: true,
        ..DownOptions::default()
    };
    instance.down(options, &mut Silent).unwrap();
}
