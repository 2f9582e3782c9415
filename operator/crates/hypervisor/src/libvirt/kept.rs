//! Disks that are kept as they were: what a guest writes from then on goes into a layer above, by libvirt's external snapshots of disks
//! alone (<https://libvirt.org/formatsnapshot.html>).

use uuid::Uuid;
use virt::domain::Domain;
use virt::domain_snapshot::DomainSnapshot;
use virt::sys;

use super::session::Session;
use super::xml::{DiskXml, kept_definition, parse_domain, render_kept};
use crate::{Fault, Owner, PowerState};

/// What the snapshot is called.
const NAME: &str = "seedbed";
/// What the layer's file is called beyond the domain's name and UUID.
const LAYER_SUFFIX: &str = ".layer.qcow2";

impl Session {
    pub(super) fn keep_disk(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let domain = self
            .owned_domain(name, owner)?
            .ok_or_else(|| self.not_found(format!("domain {name}")))?;
        if !self.keeps_disks {
            return Err(Fault::Unsupported {
                operation: self.operation.clone(),
            });
        }
        if self.snapshot(&domain)?.is_some() {
            return Ok(());
        }
        let xml = domain.xml_desc(0).map_err(|error| self.fault(&error))?;
        let parsed = parse_domain(&xml).map_err(|error| self.xml_fault(&error))?;
        let layer = self.beside(parsed.disks.first(), &layer_of(name, parsed.uuid))?;
        let xml = render_kept(NAME, &layer, &parsed.disks).map_err(|error| self.xml_fault(&error))?;
        let flags = sys::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | sys::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
        match domain.create_snapshot_xml(&xml, flags) {
            Ok(_) => Ok(()),
            // Somebody may have been faster.
            Err(_) if self.snapshot(&domain)?.is_some() => Ok(()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    pub(super) fn merge_disk(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let Some(domain) = self.owned_domain(name, owner)? else {
            return Ok(());
        };
        let Some(snapshot) = self.snapshot(&domain)? else {
            return Ok(());
        };
        match snapshot.delete(0) {
            Ok(()) => Ok(()),
            Err(_) if self.snapshot(&domain)?.is_none() => Ok(()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    pub(super) fn revert_disk(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let Some(domain) = self.owned_domain(name, owner)? else {
            return Ok(());
        };
        let Some(snapshot) = self.snapshot(&domain)? else {
            return Ok(());
        };
        if self.power(&domain)? != PowerState::Off {
            return Err(self.refused(format!("domain {name} is not off; destroy it first")));
        }
        let xml = snapshot.xml_desc(0).map_err(|error| self.fault(&error))?;
        let before = kept_definition(&xml).ok_or_else(|| {
            self.refused(format!(
                "the snapshot {NAME} of domain {name} holds no definition"
            ))
        })?;
        self.connect
            .define_domain_xml(&before)
            .map_err(|error| self.fault(&error))?;
        self.remove_layer(name, domain.uuid().map_err(|error| self.fault(&error))?)?;
        self.forget(&snapshot)
    }

    /// Whether the first of these disks is kept; none where the host cannot do that.
    pub(super) fn kept(&self, disks: &[DiskXml]) -> Option<bool> {
        let file = disks.first().and_then(|disk| disk.file.as_deref());
        let is_layer = file.is_some_and(|file| file.ends_with(LAYER_SUFFIX));
        self.keeps_disks.then_some(is_layer)
    }

    /// Host path of a file of that name beside the disk's volume.
    fn beside(&self, disk: Option<&DiskXml>, name: &str) -> Result<String, Fault> {
        let volume = disk
            .and_then(|disk| disk.volume.as_deref())
            .ok_or_else(|| self.refused("its first disk is no volume of a storage pool"))?;
        let path = self
            .find_volume(&self.storage_pool()?, volume)?
            .ok_or_else(|| self.not_found(format!("volume {volume}")))?
            .path()
            .map_err(|error| self.fault(&error))?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Ok(format!("{folder}/{name}"))
    }

    /// The layer above the domain's disk goes, with what is in it.
    pub(super) fn remove_layer(&self, name: &str, uuid: Uuid) -> Result<(), Fault> {
        let pool = self.storage_pool()?;
        // The pool does not hear of what snapshots put there.
        pool.refresh(0).map_err(|error| self.fault(&error))?;
        self.remove_volume(&pool, &layer_of(name, uuid))
    }

    pub(super) fn snapshot(&self, domain: &Domain) -> Result<Option<DomainSnapshot>, Fault> {
        self.present(Domain::lookup_snapshot_by_name(domain, NAME, 0))
    }

    fn forget(&self, snapshot: &DomainSnapshot) -> Result<(), Fault> {
        let forgotten = snapshot.delete(sys::VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY);
        self.present(forgotten).map(drop)
    }
}

fn layer_of(domain: &str, uuid: Uuid) -> String {
    format!("{domain}.{uuid}{LAYER_SUFFIX}")
}
