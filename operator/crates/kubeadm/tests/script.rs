//! The scripts, run by bash in a folder of the test's own, with stand-ins for the commands that would change the
//! machine.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where its input is wrong"
)]

mod common;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::{init, join, network, scratch};
use seedbed_kubeadm::{
    TimingProfile,
    config::{Endpoint, SECRET_FOLDER, render_init, render_join},
    containerd::TrustedCa,
    job::{self, JobFiles, Machine, Phase},
    pki::ClusterPki,
};

/// Notes each call. `kubeadm` also notes whether the authorities are in their place, leaves what it would leave, and
/// fails with the status that a test wants; as the real one, a reset empties the folder of the authorities. Where a test says that
/// the API server is busy, as many passes or joins fail as there are lines in `busy`; where it is not ready, the first look at it does.
/// Nothing sleeps.
const STAND_IN: &str = r#"#!/usr/bin/env bash
name=$(basename "$0")
echo "$name $1 ${2:-}" >> "$ROOT/calls"
[ "$name" = ip ] && echo '2: eth0 inet'
if [ "$name" = kubeadm ]; then
  case $1 in
    init | join)
      [ -e "$ROOT/etc/kubernetes/pki/ca.key" ] && echo 'ca.key is there' >> "$ROOT/calls"
      mkdir -p "$ROOT/var/lib/kubelet" && touch "$ROOT/var/lib/kubelet/config.yaml"
      [ -e "$ROOT/fail" ] && exit "$(cat "$ROOT/fail")"
      if [ -s "$ROOT/busy" ] && [[ $1 = join || $* = *preflight* ]]; then
        sed -i 1d "$ROOT/busy"
        exit 1
      fi ;;
    reset) rm -rf "$ROOT/etc/kubernetes/pki" "$ROOT/var/lib/kubelet" ;;
  esac
fi
if [ "$name" = kubectl ] && [ -e "$ROOT/unready" ]; then
  rm "$ROOT/unready"
  exit 1
fi
exit 0
"#;

struct Guest(PathBuf);

