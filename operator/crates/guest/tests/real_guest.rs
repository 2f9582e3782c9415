//! A real guest on a real host: from nothing to jobs that survive the loss of everything around them, and back to nothing.
//!
//! Runs where `SEEDBED_LIBVIRT_URI` names a host and `SEEDBED_RELEASE` a folder with `disk.qcow2`, `vmlinuz`, `initrd` and `upgrade.qcow2`
//! (also: `SEEDBED_LIBVIRT_POOL`, `SEEDBED_LIBVIRT_DOMAIN_TYPE` of `kvm` or `qemu`, and `SEEDBED_LIBVIRT_RESTART`, a command
//! that kills the host's daemon and starts it again some seconds later).

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seedbed_guest::{Exec, Guest, GuestError, GuestFile, Job, JobState, Start, TokioPause};
use seedbed_hypervisor::libvirt::{Libvirt, LibvirtConfig, Limits};
use seedbed_hypervisor::{
    AttachedDisk, Boot, ByteSource, DiskSpec, DomainSpec, DomainType, Hypervisor, NetworkSpec, NicSpec,
    Owner, Reservation, VolumeFormat, VolumeSpec,
};
use uuid::Uuid;

const MAC: &str = "52:54:00:5e:ed:0a";
const ADDRESS: &str = "10.203.18.10";
const LIMIT: Duration = Duration::from_mins(5);

#[derive(Debug)]
struct LocalFile(PathBuf);

impl ByteSource for LocalFile {
    fn open(&self) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let file = File::open(&self.0)?;
        let length = file.metadata()?.len();
        Ok((Box::new(file), length))
    }

    fn describe(&self) -> String {
        self.0.display().to_string()
    }
}

/// What the test makes on the host.
struct Made {
    host: Arc<Libvirt>,
    owner: Owner,
    network: NetworkSpec,
    domain: DomainSpec,
    volumes: Vec<String>,
}

impl Made {
    fn plan() -> Option<Self> {
        let uri = std::env::var("SEEDBED_LIBVIRT_URI").ok()?;
        let pool = std::env::var("SEEDBED_LIBVIRT_POOL").unwrap_or_else(|_| "default".to_owned());
        let kvm = std::env::var("SEEDBED_LIBVIRT_DOMAIN_TYPE").is_ok_and(|kind| kind == "kvm");
        let prefix = format!("guest-test-{}", std::process::id());
        let owner = Owner {
            namespace: "test".to_owned(),
            cluster: prefix.clone(),
            cluster_uid: prefix.clone(),
            machine: Some("node".to_owned()),
            machine_uid: Some(format!("{prefix}-node")),
        };
        let volumes = ["base", "kernel", "initrd", "disk", "upgrade"]
            .map(|name| format!("{prefix}.{name}"))
            .to_vec();
        Some(Self {
            host: Arc::new(
                Libvirt::start(LibvirtConfig {
                    uri,
                    pool,
                    limits: Limits::default(),
                })
                .unwrap(),
            ),
            network: NetworkSpec {
                name: prefix.clone(),
                bridge: "sb-guest-test".to_owned(),
                cidr: "10.203.18.0/24".parse().unwrap(),
                dns_domain: "guest.seedbed.test".to_owned(),
                reservations: vec![],
                owner: owner.clone(),
            },
            domain: DomainSpec {
                name: format!("{prefix}.node"),
                uuid: Uuid::new_v5(&Uuid::NAMESPACE_URL, prefix.as_bytes()),
                owner: owner.clone(),
                spec_hash: "1".to_owned(),
                cpus: 2,
                memory_bytes: 1 << 30,
                domain_type: if kvm { DomainType::Kvm } else { DomainType::Qemu },
                boot: Boot::Direct {
                    kernel: volumes[1].clone(),
                    initrd: volumes[2].clone(),
                    arguments: "root=/dev/vda rw console=ttyS0 net.ifnames=0 no_timer_check panic=10 quiet"
                        .to_owned(),
                },
                disks: vec![DiskSpec {
                    volume: volumes[3].clone(),
                    format: VolumeFormat::Qcow2,
                    read_only: false,
                }],
                nics: vec![NicSpec {
                    network: prefix,
                    mac: MAC.to_owned(),
                }],
            },
            owner,
            volumes,
        })
    }

