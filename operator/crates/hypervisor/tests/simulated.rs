//! The simulated backend: the conformance suite, and what it has to do beyond that.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seedbed_hypervisor::conformance::{self, Fixture};
use seedbed_hypervisor::simulated::{Guests, Simulated};
use seedbed_hypervisor::{
    AttachedDisk, Boot, DiskSpec, DomainSpec, DomainType, Fault, HostFacts, Hypervisor, NetworkSpec, NicSpec,
    PowerState, VolumeFacts, VolumeFormat, VolumeSpec,
};
use uuid::Uuid;

/// Guests whose agents answer with the command as soon as they are on.
#[derive(Default)]
struct Echo {
    on: Mutex<BTreeSet<String>>,
}

impl Guests for Echo {
    fn switched_on(&self, machine: &DomainSpec) {
        self.on.lock().unwrap().insert(machine.name.clone());
    }

    fn switched_off(&self, domain: &str) {
        self.on.lock().unwrap().remove(domain);
    }

    fn agent_runs(&self, domain: &str) -> bool {
        self.on.lock().unwrap().contains(domain)
    }

    fn ask(&self, _: &str, command: &str) -> Result<String, String> {
        Ok(command.to_owned())
    }
}

fn host() -> Simulated {
    let facts = HostFacts {
        hostname: "simulated".to_owned(),
        hypervisor_version: "simulated".to_owned(),
        manager_version: "simulated".to_owned(),
        cpus: 8,
        memory_bytes: 64 << 30,
        pool_capacity_bytes: 1 << 40,
        pool_available_bytes: 1 << 40,
    };
    Simulated::new(facts, Arc::new(Echo::default()))
}

fn fixture() -> Fixture {
    Fixture {
        prefix: "conformance".to_owned(),
        domain_type: DomainType::Kvm,
        cidr: "10.203.17.0/24".parse().unwrap(),
        bridge: "sb-conf".to_owned(),
        foreign_domain: Some("foreign".to_owned()),
        foreign_network: Some("foreign".to_owned()),
        guests_let_go: true,
    }
}

fn machine(name: &str) -> DomainSpec {
    DomainSpec {
        name: name.to_owned(),
        uuid: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()),
        owner: fixture().owner(0),
        spec_hash: "1".to_owned(),
        cpus: 2,
        memory_bytes: 1 << 30,
        domain_type: DomainType::Kvm,
        boot: Boot::Disk,
        disks: Vec::new(),
        nics: Vec::new(),
    }
}

#[tokio::test]
async fn passes_the_whole_suite() {
    let host = host();
    host.make_foreign_domain(machine("foreign"), false);
    host.make_foreign_network("foreign");
    let report = conformance::run(&host, &fixture()).await;
    println!("{report}");
    assert!(
        report.failed.is_empty() && report.unsupported.is_empty(),
        "{report}"
    );
}

#[tokio::test]
async fn a_machine_starts_only_with_its_disks_and_its_network() {
    let host = host();
    let fixture = fixture();
    let owner = fixture.owner(0);
    let spec = DomainSpec {
        disks: vec![DiskSpec {
            volume: "disk".to_owned(),
            format: VolumeFormat::Qcow2,
            read_only: false,
        }],
        nics: vec![NicSpec {
            network: "net".to_owned(),
            mac: "52:54:00:00:00:01".to_owned(),
        }],
        ..machine("default.m")
    };
    host.define_domain(&spec).await.unwrap();
    let refused = |result| matches!(result, Err(Fault::Refused { .. }));
    assert!(refused(host.start_domain(&spec.name, &owner).await));
    let disk = VolumeSpec {
        name: "disk".to_owned(),
        capacity_bytes: 1 << 30,
        format: VolumeFormat::Qcow2,
        backing: None,
    };
    host.create_volume(&disk).await.unwrap();
    assert!(refused(host.start_domain(&spec.name, &owner).await));
    let network = NetworkSpec {
        name: "net".to_owned(),
        bridge: fixture.bridge.clone(),
        cidr: fixture.cidr,
        dns_domain: "demo.seedbed.test".to_owned(),
        reservations: Vec::new(),
        owner: owner.clone(),
    };
    host.ensure_network(&network).await.unwrap();
    host.start_domain(&spec.name, &owner).await.unwrap();
    let facts = host.domain(&spec.name).await.unwrap().unwrap();
    assert_eq!(
        (facts.power, facts.agent_connected),
        (PowerState::Running, Some(true))
    );
}

#[tokio::test]
async fn a_guest_sees_what_is_attached_to_its_machine_until_that_loses_its_power() {
    let host = host();
    let spec = machine("default.m");
    let disk = AttachedDisk {
        volume: "upgrade".to_owned(),
        format: VolumeFormat::Qcow2,
        serial: "upgrade".to_owned(),
    };
    let complete = VolumeFacts {
        name: disk.volume.clone(),
        capacity_bytes: 1 << 20,
        allocation_bytes: 1 << 20,
        complete: true,
    };
    host.put_volume(&disk.volume, Some(complete)).unwrap();
    host.define_domain(&spec).await.unwrap();
    for lost in [Simulated::lose_power, Simulated::crash] {
        host.start_domain(&spec.name, &spec.owner).await.unwrap();
        host.attach_disk(&spec.name, &spec.owner, &disk).await.unwrap();
        let redefined = DomainSpec {
            spec_hash: "2".to_owned(),
            ..spec.clone()
        };
        host.define_domain(&redefined).await.unwrap();
        assert_eq!(host.attached(&spec.name), std::slice::from_ref(&disk));
        lost(&host, &spec.name);
        assert_eq!(host.attached(&spec.name), []);
    }
}

#[tokio::test]
async fn a_range_or_a_bridge_is_used_once() {
    let host = host();
    let fixture = fixture();
    let network = |name: &str, bridge: &str, cidr: &str| NetworkSpec {
        name: name.to_owned(),
        bridge: bridge.to_owned(),
        cidr: cidr.parse().unwrap(),
        dns_domain: "demo.seedbed.test".to_owned(),
        reservations: Vec::new(),
        owner: fixture.owner(0),
    };
    host.ensure_network(&network("a", "br-a", "10.64.0.0/24"))
        .await
        .unwrap();
    for (bridge, cidr) in [("br-a", "10.64.1.0/24"), ("br-b", "10.64.0.128/25")] {
        let result = host.ensure_network(&network("b", bridge, cidr)).await;
        assert!(matches!(result, Err(Fault::Refused { .. })), "{result:?}");
        assert_eq!(host.network("b").await.unwrap(), None);
    }
    host.ensure_network(&network("b", "br-b", "10.64.1.0/24"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_agent_answers_while_the_machine_is_on() {
    let host = host();
    let spec = machine("default.m");
    let (name, owner) = (&spec.name, &spec.owner);
    let ask = || host.agent(name, owner, "{}", Duration::from_secs(1));
    host.define_domain(&spec).await.unwrap();
    assert!(matches!(ask().await, Err(Fault::AgentSilent { .. })));
    host.start_domain(name, owner).await.unwrap();
    assert_eq!(ask().await, Ok("{}".to_owned()));
    host.destroy_domain(name, owner).await.unwrap();
    assert!(matches!(ask().await, Err(Fault::AgentSilent { .. })));
}