impl Guest {
    fn new(name: &str, hostname: &str) -> Self {
        let root = scratch(name);
        fs::create_dir_all(root.join("bin")).unwrap();
        for command in [
            "kubeadm",
            "kubectl",
            "systemctl",
            "ip",
            "sleep",
            "update-ca-certificates",
        ] {
            let path = root.join("bin").join(command);
            fs::write(&path, STAND_IN).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let guest = Self(root);
        guest.write("/proc/sys/kernel/hostname", hostname.as_bytes());
        guest
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Places the files and runs the script, as the operator does.
    fn run(&self, job: &JobFiles) -> Output {
        for file in &job.files {
            self.write(&file.path, &file.content);
        }
        let root = self.0.to_str().unwrap();
        let script = ["/run/", "/etc/", "/var/", "/proc/"]
            .into_iter()
            .fold(job.script.clone(), |script, top| {
                script.replace(&format!(" {top}"), &format!(" {root}{top}"))
            });
        Command::new("bash")
            .arg("-c")
            .arg(script)
            .env("ROOT", root)
            .env("PATH", format!("{root}/bin:/usr/bin:/bin"))
            .output()
            .unwrap()
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.join("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.0.join("calls"));
        calls
            .lines()
            .filter(|call| !call.starts_with("ip ") && !call.starts_with("sleep "))
            .map(|call| call.trim_end().to_owned())
            .collect()
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

fn machine(hostname: &str) -> Machine {
    common::machine(hostname, 10)
}

/// The job of a control plane whose API server listens on a port of the test's own.
struct InitJob {
    job: JobFiles,
    _api_server: TcpListener,
}

fn init_job(machine: &Machine) -> InitJob {
    let api_server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = api_server.local_addr().unwrap();
    let mut config = render_init(&init(TimingProfile::Relaxed)).unwrap();
    config.endpoint = Endpoint {
        host: address.ip().to_string(),
        port: address.port(),
    };
    let pki = ClusterPki::generate(1_800_000_000).unwrap();
    InitJob {
        job: job::init(config, &pki, machine).unwrap(),
        _api_server: api_server,
    }
}

fn join_job(machine: &Machine) -> JobFiles {
    job::join(render_join(&join(TimingProfile::Standard)).unwrap(), machine).unwrap()
}

fn assert_done(output: &Output) {
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{log}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(Phase::last_in(&log), Some(Phase::Done), "{log}");
}

/// Every script waits for containerd first: a guest's agent answers earlier in its boot.
const CONTAINERD: &str = "systemctl start containerd.service";

/// How a control plane is made.
const INIT: [&str; 7] = [
    "kubeadm init --config",
    "ca.key is there",
    "kubectl get --raw=/readyz",
    "kubeadm init --config",
    "ca.key is there",
    "kubeadm init --config",
    "ca.key is there",
];

#[test]
fn a_control_plane_gets_its_authorities_and_leaves_no_secret() {
    let guest = Guest::new("script-init", "demo-cp-0");
    assert_done(&guest.run(&init_job(&machine("demo-cp-0")).job));
    assert_eq!(guest.calls(), [&[CONTAINERD][..], &INIT].concat());
    assert!(guest.has("/etc/kubernetes/pki/etcd/ca.key") && guest.has("/etc/kubernetes/pki/sa.pub"));
    assert!(!guest.has(SECRET_FOLDER));
}

#[test]
fn what_has_succeeded_is_not_done_again() {
    let guest = Guest::new("script-again", "demo-cp-0");
    let mut machine = machine("demo-cp-0");
    machine.network = network().files([192, 168, 100, 10].into()).unwrap();
    let job = init_job(&machine);
    assert_done(&guest.run(&job.job));
    guest.calls();
    assert_done(&guest.run(&job.job));
    assert_eq!(
        guest.calls(),
        [
            CONTAINERD,
            "systemctl --quiet --no-block",
            "systemctl start seedbed-pod-network.service"
        ]
    );
}

#[test]
fn an_unfinished_attempt_is_reset_first_and_the_authorities_are_there_again() {
    let guest = Guest::new("script-retry", "demo-cp-0");
    guest.write("/fail", b"1");
    let job = init_job(&machine("demo-cp-0"));
    let output = guest.run(&job.job);
    assert!(!output.status.success());
    assert_eq!(
        Phase::last_in(&String::from_utf8_lossy(&output.stdout)),
        Some(Phase::Kubeadm)
    );
    assert!(!guest.has(SECRET_FOLDER), "secrets of a failed attempt are left");
    guest.calls();
    fs::remove_file(guest.path("/fail")).unwrap();
    assert_done(&guest.run(&job.job));
    assert_eq!(
        guest.calls(),
        [&[CONTAINERD, "kubeadm reset --force"][..], &INIT].concat()
    );
}

#[test]
fn a_busy_api_server_does_not_cost_the_attempt() {
    let guest = Guest::new("script-busy", "demo-cp-0");
    guest.write("/busy", b"once\nagain\nand\nagain\n");
    assert_done(&guest.run(&init_job(&machine("demo-cp-0")).job));
    let failed = INIT[3..5].repeat(4);
    assert_eq!(
        guest.calls(),
        [&[CONTAINERD][..], &INIT[..3], &failed, &INIT[3..]].concat()
    );
}

#[test]
fn the_rest_of_the_control_plane_waits_for_the_api_server() {
    let guest = Guest::new("script-unready", "demo-cp-0");
    guest.write("/unready", b"");
    assert_done(&guest.run(&init_job(&machine("demo-cp-0")).job));
    assert_eq!(
        guest.calls(),
        [&[CONTAINERD][..], &INIT[..3], &INIT[2..]].concat()
    );
}

#[test]
fn a_worker_joins() {
    let guest = Guest::new("script-join", "demo-workers-0");
    assert_done(&guest.run(&join_job(&machine("demo-workers-0"))));
    assert_eq!(guest.calls(), [CONTAINERD, "kubeadm join --config"]);
    assert!(!guest.has(SECRET_FOLDER));
}

#[test]
fn a_busy_api_server_does_not_cost_a_worker_its_attempt() {
    let guest = Guest::new("script-join-busy", "demo-workers-0");
    guest.write("/busy", b"once\nagain\n");
    assert_done(&guest.run(&join_job(&machine("demo-workers-0"))));
    let failed = ["kubeadm join --config", "kubeadm reset --force"].repeat(2);
    assert_eq!(
        guest.calls(),
        [&[CONTAINERD][..], &failed, &["kubeadm join --config"]].concat()
    );
    assert!(!guest.has(SECRET_FOLDER));
}

#[test]
fn a_join_that_kubeadm_refuses_is_told_at_once() {
    let guest = Guest::new("script-join-refused", "demo-workers-0");
    guest.write("/fail", b"2");
    let output = guest.run(&join_job(&machine("demo-workers-0")));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(guest.calls(), [CONTAINERD, "kubeadm join --config"]);
    assert!(!guest.has(SECRET_FOLDER), "secrets of a failed attempt are left");
}

#[test]
fn the_users_commands_run_around_kubeadm() {
    let guest = Guest::new("script-commands", "demo-workers-0");
    guest.write("/run/cloud-init/result.json", b"{}");
    let mut machine = machine("demo-workers-0");
    machine.containerd.trusted_cas = vec![TrustedCa {
        name: "company".into(),
        pem: common::CA.into(),
    }];
    machine.pre_commands = vec![
        "echo \"before $(echo it\\'s)\" >> \"$ROOT/calls\"".into(),
        "cat".into(),
    ];
    machine.post_commands = vec!["echo 'after' >> \"$ROOT/calls\"".into()];
    assert_done(&guest.run(&join_job(&machine)));
    assert_eq!(
        guest.calls(),
        [
            CONTAINERD,
            "update-ca-certificates",
            "systemctl restart containerd.service",
            "before it's",
            "kubeadm join --config",
            "after"
        ]
    );
}

#[test]
fn a_failed_command_of_the_users_is_named_without_its_text() {
    let guest = Guest::new("script-failed-command", "demo-workers-0");
    guest.write("/run/cloud-init/result.json", b"{}");
    let mut machine = machine("demo-workers-0");
    machine.pre_commands = vec!["true".into(), "false hunter2; echo not reached".into()];
    let output = guest.run(&join_job(&machine));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "seedbed: pre-kubeadm-commands[1] ended with exit status 1\n"
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(guest.calls(), [CONTAINERD]);
    assert!(!guest.has(SECRET_FOLDER));
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let mut machine = machine("demo-cp-0");
    machine.pre_commands = vec!["echo 'a b'".into()];
    machine.post_commands = vec!["true".into()];
    machine.containerd.trusted_cas = vec![TrustedCa {
        name: "company".into(),
        pem: common::CA.into(),
    }];
    machine.network = network().files([192, 168, 100, 10].into()).unwrap();
    for (name, job) in [("init", init_job(&machine).job), ("join", join_job(&machine))] {
        let path: &Path = &scratch("shellcheck").join(name);
        fs::write(path, &job.script).unwrap();
        match Command::new("shellcheck")
            .args(["--shell=bash"])
            .arg(path)
            .output()
        {
            Ok(output) => assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            ),
            Err(error) => eprintln!("SKIPPED: shellcheck: {error}"),
        }
    }
}
