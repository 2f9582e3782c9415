//! Disks that a domain has for as long as it is on.

use std::thread::sleep;
use std::time::{Duration, Instant};

use virt::domain::Domain;
use virt::sys;

use super::errors::{Meaning, meaning};
use super::session::Session;
use super::xml::{DiskXml, DomainXml, free_letter, parse_domain, render_attached};
use crate::{AttachedDisk, Fault, Owner, PowerState, VolumeFormat};

/// How often is looked whether a guest has let go of a disk.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Session {
    pub(super) fn attach_disk(&self, name: &str, owner: &Owner, disk: &AttachedDisk) -> Result<(), Fault> {
        if let Some(problem) = disk.serial_problem() {
            return Err(self.refused(problem));
        }
        let domain = self
            .owned_domain(name, owner)?
            .ok_or_else(|| self.not_found(format!("domain {name}")))?;
        if !matches!(self.power(&domain)?, PowerState::Running | PowerState::Paused) {
            return Err(self.refused(format!(
                "domain {name} is off, and a disk is attached only to one that is on; start it first"
            )));
        }
        let found = self.now(&domain)?;
        if self.has(name, &found, disk)? {
            return Ok(());
        }
        self.complete_volume_path(&disk.volume)?;
        let letter = free_letter(&found.disks).ok_or_else(|| {
            self.refused(format!(
                "domain {name} has {} disks, expected fewer than 26; detach one first",
                found.disks.len()
            ))
        })?;
        let xml = render_attached(disk, letter, &self.pool).map_err(|error| self.xml_fault(&error))?;
        let Err(error) = domain.attach_device_flags(&xml, sys::VIR_DOMAIN_AFFECT_LIVE) else {
            return Ok(());
        };
        let fault = self.fault(&error);
        // Somebody may have been faster.
        let now = self.now(&domain)?;
        match &fault {
            Fault::Refused { .. } if self.has(name, &now, disk)? => Ok(()),
            // Whoever defines a machine gets one port more than it has devices from libvirt.
            Fault::Refused { message, .. } if now.free_ports == 0 => Err(self.refused(format!(
                "{message}; domain {name} has no free PCIe port for one more device: detach what else was attached to it, or make the machine anew"
            ))),
            _ => Err(fault),
        }
    }

    pub(super) fn detach_disk(
        &self,
        name: &str,
        owner: &Owner,
        serial: &str,
        within: Duration,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + within;
        let Some(domain) = self.owned_domain(name, owner)? else {
            return Ok(());
        };
        let Some((letter, volume)) = self.attached(&domain, serial)? else {
            return Ok(());
        };
        // The host knows which one is meant by its letter.
        let disk = AttachedDisk {
            volume,
            format: VolumeFormat::Qcow2,
            serial: serial.to_owned(),
        };
        let xml = render_attached(&disk, letter, &self.pool).map_err(|error| self.xml_fault(&error))?;
        let asked = domain.detach_device_flags(&xml, sys::VIR_DOMAIN_AFFECT_LIVE);
        // A refusal may be about an earlier request that the guest has not answered yet.
        if let Err(error) = &asked
            && !matches!(
                meaning(error),
                Meaning::Refused | Meaning::WrongState | Meaning::Absent
            )
        {
            return Err(self.fault(error));
        }
        while self.attached(&domain, serial)?.is_some() {
            if Instant::now() >= deadline {
                return Err(asked.map_or_else(|error| self.fault(&error), |()| self.not_let_go(within)));
            }
            sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn not_let_go(&self, limit: Duration) -> Fault {
        Fault::TimedOut {
            operation: format!(
                "{}, of which its guest has not let go (does it run? try again)",
                self.operation
            ),
            limit,
        }
    }

    /// Letter and volume of the disk of that serial, where the domain is on and has it.
    fn attached(&self, domain: &Domain, serial: &str) -> Result<Option<(char, String)>, Fault> {
        let found = match self.now(domain) {
            Err(Fault::NotFound { .. }) => return Ok(None),
            found => found?,
        };
        if self.power(domain)? == PowerState::Off {
            return Ok(None);
        }
        let Some(disk) = of_serial(&found.disks, serial) else {
            return Ok(None);
        };
        match (disk.target.chars().last(), &disk.volume) {
            (Some(letter), Some(volume)) => Ok(Some((letter, volume.clone()))),
            _ => Err(self.refused(format!(
                "disk {} of serial {serial} is no volume of a storage pool, as those that are attached here; detach it by hand",
                disk.target
            ))),
        }
    }

    /// Whether the domain has the disk already; a conflict where it has another one of its serial.
    fn has(&self, name: &str, domain: &DomainXml, disk: &AttachedDisk) -> Result<bool, Fault> {
        let Some(found) = of_serial(&domain.disks, &disk.serial) else {
            return Ok(false);
        };
        if found.volume.as_ref() == Some(&disk.volume) {
            return Ok(true);
        }
        let volume = found.volume.as_deref().unwrap_or("of no storage pool");
        Err(self.conflict(
            format!("a disk {} of domain {name}", disk.serial),
            format!("volume {volume}"),
            format!("volume {}", disk.volume),
        ))
    }

    fn now(&self, domain: &Domain) -> Result<DomainXml, Fault> {
        let xml = domain.xml_desc(0).map_err(|error| self.fault(&error))?;
        parse_domain(&xml).map_err(|error| self.xml_fault(&error))
    }
}

fn of_serial<'a>(disks: &'a [DiskXml], serial: &str) -> Option<&'a DiskXml> {
    disks.iter().find(|disk| disk.serial.as_deref() == Some(serial))
}
