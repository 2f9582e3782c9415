//! What every backend has to do, as functions over [`Hypervisor`]. One suite for all backends.
//!
//! [`run`] works through all checks on a host on which nothing of the fixture's names exists, and leaves nothing there. A check
//! of something that the backend cannot do at all ([`Fault::Unsupported`]) is reported as such.

mod disks;
mod domains;
mod kept;
mod networks;
mod volumes;

use std::fmt;

use ipnet::Ipv4Net;
use uuid::Uuid;

use crate::{
    Boot, DiskSpec, DomainSpec, DomainType, Fault, Hypervisor, NicSpec, Owner, VolumeFormat, VolumeSpec,
};

/// What the checks may use on the host.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// All names begin with it.
    pub prefix: String,
    /// Who executes the guests' instructions.
    pub domain_type: DomainType,
    /// A range that nothing on the host uses.
    pub cidr: Ipv4Net,
    /// Name for a bridge that does not exist.
    pub bridge: String,
    /// A domain that exists and is nobody's of ours.
    pub foreign_domain: Option<String>,
    /// A network that exists and is nobody's of ours.
    pub foreign_network: Option<String>,
    /// Whether what runs in the domains lets go of a disk that is detached. On a real host nothing runs: their disks are empty.
    pub guests_let_go: bool,
}

impl Fixture {
    /// A machine's owner; the same number gives the same machine.
    pub fn owner(&self, machine: u8) -> Owner {
        Owner {
            namespace: "conformance".to_owned(),
            cluster: self.prefix.clone(),
            cluster_uid: format!("{}-cluster", self.prefix),
            machine: Some(format!("machine-{machine}")),
            machine_uid: Some(format!("{}-machine-{machine}", self.prefix)),
        }
    }

    /// Another cluster's owner.
    pub fn stranger(&self) -> Owner {
        Owner {
            cluster_uid: format!("{}-other", self.prefix),
            ..self.owner(0)
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A domain with one disk and no network, which boots from its empty disk.
    fn domain(&self, name: &str, disk: &str) -> DomainSpec {
        let name = self.name(name);
        DomainSpec {
            uuid: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()),
            owner: self.owner(0),
            spec_hash: "1".to_owned(),
            cpus: 1,
            memory_bytes: 64 << 20,
            domain_type: self.domain_type,
            boot: Boot::Disk,
            disks: vec![DiskSpec {
                volume: disk.to_owned(),
                format: VolumeFormat::Qcow2,
                read_only: false,
            }],
            nics: Vec::<NicSpec>::new(),
            name,
        }
    }

    fn disk(&self, name: &str) -> VolumeSpec {
        VolumeSpec {
            name: self.name(name),
            capacity_bytes: 1 << 20,
            format: VolumeFormat::Qcow2,
            backing: None,
        }
    }
}

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The backend does not do what it has to.
    Broken(String),
    /// A call failed that should not have.
    Call(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Call(fault)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(message) => f.write_str(message),
            Self::Call(fault) => write!(f, "a call failed: {fault}"),
        }
    }
}

/// What came of the checks.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Checks that passed.
    pub passed: Vec<&'static str>,
    /// Checks of something that the backend cannot do, with what it says.
    pub unsupported: Vec<(&'static str, String)>,
    /// Checks that failed, with why.
    pub failed: Vec<(&'static str, String)>,
}

impl Report {
    fn add(&mut self, name: &'static str, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.passed.push(name),
            Err(Failure::Call(fault @ Fault::Unsupported { .. })) => {
                self.unsupported.push((name, fault.to_string()));
            }
            Err(failure) => self.failed.push((name, failure.to_string())),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.passed {
            writeln!(f, "passed       {name}")?;
        }
        for (name, why) in &self.unsupported {
            writeln!(f, "unsupported  {name}: {why}")?;
        }
        for (name, why) in &self.failed {
            writeln!(f, "FAILED       {name}: {why}")?;
        }
        Ok(())
    }
}

/// Works through all checks, one after the other.
pub async fn run(host: &dyn Hypervisor, fixture: &Fixture) -> Report {
    let mut report = Report::default();
    report.add(
        "what is not there is None",
        what_is_not_there_is_none(host, fixture).await,
    );
    report.add("the host says what it is", the_host_says_what_it_is(host).await);
    networks::run(host, fixture, &mut report).await;
    volumes::run(host, fixture, &mut report).await;
    domains::run(host, fixture, &mut report).await;
    disks::run(host, fixture, &mut report).await;
    kept::run(host, fixture, &mut report).await;
    report.add("nothing is left", nothing_is_left(host, fixture).await);
    report
}

async fn what_is_not_there_is_none(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let name = fixture.name("absent");
    equal("an absent domain", &host.domain(&name).await?, &None)?;
    equal("an absent network", &host.network(&name).await?, &None)?;
    equal("an absent volume", &host.volume(&name).await?, &None)?;
    let owner = fixture.owner(0);
    let start = host.start_domain(&name, &owner).await;
    ensure(matches!(start, Err(Fault::NotFound { .. })), || {
        format!("start of an absent domain gave {start:?}")
    })
}

async fn the_host_says_what_it_is(host: &dyn Hypervisor) -> Result<(), Failure> {
    let facts = host.host().await?;
    ensure(
        facts.cpus > 0
            && facts.memory_bytes > 0
            && facts.pool_capacity_bytes > 0
            && !facts.hostname.is_empty(),
        || format!("{facts:?}"),
    )
}

async fn nothing_is_left(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let inventory = host.inventory().await?;
    let domains = inventory.domains.into_iter().map(|domain| domain.name);
    let networks = inventory.networks.into_iter().map(|network| network.name);
    let volumes = inventory.volumes.into_iter().map(|volume| volume.name);
    let prefix = fixture.name("");
    let left: Vec<_> = domains
        .chain(networks)
        .chain(volumes)
        .filter(|name| name.starts_with(&prefix))
        .collect();
    equal("what is left", &left, &Vec::new())
}

fn ensure(holds: bool, found: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::Broken(found()))
    }
}

fn equal<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Failure> {
    ensure(found == expected, || {
        format!("{what}: found {found:?}, expected {expected:?}")
    })
}

fn conflict<T: fmt::Debug>(what: &str, result: &Result<T, Fault>) -> Result<(), Failure> {
    ensure(matches!(result, Err(Fault::Conflict { .. })), || {
        format!("{what} gave {result:?}, expected a conflict")
    })
}
