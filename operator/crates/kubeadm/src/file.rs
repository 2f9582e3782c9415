//! Files that are to be placed in a guest.

use std::fmt;

/// A file for a guest's file system. It belongs to root.
///
/// Its `Debug` form shows the length of the content, never the content: most of these files hold keys or tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path in the guest.
    pub path: String,
    /// Permission bits, for example `0o600`.
    pub mode: u32,
    /// What the file holds.
    pub content: Vec<u8>,
}

impl GuestFile {
    /// A file that only root may read.
    pub fn secret(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self::new(path, 0o600, content)
    }

    /// A file that everybody may read.
    pub fn public(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self::new(path, 0o644, content)
    }

    /// A file with the given permission bits.
    pub fn new(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode,
            content: content.into(),
        }
    }
}

impl fmt::Debug for GuestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestFile")
            .field("path", &self.path)
            .field("mode", &format_args!("{:#o}", self.mode))
            .field("content", &format_args!("<{} bytes>", self.content.len()))
            .finish()
    }
}
