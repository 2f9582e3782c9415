//! A control plane and a worker on one host, whose time goes on when the test says so.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use seedbed_guest::{Guest, GuestFile, JobState, Pause, Start};
use seedbed_hypervisor::simulated::Simulated;
use seedbed_hypervisor::{
    AttachedDisk, Boot, DomainSpec, DomainType, HostFacts, Hypervisor, Owner, VolumeFacts, VolumeFormat,
};
use seedbed_kubeadm::upgrade::{DISK_SERIAL, Input, Job, emulating, render};
use seedbed_simulated_api::{ApiServer, Subresource};
use seedbed_simulator::{Machines, Timers, Timing};
use serde_json::{Value, json};
use uuid::Uuid;

pub const FROM: &str = "v1.35.4";
pub const TO: &str = "v1.36.3";
pub const CP: &str = "cp";
pub const WORKER: &str = "worker";
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 10);
/// Longer than any job takes.
pub const LONG: u64 = 60;

const INIT: &str = "kind: InitConfiguration\nlocalAPIEndpoint:\n  advertiseAddress: 10.64.0.10\nbootstrapTokens:\n- token: abcdef.0123456789abcdef\nnodeRegistration:\n  name: cp\n---\nkind: ClusterConfiguration\nkubernetesVersion: v1.35.4\n";
const DISCOVERY: &str = "clusters:\n- cluster:\n    server: https://10.64.0.10:6443\n    certificate-authority-data: Q0E=\nusers:\n- user:\n    token: abcdef.0123456789abcdef\n";

type Work = Box<dyn FnOnce() + Send>;
/// What is to be done and when, and how much there was so far: what is due at the same time is done in its order.
type Waiting = (u64, BTreeMap<(Duration, u64), Work>);

/// A clock that goes on when it is told to.
#[derive(Default)]
pub struct Clock {
    elapsed: Mutex<Duration>,
    waiting: Mutex<Waiting>,
}

impl Clock {
    pub fn advance(&self, by: Duration) {
        let end = *self.elapsed.lock().unwrap() + by;
        loop {
            let next = {
                let mut waiting = self.waiting.lock().unwrap();
                let due = waiting.1.first_entry().filter(|first| first.key().0 <= end);
                due.map(std::collections::btree_map::OccupiedEntry::remove_entry)
            };
            let Some(((at, _), work)) = next else { break };
            *self.elapsed.lock().unwrap() = at;
            work();
        }
        *self.elapsed.lock().unwrap() = end;
    }
}

impl Timers for Clock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(*self.elapsed.lock().unwrap()).unwrap();
        Timestamp::from_second(1_800_000_000).unwrap() + elapsed
    }

    fn after(&self, delay: Duration, work: Work) {
        let at = *self.elapsed.lock().unwrap() + delay;
        let mut waiting = self.waiting.lock().unwrap();
        waiting.0 += 1;
        let number = waiting.0;
        waiting.1.insert((at, number), work);
    }
}

struct NoPause;

#[async_trait]
impl Pause for NoPause {
    async fn pause(&self, _: Duration) {}
}

pub struct Setting {
    pub clock: Arc<Clock>,
    pub machines: Machines,
    host: Arc<Simulated>,
    tokens: AtomicU32,
}

impl Setting {
    /// Machines that have booted, and are nothing yet.
    pub async fn bare(names: &[&str]) -> Self {
        let clock = Arc::new(Clock::default());
        let machines = Machines::new(Timing::default(), clock.clone());
        let facts = HostFacts {
            hostname: "simulated".to_owned(),
            hypervisor_version: "simulated".to_owned(),
            manager_version: "simulated".to_owned(),
            cpus: 8,
            memory_bytes: 64 << 30,
            pool_capacity_bytes: 1 << 40,
            pool_available_bytes: 1 << 40,
        };
        let host = Arc::new(Simulated::new(facts, Arc::new(machines.clone())));
        machines.set_host(&host);
        let setting = Self {
            clock,
            machines,
            host,
            tokens: AtomicU32::new(0),
        };
        for name in names {
            setting.host.define_domain(&domain(name)).await.unwrap();
            setting.switch(name, true).await;
        }
        setting.pass(LONG);
        setting
    }

