//! The simulated guest, through the same client that real guests are reached with.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use seedbed_guest::simulated::{Identity, Os};
use seedbed_guest::{Guest, GuestError, GuestFile, Job, JobState, Pause, Start};
use seedbed_hypervisor::simulated::{Guests, Simulated};
use seedbed_hypervisor::{Boot, DomainSpec, DomainType, HostFacts, Hypervisor, Owner};
use uuid::Uuid;

const NAME: &str = "default.m";
const NOW: Duration = Duration::from_secs(1_767_225_601);

/// One guest, whose agent answers while it is on.
struct One {
    os: Mutex<Os>,
    boots: Mutex<u32>,
    on: Mutex<bool>,
}

impl Guests for One {
    fn switched_on(&self, _: &DomainSpec) {
        let mut boots = self.boots.lock().unwrap();
        *boots += 1;
        self.os.lock().unwrap().reboot(boots.to_string());
        *self.on.lock().unwrap() = true;
    }

    fn switched_off(&self, _: &str) {
        *self.on.lock().unwrap() = false;
    }

    fn agent_runs(&self, _: &str) -> bool {
        *self.on.lock().unwrap()
    }

    fn ask(&self, _: &str, command: &str) -> Result<String, String> {
        self.os.lock().unwrap().ask(command, NOW)
    }
}

struct NoPause;

#[async_trait]
impl Pause for NoPause {
    async fn pause(&self, _: Duration) {}
}

struct Setting {
    host: Arc<Simulated>,
    one: Arc<One>,
    owner: Owner,
    guest: Guest,
}

impl Setting {
    async fn new() -> Self {
        let identity = Identity {
            os: "Debian GNU/Linux 13".to_owned(),
            kernel: "6.12".to_owned(),
            mac: "52:54:00:00:00:01".to_owned(),
            address: Some([10, 64, 0, 10].into()),
        };
        let one = Arc::new(One {
            os: Mutex::new(Os::new(identity, "0")),
            boots: Mutex::new(0),
            on: Mutex::new(false),
        });
        let facts = HostFacts {
            hostname: "simulated".to_owned(),
            hypervisor_version: "simulated".to_owned(),
            manager_version: "simulated".to_owned(),
            cpus: 8,
            memory_bytes: 64 << 30,
            pool_capacity_bytes: 1 << 40,
            pool_available_bytes: 1 << 40,
        };
        let host = Arc::new(Simulated::new(facts, one.clone()));
        let owner = Owner {
            namespace: "default".to_owned(),
            cluster: "demo".to_owned(),
            cluster_uid: "c".to_owned(),
            machine: Some("m".to_owned()),
            machine_uid: Some("m".to_owned()),
        };
        let spec = DomainSpec {
            name: NAME.to_owned(),
            uuid: Uuid::nil(),
            owner: owner.clone(),
            spec_hash: "1".to_owned(),
            cpus: 1,
            memory_bytes: 1 << 30,
            domain_type: DomainType::Kvm,
            boot: Boot::Disk,
            disks: Vec::new(),
            nics: Vec::new(),
        };
        host.define_domain(&spec).await.unwrap();
        host.start_domain(NAME, &owner).await.unwrap();
        let guest = Guest::new(host.clone(), NAME, owner.clone(), Arc::new(NoPause));
        Self {
            host,
            one,
            owner,
            guest,
        }
    }

    fn os(&self) -> MutexGuard<'_, Os> {
        self.one.os.lock().unwrap()
    }

    async fn power_cycle(&self) {
        self.host.destroy_domain(NAME, &self.owner).await.unwrap();
        assert!(self.guest.ping().await.unwrap_err().agent_silent());
        self.host.start_domain(NAME, &self.owner).await.unwrap();
    }
}

fn job(bytes: usize) -> Job {
    Job {
        token: "t-1".to_owned(),
        files: vec![GuestFile {
            path: "/etc/demo".to_owned(),
            mode: 0o600,
            content: vec![b'x'; bytes],
        }],
        script: "echo hello".to_owned(),
    }
}

#[tokio::test]
async fn a_job_runs_once_and_its_end_is_seen() {
    for bytes in [3, 200_000] {
        let setting = Setting::new().await;
        let guest = &setting.guest;
        assert_eq!(guest.state("t-1", 0).await, Ok(JobState::NotStarted));
        assert_eq!(guest.start(&job(bytes)).await, Ok(Start::Started));
        assert_eq!(guest.start(&job(bytes)).await, Ok(Start::AlreadyStarted));
        let begun = setting.os().take_begun();
        assert_eq!(begun.len(), 1);
        assert_eq!(
            (begun[0].token.as_str(), begun[0].script.as_str()),
            ("t-1", "echo hello")
        );
        assert_eq!(begun[0].files, job(bytes).files);
        assert_eq!(setting.os().file("/etc/demo").unwrap().len(), bytes);
        setting.os().log("t-1", "seedbed: phase kubeadm\nhello\n");
        let running = JobState::Running {
            phase: Some("kubeadm".to_owned()),
            log_tail: "seedbed: phase kubeadm\nhello".to_owned(),
        };
        assert_eq!(guest.state("t-1", 100).await, Ok(running));
        setting.os().end("t-1", 0);
        assert_eq!(guest.state("t-1", 0).await, Ok(JobState::Succeeded));
    }
}