    async fn make(&self, release: &Path) {
        let host = &self.host;
        host.ensure_network(&self.network).await.unwrap();
        let reservation = Reservation {
            mac: MAC.to_owned(),
            ip: ADDRESS.parse().unwrap(),
            hostname: "node".to_owned(),
        };
        host.reserve_address(&self.network.name, &self.owner, &reservation)
            .await
            .unwrap();
        let files = [
            ("disk.qcow2", VolumeFormat::Qcow2),
            ("vmlinuz", VolumeFormat::Raw),
            ("initrd", VolumeFormat::Raw),
        ];
        for ((file, format), volume) in files.into_iter().zip(&self.volumes) {
            let source = Arc::new(LocalFile(release.join(file)));
            host.upload_volume(volume, format, source, None, LIMIT)
                .await
                .unwrap();
        }
        let overlay = VolumeSpec {
            name: self.volumes[3].clone(),
            capacity_bytes: 20 << 30,
            format: VolumeFormat::Qcow2,
            backing: Some(self.volumes[0].clone()),
        };
        host.create_volume(&overlay).await.unwrap();
        host.define_domain(&self.domain).await.unwrap();
        host.start_domain(&self.domain.name, &self.owner).await.unwrap();
    }

    async fn remove(&self) {
        self.host
            .destroy_domain(&self.domain.name, &self.owner)
            .await
            .unwrap();
        self.host
            .undefine_domain(&self.domain.name, &self.owner)
            .await
            .unwrap();
        for volume in self.volumes.iter().rev() {
            self.host.delete_volume(volume).await.unwrap();
        }
        self.host
            .delete_network(&self.network.name, &self.owner)
            .await
            .unwrap();
    }

    /// Names of what is there of what the test made.
    async fn left(&self) -> Vec<String> {
        let inventory = self.host.inventory().await.unwrap();
        let domains = inventory.domains.into_iter().map(|domain| domain.name);
        let networks = inventory.networks.into_iter().map(|network| network.name);
        let volumes = inventory.volumes.into_iter().map(|volume| volume.name);
        let all = domains.chain(networks).chain(volumes);
        all.filter(|name| name.starts_with(&self.network.name)).collect()
    }
}

#[tokio::test]
async fn a_real_guest_runs_jobs_and_leaves_nothing() {
    let (Some(made), Ok(release)) = (Made::plan(), std::env::var("SEEDBED_RELEASE")) else {
        println!("not run: SEEDBED_LIBVIRT_URI or SEEDBED_RELEASE is not set");
        return;
    };
    let made = Arc::new(made);
    let under_test = Arc::clone(&made);
    // In a task of its own, so that what was made is removed after a failure too.
    let result = tokio::spawn(async move {
        let begin = Instant::now();
        under_test.make(Path::new(&release)).await;
        step(begin, "uploaded, defined, started");
        let pause = Arc::new(TokioPause);
        let guest = Guest::new(
            under_test.host.clone(),
            &under_test.domain.name,
            under_test.owner.clone(),
            pause,
        );
        Check {
            begin,
            guest,
            made: under_test,
            release: release.into(),
        }
        .all()
        .await;
    })
    .await;
    made.remove().await;
    result.unwrap();
    assert_eq!(made.left().await, Vec::<String>::new());
}

fn step(begin: Instant, what: &str) {
    println!("{:7.1} s  {what}", begin.elapsed().as_secs_f32());
}

/// Asks until there is an answer.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            begin.elapsed() < LIMIT,
            "{what}: not within {} s",
            LIMIT.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn job(token: &str, script: &str) -> Job {
    Job {
        token: token.to_owned(),
        files: Vec::new(),
        script: script.to_owned(),
    }
}

/// The job that runs until the file /run/go is there.
fn waiting_job() -> (Job, JobState) {
    let job = job(
        "running",
        "echo 'seedbed: phase wait'\nuntil [ -e /run/go ]; do sleep 1; done",
    );
    let state = JobState::Running {
        phase: Some("wait".to_owned()),
        log_tail: "seedbed: phase wait".to_owned(),
    };
    (job, state)
}

struct Check {
    begin: Instant,
    guest: Guest,
    made: Arc<Made>,
    release: PathBuf,
}

impl Check {
    async fn all(&self) {
        self.agent().await;
        step(self.begin, "the agent answers");
        self.facts().await;
        self.job_succeeds().await;
        step(self.begin, "a job succeeded");
        self.reserved_address().await;
        step(self.begin, "the reserved address is there");
        self.job_fails().await;
        step(self.begin, "a job failed as it should");
        self.upgrade_disk().await;
        step(
            self.begin,
            "the upgrade disk was attached, read, detached and attached again",
        );
        self.job_runs().await;
        if let Ok(restart) = std::env::var("SEEDBED_LIBVIRT_RESTART") {
            self.daemon_is_lost(&restart).await;
            step(self.begin, "the daemon was killed and came back");
        }
        self.power_cut().await;
        step(self.begin, "back after a power cut");
    }

    async fn agent(&self) {
        until("the agent's answer", || async { self.guest.ping().await.ok() }).await;
    }

