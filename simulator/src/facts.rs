//! What a guest says where it is asked for memory, disks, certificates and etcd.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

use crate::machines::{Disk, Machines};

/// What the script is called that asks.
const SCRIPT: &str = "seedbed-facts";
/// For how long kubeadm's certificates are valid, and those that they are signed with.
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);
const TEN_YEARS: SignedDuration = SignedDuration::from_hours(3650 * 24);
/// A certificate, and one that others may be signed with, until [`FOR_EVER`]. Nobody looks at their signatures.
const LEAF: &str = "MIIBKDCBz6ADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCXNpbXVsYXRlZDAgFw0yNjAxMDEwMDAwMDBaGA85OTk5MTIzMTIzNTk1OVowFDESMBAGA1UEAwwJc2ltdWxhdGVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExqpPrSQb0XSO7vMwkw/iuH6i6727Wx+yRDJmOAeppJ7TfDRExyikkgmUALE79zlOgF60C3BwzhefJAG7SECbLqMQMA4wDAYDVR0TAQH/BAIwADAKBggqhkjOPQQDAgNIADBFAiAz5TPwEB3e2Jy8bxZRPEDpy3sZfWtPCkG0tuC8nwlxEQIhAN1IesVxdC8a5rOAjpBdmbb3Ozql54G9D6NjcjS+r3t3";
const AUTHORITY: &str = "MIIBKjCB0qADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCXNpbXVsYXRlZDAgFw0yNjAxMDEwMDAwMDBaGA85OTk5MTIzMTIzNTk1OVowFDESMBAGA1UEAwwJc2ltdWxhdGVkMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdl3ZBu9AX/NC15kqlvTfaUya2Jq2ddaai42t3DoTplB9TPVQziHjXuyM2EgTBvJkIajsBmzoxVcdZxoObEeDs6MTMBEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiA0CUe0274WUkAvyoHzvkuORQ8K0qch78G6vYQJdIdQWgIge2FuTvZCRv8mgdaFOGERtwPeew6P5DIF6uI+Sd1/fcs=";
const FOR_EVER: &[u8] = b"99991231235959Z";

/// What a guest says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Memory that is left, in bytes.
    pub memory: u64,
    /// Size of its one file system, in bytes.
    pub disk: u64,
    /// What of that is left, in bytes.
    pub disk_left: u64,
    /// When the certificates of a control plane expire. None: a year after it was made.
    pub certificates_end: Option<Timestamp>,
    /// The alarm that etcd has raised, such as `NOSPACE`.
    pub alarm: Option<String>,
    /// Size of etcd's database, in bytes, of the 2 GiB that it may have.
    pub database: u64,
}

impl Default for Facts {
    /// With which all is well.
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            disk: 20 << 30,
            disk_left: 14 << 30,
            certificates_end: None,
            alarm: None,
            database: 20 << 20,
        }
    }
}

impl Machines {
    /// What the guest that is on under that name says of itself from now on.
    pub fn set_facts(&self, domain: &str, facts: Facts) {
        let now = self.0.timers.now();
        let mut state = self.lock();
        let Some(disk) = state.on.get(domain).map(|power| power.disk.clone()) else {
            return;
        };
        if let Some(disk) = state.disks.get_mut(&disk) {
            disk.facts = facts;
            tell(disk, now);
        }
    }
}

/// Has the guest say its facts when it is asked.
pub(crate) fn tell(disk: &mut Disk, now: Timestamp) {
    let facts = &disk.facts;
    let mut text = format!("memory {}\n", facts.memory / 1024);
    for what in ["images", "kept", "backups"] {
        let _ = writeln!(text, "disk {what} {} {} /", facts.disk, facts.disk_left);
    }
    if disk.cluster.is_some() {
        let end = |long| now.saturating_add(long).unwrap_or(Timestamp::MAX);
        let leaf = certificate(LEAF, facts.certificates_end.unwrap_or_else(|| end(YEAR)));
        let authority = certificate(AUTHORITY, end(TEN_YEARS));
        let health = match &facts.alarm {
            Some(alarm) => format!("{{\"health\":\"false\",\"reason\":\"ALARM {alarm}\"}}"),
            None => "{\"health\":\"true\",\"reason\":\"\"}".to_owned(),
        };
        let _ = write!(
            text,
            "certificate /etc/kubernetes/pki/apiserver.crt {leaf}\ncertificate /etc/kubernetes/pki/ca.crt {authority}\n\
             etcd data {data}\netcd health {health}\n\
             etcd metric etcd_server_quota_backend_bytes 2.147483648e+09\netcd metric etcd_mvcc_db_total_size_in_bytes {database}\n",
            data = facts.database + (192 << 20),
            database = facts.database,
        );
    }
    disk.os.set_output(SCRIPT, text);
}

/// The certificate with that end: PEM, as base64.
fn certificate(template: &str, end: Timestamp) -> String {
    let mut der = STANDARD.decode(template).unwrap_or_default();
    let place = der.windows(FOR_EVER.len()).position(|bytes| bytes == FOR_EVER);
    let end = end.strftime("%Y%m%d%H%M%SZ").to_string();
    if let Some(place) = place {
        der.splice(place..place + FOR_EVER.len(), end.into_bytes());
    }
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(der)
    );
    STANDARD.encode(pem)
}
