//! What the unit tests share.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A new, empty folder below the system's temporary one.
pub(crate) fn folder(name: &str) -> PathBuf {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("seedbed-seed-{name}-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}