    async fn shell(&self, script: &str) -> String {
        let exec = Exec {
            what: "a look".to_owned(),
            path: "/bin/sh".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            input: Vec::new(),
            limit: LIMIT,
        };
        String::from_utf8(self.guest.exec(&exec).await.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    }

    async fn ended(&self, token: &str) -> JobState {
        until("the job's end", || async {
            let state = self.guest.state(token, 500).await.unwrap();
            (!matches!(state, JobState::Running { .. })).then_some(state)
        })
        .await
    }

    async fn facts(&self) {
        let domain = self
            .made
            .host
            .domain(&self.made.domain.name)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(domain.agent_connected, Some(true));
        let facts = self.guest.facts().await.unwrap();
        println!("{facts:?}");
        assert!(facts.kernel.is_some() && facts.clock.as_secs() > 1_700_000_000);
    }

    async fn job_succeeds(&self) {
        let network = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n";
        let script = "set -euo pipefail\necho 'seedbed: phase network'\nsystemctl restart systemd-networkd\n\
                      [ \"$HOME\" = /root ]\nwc -c </etc/test/secret/key";
        let file = |path: &str, mode, content: &str| GuestFile {
            path: path.to_owned(),
            mode,
            content: content.into(),
        };
        let files = vec![
            file("/etc/systemd/network/10-test.network", 0o644, network),
            file("/etc/test/secret/key", 0o600, "hidden"),
            file("/lib/test/file", 0o644, "below a link"),
            file("/var/lib/test/large", 0o640, &"0123456789abcdef".repeat(1 << 17)),
        ];
        let job = Job {
            files,
            ..job("first", script)
        };
        let folders = "stat -c '%n %a %u %F' / /etc /etc/systemd /run /lib";
        let before = self.shell(folders).await;
        assert_eq!(self.guest.state("first", 500).await, Ok(JobState::NotStarted));
        assert_eq!(self.guest.log("first", 500).await, Ok(None));
        let asked = Instant::now();
        assert_eq!(self.guest.start(&job).await, Ok(Start::Started));
        println!(
            "start of a job with a file of 2 MiB: {} ms",
            asked.elapsed().as_millis()
        );
        assert_eq!(self.guest.start(&job).await, Ok(Start::AlreadyStarted));
        assert_eq!(self.ended("first").await, JobState::Succeeded);
        assert_eq!(self.guest.start(&job).await, Ok(Start::AlreadyStarted));
        assert_eq!(
            self.guest.log("first", 500).await.unwrap().unwrap(),
            "seedbed: phase network\n6"
        );
        let made = self
            .shell("cd /etc/test; stat -c '%a %u' . secret secret/key /usr/lib/test/file; stat -c '%a %s' /var/lib/test/large")
            .await;
        assert_eq!(made, "755 0\n755 0\n600 0\n644 0\n640 2097152");
        assert_eq!(self.shell(folders).await, before, "what was there is as it was");
        assert_eq!(
            self.shell("ls /run/seedbed").await,
            "",
            "what came with the job is removed at its end"
        );
    }

    async fn reserved_address(&self) {
        let address = until("the reserved address", || async {
            let interfaces = self.guest.interfaces().await.unwrap();
            let eth0 = interfaces
                .into_iter()
                .find(|interface| interface.mac.as_deref() == Some(MAC))?;
            eth0.addresses.into_iter().find(std::net::IpAddr::is_ipv4)
        })
        .await;
        assert_eq!(address.to_string(), ADDRESS);
        let name = self
            .shell("resolvectl query node.guest.seedbed.test | head -1")
            .await;
        println!("its name: {name}");
        assert!(name.contains(ADDRESS), "{name}");
    }

    async fn job_fails(&self) {
        let asked = Instant::now();
        self.guest
            .start(&job("failing", "echo 'seedbed: phase one'\necho bad >&2\nexit 7"))
            .await
            .unwrap();
        println!("start of a small job: {} ms", asked.elapsed().as_millis());
        let log_tail = "seedbed: phase one\nbad".to_owned();
        assert_eq!(
            self.ended("failing").await,
            JobState::Failed {
                exit_code: 7,
                phase: Some("one".to_owned()),
                log_tail
            }
        );
    }

    async fn attached(&self) -> Vec<String> {
        let domain = self.made.host.domain(&self.made.domain.name).await.unwrap();
        domain.unwrap().attached
    }

    async fn upgrade_disk(&self) {
        let (host, name, owner) = (&self.made.host, &self.made.domain.name, &self.made.owner);
        let disk = AttachedDisk {
            volume: self.made.volumes[4].clone(),
            format: VolumeFormat::Qcow2,
            serial: "seedbed-upgrade".to_owned(),
        };
        let source = Arc::new(LocalFile(self.release.join("upgrade.qcow2")));
        host.upload_volume(&disk.volume, disk.format, source, None, LIMIT)
            .await
            .unwrap();
        let device = "/dev/disk/by-id/virtio-seedbed-upgrade";
        let is_there = || async {
            self.shell(&format!("[ -b {device} ] && echo yes || echo no"))
                .await
        };
        for again in [false, true] {
            let asked = Instant::now();
            host.attach_disk(name, owner, &disk).await.unwrap();
            host.attach_disk(name, owner, &disk).await.unwrap();
            until("the attached disk", || async {
                (is_there().await == "yes").then_some(())
            })
            .await;
            println!(
                "an attached disk was seen after {} ms",
                asked.elapsed().as_millis()
            );
            let found = self
                .shell(&format!(
                    "mkdir -p /mnt/upgrade && mount -o ro {device} /mnt/upgrade && cd /mnt/upgrade && ls bin && bin/kubelet --version \
                     && [ $(ls images | wc -l) = $(wc -l <images.txt) ] && blkid -o value -s LABEL {device} && cd / && umount /mnt/upgrade"
                ))
                .await;
            println!("{}", found.replace('\n', " "));
            assert!(
                found.starts_with("etcdctl\netcdutl\nkubeadm\nkubectl\nkubelet\n"),
                "{found}"
            );
            assert!(found.ends_with("\nseedbed-upgrade"), "{found}");
            if again {
                break;
            }
            let asked = Instant::now();
            host.detach_disk(name, owner, &disk.serial).await.unwrap();
            println!("the disk was detached after {} ms", asked.elapsed().as_millis());
            host.detach_disk(name, owner, &disk.serial).await.unwrap();
            assert_eq!(self.attached().await, Vec::<String>::new());
            assert_eq!(is_there().await, "no");
        }
    }

    async fn job_runs(&self) {
        let (job, expected) = waiting_job();
        self.guest.start(&job).await.unwrap();
        until("the job's first line", || async {
            (self.guest.state("running", 500).await.unwrap() == expected).then_some(())
        })
        .await;
        for (what, log_bytes) in [("with its log", 500), ("without its log", 0)] {
            let asked = Instant::now();
            for _ in 0..10 {
                self.guest.state("running", log_bytes).await.unwrap();
            }
            println!(
                "a look at a running job {what}: {} ms",
                asked.elapsed().as_millis() / 10
            );
        }
        let asked = Instant::now();
        for _ in 0..10 {
            self.shell("systemctl show -P ActiveState seedbed-running; tail -c 500 /var/lib/seedbed/jobs/running/log").await;
        }
        println!(
            "the same by processes in the guest: {} ms",
            asked.elapsed().as_millis() / 10
        );
        let invalid = self.guest.state("../x", 0).await;
        assert!(matches!(invalid, Err(GuestError::Invalid { .. })), "{invalid:?}");
    }

    /// Runs the command that kills and starts the daemon; meanwhile nothing may be taken for absent.
    async fn daemon_is_lost(&self, restart: &str) {
        let mut child = std::process::Command::new("bash")
            .args(["-c", restart])
            .spawn()
            .unwrap();
        let domain = &self.made.domain.name;
        let mut unavailable = 0;
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < LIMIT, "the daemon did not come back");
            match self.made.host.domain(domain).await {
                Ok(found) => {
                    assert!(found.is_some(), "the domain was taken for absent");
                    if unavailable > 0 && child.try_wait().unwrap().is_some() {
                        break;
                    }
                }
                Err(fault) => {
                    assert!(fault.outcome_unknown(), "{fault:?}");
                    unavailable += 1;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{unavailable} looks found the host out of reach");
        self.agent().await;
        assert_eq!(self.guest.state("running", 500).await, Ok(waiting_job().1));
    }

    async fn power_cut(&self) {
        let (host, name, owner) = (&self.made.host, &self.made.domain.name, &self.made.owner);
        self.shell("sync").await;
        assert_eq!(self.attached().await, ["seedbed-upgrade"]);
        host.destroy_domain(name, owner).await.unwrap();
        let silent = self.guest.ping().await.unwrap_err();
        assert!(silent.agent_silent() && silent.outcome_unknown(), "{silent:?}");
        host.start_domain(name, owner).await.unwrap();
        self.agent().await;
        assert_eq!(self.attached().await, Vec::<String>::new());
        assert_eq!(
            self.guest.start(&waiting_job().0).await,
            Ok(Start::AlreadyStarted)
        );
        let state = self.guest.state("running", 500).await.unwrap();
        assert!(
            matches!(&state, JobState::Interrupted { phase: Some(phase), .. } if phase == "wait"),
            "{state:?}"
        );
        assert_eq!(self.guest.state("first", 500).await, Ok(JobState::Succeeded));
        let asked = Instant::now();
        self.guest.state("running", 500).await.unwrap();
        println!("a look at an interrupted job: {} ms", asked.elapsed().as_millis());
    }
}
