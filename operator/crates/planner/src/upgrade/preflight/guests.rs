//! What machines say of themselves.

use std::collections::BTreeSet;

use jiff::Timestamp;
use seedbed_crds::PreflightCheck;

use super::{Findings, Seen};
use crate::Observed;

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFacts {
    /// Memory that programs can be given before others have to give some back, in bytes.
    pub available_memory: u64,
    /// The file systems that an upgrade writes to.
    pub filesystems: Vec<Filesystem>,
    /// What a control plane has beside that.
    pub control_plane: Option<ControlPlaneFacts>,
}

/// A file system that an upgrade writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount: String,
    /// Its size, in bytes.
    pub size: u64,
    /// What may still be written to it, in bytes.
    pub available: u64,
    /// What of an upgrade is put there.
    pub uses: BTreeSet<Use>,
}

/// What an upgrade puts on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Container images: as they come, and unpacked.
    Images,
    /// Programs, and etcd's snapshot.
    Kept,
    /// The copy of etcd's data that kubeadm makes before it replaces etcd.
    Backups,
}

/// What a control plane has beside what every machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlaneFacts {
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// Its member of etcd.
    pub etcd: EtcdFacts,
}

/// A certificate of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate {
    /// The file that it is in.
    pub file: String,
    /// Whether it is one that others are signed with.
    pub is_authority: bool,
    /// The last moment at which it is valid.
    pub not_after: Timestamp,
}

/// A member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdFacts {
    /// Whether it is healthy, as it says itself; if not, in its own words.
    pub health: Observed<Result<(), String>>,
    /// What its data takes on the disk, in bytes.
    pub data: u64,
    /// Size of its database, in bytes.
    pub database: Observed<u64>,
    /// The size at which it takes no more writes, in bytes.
    pub quota: Observed<u64>,
}

/// The control planes that said something of themselves; the others are findings of the check.
pub(super) fn control_planes<'a>(
    seen: &'a Seen,
    check: PreflightCheck,
    what: &str,
    findings: &mut Findings,
) -> Vec<(&'a str, &'a ControlPlaneFacts)> {
    let mut found = Vec::new();
    for (name, facts) in seen
        .guests
        .iter()
        .filter(|(name, _)| seen.control_planes.contains(name))
    {
        let object = format!("DevMachine {name}");
        match findings.known(check, &object, what, facts) {
            Some(GuestFacts {
                control_plane: Some(control_plane),
                ..
            }) => found.push((name.as_str(), control_plane)),
            Some(_) => findings.unknown(
                check,
                object,
                what,
                "there is no manifest of kube-apiserver in its guest",
            ),
            None => {}
        }
    }
    found
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    pub const GI: u64 = 1 << 30;

    /// A worker with which all is well.
    pub fn worker() -> GuestFacts {
        GuestFacts {
            available_memory: GI,
            filesystems: vec![Filesystem {
                mount: "/".into(),
                size: 20 * GI,
                available: 14 * GI,
                uses: [Use::Images, Use::Kept, Use::Backups].into(),
            }],
            control_plane: None,
        }
    }

    /// A control plane with which all is well.
    pub fn control_plane() -> GuestFacts {
        GuestFacts {
            control_plane: Some(ControlPlaneFacts {
                certificates: vec![
                    certificate("/etc/kubernetes/pki/apiserver.crt", false, 300),
                    certificate("/etc/kubernetes/pki/ca.crt", true, 3000),
                ],
                etcd: EtcdFacts {
                    health: Observed::Known(Ok(())),
                    data: 200 << 20,
                    database: Observed::Known(20 << 20),
                    quota: Observed::Known(2 * GI),
                },
            }),
            ..worker()
        }
    }

    /// A certificate that is valid for so many more hours.
    pub fn certificate_of_hours(file: &str, is_authority: bool, hours: i64) -> Certificate {
        Certificate {
            file: file.into(),
            is_authority,
            not_after: NOW + jiff::SignedDuration::from_hours(hours),
        }
    }

    fn certificate(file: &str, is_authority: bool, days: i64) -> Certificate {
        certificate_of_hours(file, is_authority, days * 24)
    }

    /// The cluster with which all is well, but for what is changed of its control plane.
    pub fn with_control_plane(change: impl FnOnce(&mut ControlPlaneFacts)) -> Seen {
        with_guest(0, |facts| change(facts.control_plane.as_mut().unwrap()))
    }

    /// The cluster with which all is well, but for what is changed of one of its machines.
    pub fn with_guest(index: usize, change: impl FnOnce(&mut GuestFacts)) -> Seen {
        let mut seen = super::super::seen::tests::well();
        let Observed::Known(facts) = &mut seen.guests[index].1 else {
            panic!("all is seen");
        };
        change(facts);
        seen
    }
}
