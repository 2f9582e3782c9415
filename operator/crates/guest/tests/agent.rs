//! The protocol and the jobs, against an agent that is played by a map of files and prepared ends of commands.

// A helper of a test fails the test that uses it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fake;

use std::collections::HashMap;
use std::io::Read as _;
use std::time::Duration;

use fake::{Ends, FakeHost, agent_error, guest};
use seedbed_guest::{Exec, GuestError, GuestFile, Job, JobState, Start};
use seedbed_hypervisor::Fault;
use serde_json::json;

const GROUP: &str = "/sys/fs/cgroup/system.slice/seedbed-t1.service/cgroup.events";
const RESULT: &str = "/var/lib/seedbed/jobs/t1/result";
const LOG: &str = "/var/lib/seedbed/jobs/t1/log";

fn job() -> Job {
    Job {
        token: "t1".to_owned(),
        files: vec![GuestFile {
            path: "/etc/kubernetes/pki/ca.key".to_owned(),
            mode: 0o600,
            content: b"PRIVATE KEY".to_vec(),
        }],
        script: "kubeadm init --token SECRET".to_owned(),
    }
}

fn ends(host: &FakeHost, exit_code: i32, stdout: &'static str, stderr: &'static str) {
    let mut state = host.state.lock().unwrap();
    let pid = i64::try_from(state.ends.len()).unwrap() + 1;
    state.ends.insert(
        pid,
        Ends {
            exit_code,
            stdout,
            stderr,
            looks: 3,
        },
    );
}

fn file(host: &FakeHost, path: &str, content: &str) {
    host.state
        .lock()
        .unwrap()
        .files
        .insert(path.to_owned(), content.into());
}

fn commands(host: &FakeHost) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for command in host.state.lock().unwrap().commands.drain(..) {
        *counts.entry(command).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_job_goes_in_by_one_command_with_its_secrets_on_standard_input_alone() {
    let (guest, host) = guest();
    ends(&host, 0, "", "");
    assert_eq!(guest.start(&job()).await, Ok(Start::Started));
    let state = host.state.lock().unwrap();
    assert_eq!(state.ran.len(), 1);
    let line = state.ran[0].arguments.join(" ");
    assert!(!line.contains("PRIVATE") && !line.contains("SECRET"), "{line}");
    let mut archive = tar::Archive::new(state.ran[0].input.as_slice());
    let entries: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            (
                entry.path().unwrap().display().to_string(),
                entry.header().mode().unwrap(),
                content,
            )
        })
        .collect();
    let find = |path: &str| {
        let entry = entries
            .iter()
            .find(|entry| entry.0.trim_end_matches('/') == path)
            .unwrap();
        (entry.1, entry.2.as_str())
    };
    assert_eq!(find("etc/kubernetes/pki/ca.key"), (0o600, "PRIVATE KEY"));
    assert_eq!(find("etc/kubernetes/pki"), (0o755, ""));
    assert_eq!(find("run/seedbed/t1"), (0o700, ""));
    assert_eq!(
        find("run/seedbed/t1/job.sh"),
        (0o600, "kubeadm init --token SECRET")
    );
}

#[tokio::test]
async fn a_large_job_goes_in_by_commands_that_the_agents_socket_can_take() {
    let (guest, host) = guest();
    ends(&host, 0, "", "");
    ends(&host, 0, "", "");
    let job = Job {
        script: "#".repeat(1_000_000),
        ..job()
    };
    assert_eq!(guest.start(&job).await, Ok(Start::Started));
    let state = host.state.lock().unwrap();
    assert!(state.sent.iter().all(|command| command.len() < 128 << 10));
    assert!(state.files["/run/seedbed/t1.tar"].len() > 1_000_000);
    assert_eq!(state.ran[1].arguments[3..], ["t1", "/run/seedbed/t1.tar"]);
    assert_eq!(state.open_handles(), 0);
}

#[test]
fn a_jobs_debug_text_holds_no_content() {
    let text = format!("{:?}", job());
    assert!(
        text.contains("/etc/kubernetes/pki/ca.key (0600, 11 bytes)"),
        "{text}"
    );
    assert!(!text.contains("PRIVATE") && !text.contains("SECRET"), "{text}");
}

#[tokio::test]
async fn a_second_start_is_no_error_and_a_failed_one_says_why() {
    let (guest, host) = guest();
    ends(&host, 75, "", "");
    assert_eq!(guest.start(&job()).await, Ok(Start::AlreadyStarted));
    ends(&host, 2, "", "tar: disk full\n");
    let error = guest.start(&job()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "start of job t1 in default.m failed with exit code 2: tar: disk full"
    );
    assert!(!error.outcome_unknown());
}

