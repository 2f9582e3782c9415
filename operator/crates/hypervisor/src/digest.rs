//! What an upload is checked by.

/// What a qcow2 image begins with.
pub(crate) const QCOW2_MAGIC: &[u8] = b"QFI\xfb";

/// Bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
            }
            text
        })
}