#[tokio::test]
async fn a_failed_job_tells_its_code_and_its_last_words() {
    let setting = Setting::new().await;
    setting.guest.start(&job(3)).await.unwrap();
    setting.os().log("t-1", "one\ntwo\n");
    setting.os().end("t-1", 3);
    setting.os().log("t-1", "too late\n");
    let failed = JobState::Failed {
        exit_code: 3,
        phase: None,
        log_tail: "two".to_owned(),
    };
    assert_eq!(setting.guest.state("t-1", 4).await, Ok(failed));
}

#[tokio::test]
async fn a_boot_ends_what_runs_and_keeps_what_is_on_the_disk() {
    let setting = Setting::new().await;
    setting.guest.start(&job(3)).await.unwrap();
    setting.os().log("t-1", "half\n");
    setting.power_cycle().await;
    let interrupted = JobState::Interrupted {
        phase: None,
        log_tail: "half".to_owned(),
    };
    assert_eq!(setting.guest.state("t-1", 100).await, Ok(interrupted));
    assert_eq!(setting.guest.start(&job(3)).await, Ok(Start::AlreadyStarted));
    assert!(setting.os().take_begun().is_empty());
    assert!(setting.os().file("/run/seedbed/t-1/job.sh").is_none());
    assert!(setting.os().file("/etc/demo").is_some());
}

#[tokio::test]
async fn a_job_that_is_stopped_is_cut_off_and_one_that_ended_keeps_its_result() {
    let setting = Setting::new().await;
    setting.guest.start(&job(3)).await.unwrap();
    assert!(setting.os().runs("t-1"));
    setting.os().stop("t-1");
    setting.os().end("t-1", 0);
    assert!(!setting.os().runs("t-1"));
    let state = setting.guest.state("t-1", 0).await;
    assert!(matches!(state, Ok(JobState::Interrupted { .. })), "{state:?}");

    let ended = Job {
        token: "t-2".to_owned(),
        ..job(3)
    };
    setting.guest.start(&ended).await.unwrap();
    setting.os().end("t-2", 0);
    setting.os().stop("t-2");
    assert_eq!(setting.guest.state("t-2", 0).await, Ok(JobState::Succeeded));
}

#[tokio::test]
async fn a_job_s_own_files_come_with_it_and_go_when_it_ends() {
    let setting = Setting::new().await;
    let own = GuestFile {
        path: "/run/seedbed/t-1/document.yaml".to_owned(),
        mode: 0o600,
        content: b"a: b".to_vec(),
    };
    let with_own = Job {
        files: vec![own.clone()],
        ..job(3)
    };
    setting.guest.start(&with_own).await.unwrap();
    let begun = setting.os().take_begun();
    assert!(begun[0].own.contains(&own) && begun[0].files.is_empty());
    assert!(setting.os().file(&own.path).is_some());
    setting.os().end("t-1", 0);
    assert!(setting.os().file(&own.path).is_none());
}

#[tokio::test]
async fn it_says_what_it_is() {
    let setting = Setting::new().await;
    let facts = setting.guest.facts().await.unwrap();
    assert_eq!(facts.os.as_deref(), Some("Debian GNU/Linux 13"));
    assert_eq!(facts.clock, NOW);
    let card = &facts.interfaces[1];
    assert_eq!(card.mac.as_deref(), Some("52:54:00:00:00:01"));
    assert_eq!(card.addresses, [std::net::IpAddr::from([10, 64, 0, 10])]);
    setting.os().set_address(None);
    assert!(setting.guest.interfaces().await.unwrap()[1].addresses.is_empty());
}

#[tokio::test]
async fn what_it_does_not_simulate_fails() {
    let setting = Setting::new().await;
    let missing = setting.guest.read_file("/etc/nothing", 10).await;
    assert_eq!(missing, Ok(None));
    let exec = seedbed_guest::Exec {
        what: "something".to_owned(),
        path: "/bin/true".to_owned(),
        arguments: Vec::new(),
        input: Vec::new(),
        limit: Duration::from_secs(1),
    };
    assert_eq!(setting.guest.exec(&exec).await.unwrap().exit_code, 127);
    let invalid = setting.guest.state("not a token", 0).await;
    assert!(matches!(invalid, Err(GuestError::Invalid { .. })));
}