#[tokio::test]
async fn a_start_that_does_not_end_is_unknown() {
    let (guest, host) = guest();
    host.state.lock().unwrap().ends.insert(
        1,
        Ends {
            exit_code: 0,
            stdout: "",
            stderr: "",
            looks: u32::MAX,
        },
    );
    let error = guest.start(&job()).await.unwrap_err();
    assert!(
        matches!(error, GuestError::Unfinished { .. }) && error.outcome_unknown(),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent() {
    let (guest, host) = guest();
    let with = |path: &str| Job {
        files: vec![GuestFile {
            path: path.to_owned(),
            mode: 0o600,
            content: Vec::new(),
        }],
        ..job()
    };
    let token = |token: &str| Job {
        token: token.to_owned(),
        ..job()
    };
    let large = Job {
        script: "#".repeat(4_000_000),
        ..job()
    };
    let long = "a".repeat(65);
    for job in [
        with("etc/x"),
        with("/etc/../x"),
        with("/etc//x"),
        with("/etc/"),
        token(""),
        token("A"),
        token("a/b"),
        token("-a"),
        token(&long),
        large,
    ] {
        let error = guest.start(&job).await.unwrap_err();
        assert!(matches!(error, GuestError::Invalid { .. }), "{error:?}");
    }
    assert!(commands(&host).is_empty());
}

#[tokio::test]
async fn a_running_job_is_seen_without_a_process_in_the_guest() {
    let (guest, host) = guest();
    file(&host, GROUP, "populated 1\nfrozen 0\n");
    file(&host, LOG, "seedbed: phase init\n[init] Using Kubernetes\n");
    let log_tail = "[init] Using Kubernetes".to_owned();
    let state = guest.state("t1", 25).await;
    assert_eq!(
        state,
        Ok(JobState::Running {
            phase: Some("init".to_owned()),
            log_tail
        })
    );
    let sent = commands(&host);
    assert_eq!(sent.get("guest-exec"), None);
    assert!(sent.values().sum::<usize>() <= 7, "{sent:?}");
    let state = guest.state("t1", 0).await;
    assert_eq!(
        state,
        Ok(JobState::Running {
            phase: None,
            log_tail: String::new()
        })
    );
    assert_eq!(commands(&host).values().sum::<usize>(), 3);
    assert_eq!(host.state.lock().unwrap().open_handles(), 0);
}

#[tokio::test]
async fn an_ended_job_has_its_result_and_the_end_of_its_log() {
    let (guest, host) = guest();
    assert_eq!(guest.state("t1", 100).await, Ok(JobState::NotStarted));
    file(&host, GROUP, "populated 0\nfrozen 0\n");
    file(&host, RESULT, "0\n");
    file(&host, LOG, "seedbed: phase join\nerror: no route\n");
    assert_eq!(guest.state("t1", 100).await, Ok(JobState::Succeeded));
    file(&host, RESULT, "3\n");
    let expected = JobState::Failed {
        exit_code: 3,
        phase: Some("join".to_owned()),
        log_tail: "seedbed: phase join\nerror: no route".to_owned(),
    };
    assert_eq!(guest.state("t1", 100).await, Ok(expected));
    file(&host, RESULT, "\0\0");
    let error = guest.state("t1", 100).await.unwrap_err();
    assert!(matches!(error, GuestError::Malformed { .. }), "{error:?}");
    assert_eq!(host.state.lock().unwrap().open_handles(), 0);
}

#[tokio::test]
async fn systemd_decides_where_the_files_leave_it_open() {
    let (guest, host) = guest();
    file(&host, LOG, "begun\n");
    let log_tail = || "begun".to_owned();
    let running = JobState::Running {
        phase: None,
        log_tail: log_tail(),
    };
    let interrupted = JobState::Interrupted {
        phase: None,
        log_tail: log_tail(),
    };
    let failed = JobState::Failed {
        exit_code: 9,
        phase: None,
        log_tail: log_tail(),
    };
    let cases = [
        ("active\nrunning\n", running.clone()),
        // A unit that a booting guest has not come to yet: taken for cut off, it would be started a second time.
        ("inactive\ndead\nqueued\n", running),
        ("inactive\ndead\n", interrupted.clone()),
        ("failed\nfailed\n", interrupted),
        ("failed\nfailed\n9\n", failed),
        ("active\nexited\n0\n", JobState::Succeeded),
    ];
    for (answer, expected) in cases {
        ends(&host, 0, answer, "");
        assert_eq!(guest.state("t1", 100).await, Ok(expected), "{answer:?}");
    }
    ends(&host, 1, "", "Failed to connect to bus\n");
    let error = guest.state("t1", 100).await.unwrap_err();
    assert!(error.to_string().contains("Failed to connect to bus"), "{error}");
}

#[tokio::test]
async fn a_control_group_that_goes_while_it_is_read_is_not_there() {
    let (guest, host) = guest();
    let group = "/sys/fs/cgroup/system.slice/seedbed-t1.service/cgroup.events";
    file(&host, group, "populated 1\n");
    let gone = Err(agent_error("failed to read file: No such device"));
    host.state
        .lock()
        .unwrap()
        .answers
        .insert("guest-file-read".to_owned(), gone);
    assert_eq!(guest.read_file(group, 10).await, Ok(None));
    assert_eq!(host.state.lock().unwrap().open_handles(), 0);
    // The result decides then, and where there is none yet either, the log and systemd.
    assert_eq!(guest.state("t1", 100).await, Ok(JobState::NotStarted));
}

#[tokio::test]
async fn a_silent_agent_is_never_a_job_that_is_not_there() {
    let (guest, host) = guest();
    let silent = Fault::AgentSilent {
        operation: String::new(),
        domain: String::new(),
        message: String::new(),
    };
    let denied = agent_error("failed to open file: Permission denied");
    for fault in [
        silent,
        denied,
        Fault::Unavailable {
            operation: String::new(),
            message: String::new(),
        },
    ] {
        host.state
            .lock()
            .unwrap()
            .answers
            .insert("guest-file-open".to_owned(), Err(fault.clone()));
        assert_eq!(guest.state("t1", 100).await, Err(GuestError::Host(fault)));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_the_protocols_is_an_error() {
    let (guest, host) = guest();
    host.state
        .lock()
        .unwrap()
        .answers
        .insert("guest-file-open".to_owned(), Ok(json!("handle")));
    let error = guest.read_file("/etc/hosts", 10).await.unwrap_err();
    assert!(
        matches!(error, GuestError::Malformed { .. }) && !error.outcome_unknown(),
        "{error:?}"
    );
}

#[tokio::test]
async fn reads_the_beginning_and_the_end_of_files() {
    let (guest, host) = guest();
    file(&host, "/f", "0123456789");
    assert_eq!(guest.read_file("/f", 4).await, Ok(Some(b"0123".to_vec())));
    assert_eq!(guest.read_file_end("/f", 4).await, Ok(Some(b"6789".to_vec())));
    assert_eq!(
        guest.read_file_end("/f", 100).await,
        Ok(Some(b"0123456789".to_vec()))
    );
    assert_eq!(guest.read_file("/absent", 4).await, Ok(None));
    assert_eq!(host.state.lock().unwrap().open_handles(), 0);
}

#[tokio::test]
async fn a_command_gives_its_output_and_how_it_ended() {
    let (guest, host) = guest();
    ends(&host, 1, "out", "err");
    let exec = Exec {
        what: "a try".to_owned(),
        path: "/bin/false".to_owned(),
        arguments: vec!["-x".to_owned()],
        input: b"in".to_vec(),
        limit: Duration::from_secs(5),
    };
    let output = guest.exec(&exec).await.unwrap();
    assert_eq!(
        (
            output.exit_code,
            output.stdout.as_slice(),
            output.stderr.as_slice()
        ),
        (1, &b"out"[..], &b"err"[..])
    );
    assert_eq!(host.state.lock().unwrap().ran[0].input, b"in");
    let killed = json!({"exited": true, "signal": 9});
    host.state
        .lock()
        .unwrap()
        .answers
        .insert("guest-exec-status".to_owned(), Ok(killed));
    assert_eq!(guest.exec(&exec).await.unwrap().exit_code, 137);
}

#[tokio::test]
async fn tells_what_the_guest_is() {
    let (guest, host) = guest();
    {
        let answers = &mut host.state.lock().unwrap().answers;
        let os = json!({"pretty-name": "Debian 13", "kernel-release": "6.12", "machine": "x86_64", "id": "debian"});
        answers.insert("guest-get-osinfo".to_owned(), Ok(os));
        answers.insert(
            "guest-get-time".to_owned(),
            Ok(json!(1_700_000_000_000_000_000_u64)),
        );
        let interfaces = json!([
            {"name": "lo"},
            {"name": "eth0", "hardware-address": "52:54:00:AA:00:01", "ip-addresses": [
                {"ip-address": "10.64.0.10", "ip-address-type": "ipv4", "prefix": 24}]},
        ]);
        answers.insert("guest-network-get-interfaces".to_owned(), Ok(interfaces));
    }
    let facts = guest.facts().await.unwrap();
    assert_eq!(facts.os.as_deref(), Some("Debian 13"));
    assert_eq!(facts.clock, Duration::from_secs(1_700_000_000));
    assert_eq!(facts.interfaces[1].mac.as_deref(), Some("52:54:00:aa:00:01"));
    assert_eq!(
        facts.interfaces[1].addresses,
        ["10.64.0.10".parse::<std::net::IpAddr>().unwrap()]
    );
}
