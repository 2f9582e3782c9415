//! Uploads: the only way in which bytes get onto a host.

use std::io::Read;
use std::time::Instant;

use sha2::{Digest, Sha256};
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;

use super::session::Session;
use super::volumes::mark_of;
use crate::digest::{QCOW2_MAGIC, hex};
use crate::{ByteSource, Fault, VolumeFormat};

/// What one message of libvirt's protocol carries at most, in all its versions.
const CHUNK: usize = 256_000;

/// What to upload, and how it is checked.
pub(super) struct Upload<'a> {
    pub name: &'a str,
    pub format: VolumeFormat,
    pub source: &'a dyn ByteSource,
    /// SHA-256, lower-case hex.
    pub sha256: Option<&'a str>,
    /// When to give up.
    pub deadline: Instant,
}

impl Session {
    /// Uploads unless it was done before. A volume without a mark is what an upload left that did not end: it is made anew.
    pub(super) fn upload_volume(&self, upload: &Upload<'_>) -> Result<(), Fault> {
        self.check_volume_name(upload.name)?;
        let pool = self.storage_pool()?;
        let mark = mark_of(upload.name);
        let volume = self.find_volume(&pool, upload.name)?;
        if volume.is_some() && self.find_volume(&pool, &mark)?.is_some() {
            return Ok(());
        }
        self.remove_volume(&pool, &mark)?;
        self.remove_volume(&pool, upload.name)?;
        let (reader, length) = upload.source.open().map_err(|error| {
            self.source_fault(upload, &format!("cannot be opened: {error}; is it still there?"))
        })?;
        if length == 0 {
            return Err(self.source_fault(upload, "is empty; make it again"));
        }
        // Raw, whatever the format: the volume then holds exactly these bytes, and no header of its own.
        let volume = self.create_raw_volume(&pool, upload.name, length)?;
        if let Err(fault) = self.fill(upload, &volume, reader, length) {
            if let Err(left) = self.remove_volume(&pool, upload.name) {
                tracing::warn!(volume = upload.name, %left, "an unfinished upload was left; the next one replaces it");
            }
            return Err(fault);
        }
        self.refresh(&pool);
        self.create_raw_volume(&pool, &mark, 0).map(drop)
    }

    fn fill(
        &self,
        upload: &Upload<'_>,
        volume: &StorageVol,
        reader: Box<dyn Read + Send>,
        length: u64,
    ) -> Result<(), Fault> {
        let fault = |error| self.fault(&error);
        let stream = Stream::new(&self.connect, 0).map_err(fault)?;
        volume.upload(&stream, 0, length, 0).map_err(fault)?;
        match self.send(upload, &stream, reader, length) {
            Ok(()) => stream.finish().map_err(fault),
            Err(failed) => {
                if let Err(error) = stream.abort() {
                    tracing::debug!(volume = upload.name, %error, "the upload's stream could not be aborted");
                }
                Err(failed)
            }
        }
    }

    /// Sends all bytes and checks that they are the promised ones.
    fn send(
        &self,
        upload: &Upload<'_>,
        stream: &Stream,
        mut reader: Box<dyn Read + Send>,
        length: u64,
    ) -> Result<(), Fault> {
        let mut digest = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut sent: u64 = 0;
        loop {
            if Instant::now() >= upload.deadline {
                return Err(self.refused(format!(
                    "{sent} of {length} bytes were uploaded when the time was over; give it more time"
                )));
            }
            let count = fill_buffer(&mut *reader, &mut buffer).map_err(|error| {
                self.source_fault(upload, &format!("cannot be read after {sent} bytes: {error}"))
            })?;
            let chunk = &buffer[..count];
            if sent == 0 && upload.format == VolumeFormat::Qcow2 && !chunk.starts_with(QCOW2_MAGIC) {
                return Err(self.source_fault(upload, "is not a qcow2 image; make it again"));
            }
            sent += count as u64;
            if sent > length || (count == 0 && sent < length) {
                return Err(self.source_fault(
                    upload,
                    &format!("changed while it was read: {sent} bytes were found, {length} expected"),
                ));
            }
            if count == 0 {
                break;
            }
            digest.update(chunk);
            self.send_all(stream, chunk)?;
        }
        let found = hex(&digest.finalize());
        match upload.sha256 {
            Some(expected) if expected != found => Err(self.source_fault(
                upload,
                &format!("has SHA-256 {found}, expected {expected}; make it again"),
            )),
            _ => Ok(()),
        }
    }

    fn send_all(&self, stream: &Stream, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let sent = stream.send(bytes).map_err(|error| self.fault(&error))?;
            bytes = usize::try_from(sent)
                .ok()
                .filter(|&sent| sent > 0)
                .and_then(|sent| bytes.get(sent..))
                .ok_or_else(|| {
                    self.refused(format!(
                        "the upload's stream took {sent} bytes of {}",
                        bytes.len()
                    ))
                })?;
        }
        Ok(())
    }

    /// Lets the host look at the pool again, so that it knows the uploaded volume's format and virtual size. It refuses while
    /// other volumes are being made; then a later look will do.
    fn refresh(&self, pool: &StoragePool) {
        if let Err(error) = pool.refresh(0) {
            tracing::debug!(pool = self.pool, %error, "the pool could not be refreshed now");
        }
    }

    fn source_fault(&self, upload: &Upload<'_>, message: &str) -> Fault {
        Fault::Source {
            operation: self.operation.clone(),
            message: format!("{} {message}", upload.source.describe()),
        }
    }
}

/// Fills the buffer as far as the source goes.
fn fill_buffer(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