    /// A cluster of a control plane and a worker.
    pub async fn new() -> Self {
        Self::bare(&[CP, WORKER]).await.with_cluster().await
    }

    pub async fn with_cluster(self) -> Self {
        let files = [
            ("/etc/kubernetes/pki/ca.crt", "CA"),
            ("/etc/kubernetes/kubeadm.yaml", INIT),
        ];
        self.bootstrap(CP, "init", &files).await;
        self.join(WORKER).await;
        self
    }

    pub async fn join(&self, name: &str) {
        let document = format!(
            "kind: JoinConfiguration\ndiscovery:\n  file:\n    kubeConfigPath: /etc/kubernetes/discovery.conf\nnodeRegistration:\n  name: {name}\n"
        );
        let files = [
            ("/etc/kubernetes/discovery.conf", DISCOVERY),
            ("/etc/kubernetes/kubeadm.yaml", document.as_str()),
        ];
        self.bootstrap(name, "join", &files).await;
    }

    async fn bootstrap(&self, name: &str, token: &str, files: &[(&str, &str)]) {
        let files = files.iter().map(|(path, content)| GuestFile {
            path: (*path).to_owned(),
            mode: 0o600,
            content: content.as_bytes().to_vec(),
        });
        let job = seedbed_guest::Job {
            token: token.to_owned(),
            files: files.collect(),
            script: "kubeadm\n".to_owned(),
        };
        assert_eq!(self.guest(name).start(&job).await, Ok(Start::Started));
        self.pass(LONG);
        assert_eq!(self.state(name, token).await, JobState::Succeeded);
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub async fn switch(&self, name: &str, on: bool) {
        if on {
            self.host.start_domain(name, &owner(name)).await.unwrap();
            self.attach(name).await;
        } else {
            self.host.destroy_domain(name, &owner(name)).await.unwrap();
        }
    }

    /// The machine gets the upgrade disk, which it has for as long as it is on.
    async fn attach(&self, name: &str) {
        let volume = VolumeFacts {
            name: "upgrade".to_owned(),
            capacity_bytes: 1 << 30,
            allocation_bytes: 1 << 30,
            complete: true,
        };
        self.host.put_volume("upgrade", Some(volume)).unwrap();
        let disk = AttachedDisk {
            volume: "upgrade".to_owned(),
            format: VolumeFormat::Qcow2,
            serial: DISK_SERIAL.to_owned(),
        };
        self.host.attach_disk(name, &owner(name), &disk).await.unwrap();
    }

    /// Takes the upgrade disk away.
    pub async fn detach(&self, name: &str) {
        self.host
            .detach_disk(name, &owner(name), DISK_SERIAL)
            .await
            .unwrap();
    }

    /// The machine loses its power, and gets it again; until all is up that comes up.
    pub async fn power_cut(&self, name: &str) {
        self.switch(name, false).await;
        self.switch(name, true).await;
        self.pass(LONG);
    }

    fn guest(&self, name: &str) -> Guest {
        Guest::new(self.host.clone(), name, owner(name), Arc::new(NoPause))
    }

    pub async fn state(&self, name: &str, token: &str) -> JobState {
        self.guest(name).state(token, 1000).await.unwrap()
    }

    /// Begins a job of the upgrade `u`, and says its token.
    pub async fn begin(&self, name: &str, job: Job) -> String {
        self.begin_of("u", name, job, &[]).await
    }

    pub async fn begin_of(&self, upgrade: &str, name: &str, job: Job, stop: &[&str]) -> String {
        let number = self.tokens.fetch_add(1, Ordering::SeqCst);
        let token = format!("t-{number}");
        let emulated = (job == Job::ControlPlane).then(|| "1.35".to_owned());
        let configuration = job
            .changes_configuration()
            .then(|| emulating(&self.configuration(), emulated.as_deref()).unwrap());
        let rendered = render(&Input {
            job,
            token: token.clone(),
            upgrade: upgrade.to_owned(),
            from: FROM.to_owned(),
            to: TO.to_owned(),
            emulated,
            stop: stop.iter().map(|token| (*token).to_owned()).collect(),
            configuration,
        })
        .unwrap();
        let files = rendered.files.into_iter().map(|file| GuestFile {
            path: file.path,
            mode: file.mode,
            content: file.content,
        });
        let job = seedbed_guest::Job {
            token: token.clone(),
            files: files.collect(),
            script: rendered.script,
        };
        assert_eq!(self.guest(name).start(&job).await, Ok(Start::Started));
        token
    }

    /// Carries out a job, and says how it ended.
    pub async fn run(&self, name: &str, job: Job) -> JobState {
        let token = self.begin(name, job).await;
        self.pass(LONG);
        self.state(name, &token).await
    }

    /// Carries out jobs that succeed.
    pub async fn all(&self, jobs: &[(&str, Job)]) {
        for (name, job) in jobs {
            assert_eq!(
                self.run(name, *job).await,
                JobState::Succeeded,
                "{job:?} in {name}"
            );
        }
    }

    /// Carries out a job that fails, and says its log.
    pub async fn refused(&self, name: &str, job: Job) -> String {
        failed(self.run(name, job).await)
    }

    pub fn api(&self) -> ApiServer {
        self.machines.api(ADDRESS).expect("an API that answers")
    }

    pub fn version(&self) -> (String, Option<String>) {
        self.machines
            .control_plane_version(ADDRESS)
            .expect("an API that answers")
    }

    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.api().with(|store| {
            let kind = store.kinds().of_plural(plural).cloned().unwrap();
            store.get(&kind, namespace, name).ok().cloned()
        })
    }

