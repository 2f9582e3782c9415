//! Simulated hosts over the socket: the conformance suite, and what a process of its own adds to it.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seedbed_hypervisor::conformance::{self, Fixture};
use seedbed_hypervisor::simulator::wire::{Durations, Settings};
use seedbed_hypervisor::simulator::{Simulator, SimulatorConfig};
use seedbed_hypervisor::{DomainType, Fault, Hypervisor, VolumeFormat, VolumeSpec};
use seedbed_simulator_server::{Hosts, server};

fn settings() -> Settings {
    Settings {
        cpus: 8,
        memory_bytes: 64 << 30,
        pool_capacity_bytes: 1 << 40,
        durations: Durations {
            boot: Duration::ZERO,
            api_server: Duration::ZERO,
            init: Duration::ZERO,
            join: Duration::ZERO,
            node_ready: Duration::ZERO,
            dns: Duration::ZERO,
        },
        hangs: false,
    }
}

/// A simulator on a socket of this test's own.
fn socket(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("seedbed-simulator-{}", std::process::id()));
    let socket = folder.join(name);
    let listener = server::bind(&socket).unwrap();
    tokio::spawn(server::serve(listener, Arc::new(Hosts::default())));
    socket
}

fn host(socket: &std::path::Path, settings: Settings) -> Simulator {
    Simulator::start(SimulatorConfig {
        socket: socket.to_owned(),
        host: "a".to_owned(),
        settings,
    })
}

#[tokio::test]
async fn passes_the_whole_suite() {
    // The suite's machines have no guest: an agent that answered in the midst of it would be a change that nobody made.
    let mut without_guests = settings();
    without_guests.durations.boot = Duration::from_hours(1);
    let host = host(&socket("suite"), without_guests);
    let fixture = Fixture {
        prefix: "conformance".to_owned(),
        domain_type: DomainType::Kvm,
        cidr: "127.203.17.0/24".parse().unwrap(),
        bridge: "sb-conf".to_owned(),
        foreign_domain: None,
        foreign_network: None,
        guests_let_go: true,
    };
    let report = conformance::run(&host, &fixture).await;
    println!("{report}");
    assert!(
        report.failed.is_empty() && report.unsupported.is_empty(),
        "{report}"
    );
}

#[tokio::test]
async fn what_is_on_a_host_outlives_who_used_it() {
    let socket = socket("outlives");
    let spec = VolumeSpec {
        name: "disk".to_owned(),
        capacity_bytes: 1 << 30,
        format: VolumeFormat::Qcow2,
        backing: None,
    };
    host(&socket, settings()).create_volume(&spec).await.unwrap();
    let found = host(&socket, settings()).volume("disk").await.unwrap();
    assert_eq!(found.map(|volume| volume.capacity_bytes), Some(1 << 30));
}

#[tokio::test]
async fn a_host_that_hangs_fails_at_once_after_the_first_call_and_answers_again() {
    let socket = socket("hangs");
    let hung = host(
        &socket,
        Settings {
            hangs: true,
            ..settings()
        },
    );
    let first = hung.host().await;
    assert!(matches!(first, Err(Fault::TimedOut { .. })), "{first:?}");
    let began = Instant::now();
    let second = hung.host().await;
    assert!(matches!(second, Err(Fault::Unavailable { .. })), "{second:?}");
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "it waited for a host that hangs"
    );

    assert!(
        host(&socket, settings()).host().await.is_ok(),
        "the setting was taken back"
    );
    let mut events = hung.events();
    while hung.host().await.is_err() {
        events.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_simulator_that_is_not_there_is_named_with_what_to_do() {
    let nowhere = host(std::path::Path::new("/nowhere/simulator.sock"), settings());
    let fault = nowhere.host().await.unwrap_err();
    assert!(fault.host_unreachable(), "{fault}");
    let message = fault.to_string();
    assert!(
        message.contains("/nowhere/simulator.sock") && message.contains("start seedbed-simulator"),
        "{message}"
    );
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_a_second_simulator_does_not_take_it() {
    use std::os::unix::fs::PermissionsExt;
    let socket = socket("mine");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(server::bind(&socket).is_err(), "two simulators on one socket");
    assert!(host(&socket, settings()).host().await.is_ok());
}
