//! The libvirt backend: the conformance suite on libvirt's test driver, each test with a node of its own, and on a real host
//! where `SEEDBED_LIBVIRT_URI` names one (with `SEEDBED_LIBVIRT_POOL`, and `SEEDBED_LIBVIRT_DOMAIN_TYPE` of `kvm` or `qemu`).

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use seedbed_hypervisor::conformance::{self, Fixture};
use seedbed_hypervisor::libvirt::{Libvirt, LibvirtConfig, Limits};
use seedbed_hypervisor::{ByteSource, DomainType, Fault, Hypervisor, Unavailable, VolumeFormat};
use virt::connect::Connect;
use virt::sys;

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node.xml");

fn config(uri: &str, pool: &str) -> LibvirtConfig {
    LibvirtConfig {
        uri: uri.to_owned(),
        pool: pool.to_owned(),
        limits: Limits::default(),
    }
}

fn test_node() -> Libvirt {
    Libvirt::start(config(&format!("test://{NODE}"), "images")).unwrap()
}

fn fixture() -> Fixture {
    Fixture {
        prefix: "conformance".to_owned(),
        domain_type: DomainType::Qemu,
        cidr: "10.203.17.0/24".parse().unwrap(),
        bridge: "sb-conf".to_owned(),
        foreign_domain: Some("foreign".to_owned()),
        foreign_network: Some("foreign".to_owned()),
        guests_let_go: false,
    }
}

#[tokio::test]
async fn passes_the_suite_on_the_test_driver() {
    assert!(Path::new(NODE).exists());
    let report = conformance::run(&test_node(), &fixture()).await;
    println!("{report}");
    assert!(report.failed.is_empty(), "{report}");
    let unsupported: Vec<_> = report.unsupported.iter().map(|(name, _)| *name).collect();
    // What libvirt's test driver does not have: volume upload, a guest agent and layers above disks.
    assert_eq!(
        unsupported,
        [
            "an upload is done once and can be built upon",
            "an upload that is not what was promised leaves nothing",
            "the agent of a domain that is off is silent",
            "domains share a disk while they are on",
            "a disk is kept, merged and reverted",
        ],
        "{report}"
    );
}

#[tokio::test]
async fn passes_the_suite_on_a_real_host() {
    let Ok(uri) = std::env::var("SEEDBED_LIBVIRT_URI") else {
        println!("not run: SEEDBED_LIBVIRT_URI is not set");
        return;
    };
    let pool = std::env::var("SEEDBED_LIBVIRT_POOL").unwrap_or_else(|_| "default".to_owned());
    let kvm = std::env::var("SEEDBED_LIBVIRT_DOMAIN_TYPE").is_ok_and(|kind| kind == "kvm");
    let connect = Connect::open(Some(&uri)).unwrap();
    let foreign = Foreign::make(&connect);
    let host = Libvirt::start(config(&uri, &pool)).unwrap();
    let fixture = Fixture {
        prefix: format!("conformance-{}", std::process::id()),
        domain_type: if kvm { DomainType::Kvm } else { DomainType::Qemu },
        foreign_domain: Some(foreign.domain.name().unwrap()),
        foreign_network: Some(foreign.network.name().unwrap()),
        ..fixture()
    };
    let report = conformance::run(&host, &fixture).await;
    println!("{report}");
    assert!(
        report.failed.is_empty() && report.unsupported.is_empty(),
        "{report}"
    );
}

/// A domain and a network that somebody else made.
struct Foreign {
    domain: virt::domain::Domain,
    network: virt::network::Network,
}

impl Foreign {
    fn make(connect: &Connect) -> Self {
        let name = format!("conformance-foreign-{}", std::process::id());
        let domain = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
        );
        let network = format!("<network><name>{name}</name></network>");
        Self {
            domain: connect.define_domain_xml(&domain).unwrap(),
            network: connect.define_network_xml(&network).unwrap(),
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.domain
            .undefine_flags(sys::VIR_DOMAIN_UNDEFINE_NVRAM)
            .unwrap();
        self.network.undefine().unwrap();
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_unavailable_and_nothing_is_absent() {
    let host = Libvirt::start(config("test:///no/such/node.xml", "images")).unwrap();
    says_unavailable(&host).await;
    says_unavailable(&Unavailable::new("built without libvirt")).await;
}

async fn says_unavailable(host: &dyn Hypervisor) {
    let owner = fixture().owner(0);
    let results = [
        host.domain("x").await.err(),
        host.network("x").await.err(),
        host.volume("x").await.err(),
        host.inventory().await.err(),
        host.host().await.err(),
        host.undefine_domain("x", &owner).await.err(),
        host.delete_network("x", &owner).await.err(),
        host.delete_volume("x").await.err(),
    ];
    for result in results {
        let fault = result.expect("nothing can be known of a host that is not reachable");
        assert!(
            matches!(fault, Fault::Unavailable { .. }) && fault.outcome_unknown(),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_pool_that_is_not_there_is_named_and_is_no_answer_about_its_volumes() {
    let host = Libvirt::start(config(&format!("test://{NODE}"), "nowhere")).unwrap();
    for fault in [
        host.host().await.unwrap_err(),
        host.volume("x").await.unwrap_err(),
    ] {
        assert!(matches!(fault, Fault::NotFound { .. }), "{fault:?}");
        assert!(fault.to_string().contains("storage pool nowhere"), "{fault}");
    }
}

/// A source whose opening takes until the sender is dropped.
#[derive(Debug)]
struct Stuck(Mutex<mpsc::Receiver<()>>);

impl ByteSource for Stuck {
    fn open(&self) -> io::Result<(Box<dyn io::Read + Send>, u64)> {
        self.0.lock().unwrap().recv().unwrap_err();
        Err(io::Error::other("stuck until now"))
    }

    fn describe(&self) -> String {
        "a source that is stuck".to_owned()
    }
}

#[tokio::test]
async fn an_upload_that_hangs_is_timed_out_and_no_second_one_begins_meanwhile() {
    let host = test_node();
    let (release, stuck) = mpsc::channel();
    let source = Arc::new(Stuck(Mutex::new(stuck)));
    let limit = Duration::from_millis(50);
    let upload = || host.upload_volume("v", VolumeFormat::Raw, source.clone(), None, limit);
    let first = upload().await;
    assert!(matches!(first, Err(Fault::TimedOut { .. })), "{first:?}");
    let second = upload().await;
    assert!(matches!(second, Err(Fault::Busy { .. })), "{second:?}");
    assert_eq!(host.volume("v").await, Ok(None), "other calls are not held up");
    drop(release);
    // It ends when it can, and then another one may begin.
    let ended = async {
        while !matches!(upload().await, Err(Fault::Source { .. })) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended)
        .await
        .unwrap();
}
