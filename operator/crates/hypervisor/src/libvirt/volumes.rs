//! Volumes, and the marks that say which of them are complete.
//!
//! A mark is an empty volume next to the one it speaks of. It is made last and deleted first, so that a volume with a mark was
//! uploaded to its end and verified, whenever somebody was killed.

use std::collections::HashSet;

use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;

use super::session::Session;
use super::xml::render_volume;
use crate::{Fault, VolumeFacts, VolumeFormat, VolumeSpec};

const MARK_SUFFIX: &str = ".complete";

/// Name of the mark of that volume.
pub(super) fn mark_of(name: &str) -> String {
    format!("{name}{MARK_SUFFIX}")
}

impl Session {
    pub(super) fn volumes(&self) -> Result<Vec<VolumeFacts>, Fault> {
        let pool = self.storage_pool()?;
        let volumes = pool.list_all_volumes(0).map_err(|error| self.fault(&error))?;
        let named = volumes
            .into_iter()
            .map(|volume| Ok((volume.name().map_err(|error| self.fault(&error))?, volume)))
            .collect::<Result<Vec<_>, Fault>>()?;
        let present: HashSet<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        let mut facts = Vec::with_capacity(named.len());
        for (name, volume) in &named {
            // A mark without its volume is listed: it is something that was left behind.
            if name
                .strip_suffix(MARK_SUFFIX)
                .is_some_and(|marked| present.contains(marked))
            {
                continue;
            }
            match self.volume_facts(name, volume, present.contains(mark_of(name).as_str())) {
                // Gone since the list was made.
                Err(Fault::NotFound { .. }) => {}
                known => facts.push(known?),
            }
        }
        Ok(facts)
    }

    pub(super) fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        let pool = self.storage_pool()?;
        let Some(volume) = self.find_volume(&pool, name)? else {
            return Ok(None);
        };
        let complete = self.find_volume(&pool, &mark_of(name))?.is_some();
        match self.volume_facts(name, &volume, complete) {
            // Gone since it was found.
            Err(Fault::NotFound { .. }) => Ok(None),
            known => known.map(Some),
        }
    }

    pub(super) fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        self.check_volume_name(&spec.name)?;
        let pool = self.storage_pool()?;
        if let Some(volume) = self.find_volume(&pool, &spec.name)? {
            let capacity = volume.info().map_err(|error| self.fault(&error))?.capacity;
            if capacity == spec.capacity_bytes {
                return Ok(());
            }
            return Err(self.conflict(
                format!("volume {}", spec.name),
                format!("a size of {capacity} bytes"),
                format!("{} bytes", spec.capacity_bytes),
            ));
        }
        let backing = spec
            .backing
            .as_deref()
            .map(|base| self.complete_volume_path(base))
            .transpose()?;
        let xml = render_volume(&spec.name, spec.capacity_bytes, spec.format, backing.as_deref());
        let xml = xml.map_err(|error| self.xml_fault(&error))?;
        StorageVol::create_xml(&pool, &xml, 0)
            .map(drop)
            .map_err(|error| self.fault(&error))
    }

    pub(super) fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        let pool = self.storage_pool()?;
        self.remove_volume(&pool, &mark_of(name))?;
        self.remove_volume(&pool, name)
    }

    /// Host path of a volume that has to be complete.
    pub(super) fn complete_volume_path(&self, name: &str) -> Result<String, Fault> {
        let pool = self.storage_pool()?;
        let volume = self
            .find_volume(&pool, name)?
            .ok_or_else(|| self.not_found(format!("volume {name}")))?;
        if self.find_volume(&pool, &mark_of(name))?.is_none() {
            return Err(self.refused(format!(
                "volume {name} is not complete: its upload has not been finished"
            )));
        }
        volume.path().map_err(|error| self.fault(&error))
    }

    pub(super) fn find_volume(&self, pool: &StoragePool, name: &str) -> Result<Option<StorageVol>, Fault> {
        self.present(pool.lookup_storage_vol_by_name(name))
    }

    pub(super) fn remove_volume(&self, pool: &StoragePool, name: &str) -> Result<(), Fault> {
        let Some(volume) = self.find_volume(pool, name)? else {
            return Ok(());
        };
        match volume.delete(0) {
            Ok(()) => Ok(()),
            Err(error) => match self.find_volume(pool, name) {
                // Somebody was faster.
                Ok(None) => Ok(()),
                _ => Err(self.fault(&error)),
            },
        }
    }

    /// An empty raw volume.
    pub(super) fn create_raw_volume(
        &self,
        pool: &StoragePool,
        name: &str,
        size: u64,
    ) -> Result<StorageVol, Fault> {
        let xml =
            render_volume(name, size, VolumeFormat::Raw, None).map_err(|error| self.xml_fault(&error))?;
        StorageVol::create_xml(pool, &xml, 0).map_err(|error| self.fault(&error))
    }

    pub(super) fn check_volume_name(&self, name: &str) -> Result<(), Fault> {
        if name.ends_with(MARK_SUFFIX) {
            return Err(self.refused(format!(
                "names that end in {MARK_SUFFIX} are those of marks; found {name}"
            )));
        }
        Ok(())
    }

    fn volume_facts(&self, name: &str, volume: &StorageVol, complete: bool) -> Result<VolumeFacts, Fault> {
        let info = volume.info().map_err(|error| self.fault(&error))?;
        Ok(VolumeFacts {
            name: name.to_owned(),
            capacity_bytes: info.capacity,
            allocation_bytes: info.allocation,
            complete,
        })
    }
}
