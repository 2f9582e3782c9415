//! Volumes.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use super::state::State;
use crate::{ByteSource, VolumeFacts, VolumeFormat, VolumeSpec, digest};

const CHUNK: usize = 1 << 16;

/// Where the virtual size stands in a qcow2 header, as a big-endian number.
/// See <https://www.qemu.org/docs/master/interop/qcow2.html>.
const QCOW2_SIZE: std::ops::Range<usize> = 24..32;

impl State {
    pub(super) fn create_volume(&mut self, spec: &VolumeSpec) -> Result<(), Refusal> {
        if let Some(found) = self.volumes.get(&spec.name) {
            if found.capacity_bytes == spec.capacity_bytes {
                return Ok(());
            }
            return Err(Refusal::conflict(
                format!("volume {}", spec.name),
                format!("a size of {} bytes", found.capacity_bytes),
                &format_args!("{} bytes", spec.capacity_bytes),
            ));
        }
        self.check_room()?;
        if let Some(base) = &spec.backing {
            self.complete_volume(base)?;
        }
        let volume = VolumeFacts {
            name: spec.name.clone(),
            capacity_bytes: spec.capacity_bytes,
            allocation_bytes: 0,
            complete: false,
        };
        self.volumes.insert(spec.name.clone(), volume);
        Ok(())
    }

    /// Puts an uploaded volume in the place of what an earlier upload may have left; of one that failed nothing stays.
    pub(super) fn put_volume(
        &mut self,
        name: &str,
        volume: Result<VolumeFacts, Refusal>,
    ) -> Result<(), Refusal> {
        self.volumes.remove(name);
        self.check_room()?;
        self.volumes.insert(name.to_owned(), volume?);
        Ok(())
    }

    fn check_room(&self) -> Result<(), Refusal> {
        if self.full {
            return Err(Refusal::Refused(
                "cannot write data to file: No space left on device".to_owned(),
            ));
        }
        Ok(())
    }

    /// Somebody else makes a volume, unless there is one of that name.
    pub(super) fn add_foreign_volume(&mut self, name: &str) {
        self.volumes
            .entry(name.to_owned())
            .or_insert_with(|| VolumeFacts {
                name: name.to_owned(),
                capacity_bytes: 1 << 20,
                allocation_bytes: 1 << 20,
                complete: false,
            });
    }

    pub(super) fn is_complete(&self, name: &str) -> bool {
        self.volumes.get(name).is_some_and(|v| v.complete)
    }

    /// Fails unless the volume is there and complete.
    pub(super) fn complete_volume(&self, name: &str) -> Result<(), Refusal> {
        match self.volumes.get(name) {
            None => Err(Refusal::NotFound(format!("volume {name}"))),
            Some(volume) if !volume.complete => Err(Refusal::Refused(format!(
                "volume {name} is not complete: its upload has not been finished"
            ))),
            Some(_) => Ok(()),
        }
    }
}

/// Reads all of the source and tells the volume that it makes. Its bytes are not kept.
pub(super) fn read(
    name: &str,
    format: VolumeFormat,
    source: &dyn ByteSource,
    sha256: Option<&str>,
) -> Result<VolumeFacts, Refusal> {
    let bad = |what: String| Refusal::Source(format!("{} {what}", source.describe()));
    let (mut reader, length) = source
        .open()
        .map_err(|error| bad(format!("cannot be opened: {error}; is it still there?")))?;
    if length == 0 {
        return Err(bad("is empty; make it again".to_owned()));
    }
    let mut hash = Sha256::new();
    let mut head = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let mut found: u64 = 0;
    loop {
        let count = reader
            .read(&mut buffer)
            .map_err(|error| bad(format!("cannot be read after {found} bytes: {error}")))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        let missing = QCOW2_SIZE.end.saturating_sub(head.len()).min(count);
        head.extend_from_slice(&buffer[..missing]);
        found += count as u64;
    }
    if found != length {
        return Err(bad(format!(
            "changed while it was read: {found} bytes were found, {length} expected"
        )));
    }
    let capacity = match format {
        VolumeFormat::Raw => length,
        VolumeFormat::Qcow2 => {
            qcow2_size(&head).ok_or_else(|| bad("is not a qcow2 image; make it again".to_owned()))?
        }
    };
    let digest = digest::hex(&hash.finalize());
    if let Some(expected) = sha256.filter(|expected| *expected != digest) {
        return Err(bad(format!(
            "has SHA-256 {digest}, expected {expected}; make it again"
        )));
    }
    Ok(VolumeFacts {
        name: name.to_owned(),
        capacity_bytes: capacity,
        allocation_bytes: length,
        complete: true,
    })
}

fn qcow2_size(head: &[u8]) -> Option<u64> {
    let size = head
        .starts_with(digest::QCOW2_MAGIC)
        .then(|| head.get(QCOW2_SIZE))??;
    Some(u64::from_be_bytes(size.try_into().ok()?))
}
