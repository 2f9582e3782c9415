//! Bytes that the operator made itself, as something to upload.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use seedbed_hypervisor::ByteSource;

/// Bytes in memory. The `Debug` form shows their number alone.
pub struct Bytes {
    what: String,
    bytes: Vec<u8>,
}

impl Bytes {
    /// A source of those bytes, known to people as `what`.
    pub fn source(what: String, bytes: Vec<u8>) -> Arc<dyn ByteSource> {
        Arc::new(Self { what, bytes })
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.what, self.bytes.len())
    }
}

impl ByteSource for Bytes {
    fn open(&self) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let length = u64::try_from(self.bytes.len()).map_err(io::Error::other)?;
        Ok((Box::new(Cursor::new(self.bytes.clone())), length))
    }

    fn describe(&self) -> String {
        self.what.clone()
    }
}