    pub fn configuration(&self) -> String {
        let kept = self.get("configmaps", "kube-system", "kubeadm-config").unwrap();
        kept["data"]["ClusterConfiguration"].as_str().unwrap().to_owned()
    }

    pub fn image(&self, component: &str) -> String {
        let pod = self
            .get("pods", "kube-system", &format!("{component}-{CP}"))
            .unwrap();
        pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    pub fn is_ready(&self, node: &str) -> bool {
        let node = self.get("nodes", "", node).unwrap();
        node["status"]["conditions"][0]["status"] == "True"
    }

    /// Something of a user's, that has to be there for ever.
    pub fn put_object(&self) {
        let now = self.clock.now();
        self.api().with(|store| {
            let kind = store.kinds().of_plural("configmaps").cloned().unwrap();
            let object = json!({"metadata": {"name": "mine"}, "data": {"a": "b"}});
            store.create(&kind, "default", object, now).unwrap();
            let patch = json!({"data": {"a": "c"}});
            store
                .merge(&kind, "default", "mine", &patch, Subresource::Main)
                .unwrap();
        });
    }

    /// Another one, which the snapshot does not know.
    pub fn put_later(&self) {
        let now = self.clock.now();
        self.api().with(|store| {
            let kind = store.kinds().of_plural("configmaps").cloned().unwrap();
            let object = json!({"metadata": {"name": "later"}});
            store.create(&kind, "default", object, now).unwrap();
        });
    }

    pub fn has_object(&self) -> bool {
        self.get("configmaps", "default", "mine")
            .is_some_and(|object| object["data"]["a"] == "c")
    }
}

/// The log of a job that failed.
pub fn failed(state: JobState) -> String {
    match state {
        JobState::Failed { log_tail, .. } => log_tail,
        other => panic!("found {other:?}, expected a job that failed"),
    }
}

fn owner(name: &str) -> Owner {
    Owner {
        namespace: "default".to_owned(),
        cluster: "demo".to_owned(),
        cluster_uid: "c".to_owned(),
        machine: Some(name.to_owned()),
        machine_uid: Some(name.to_owned()),
    }
}

fn domain(name: &str) -> DomainSpec {
    DomainSpec {
        name: name.to_owned(),
        uuid: Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()),
        owner: owner(name),
        spec_hash: "1".to_owned(),
        cpus: 1,
        memory_bytes: 1 << 30,
        domain_type: DomainType::Kvm,
        boot: Boot::Disk,
        disks: Vec::new(),
        nics: Vec::new(),
    }
}
