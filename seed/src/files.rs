//! Files that are whole or not there, whenever the writer is killed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// Readable by everybody.
pub(crate) const PUBLIC: u32 = 0o644;
/// Readable by its owner alone.
pub(crate) const SECRET: u32 = 0o600;

/// Writes a file by way of a temporary one. Returns whether its content changed.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<bool> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new.{}", std::process::id()));
    let temporary = Path::new(&temporary);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    written.map_err(Error::file("write", temporary))?;
    fs::rename(temporary, path).map_err(Error::file("replace", path))?;
    Ok(true)
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<bool> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| not_json(path, &error))?;
    write(path, &text, PUBLIC)
}

/// Reads a JSON file; none where there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| not_json(path, &error))
}

pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::file("create the folder", path))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Whether an open file or folder is still the one that has this path.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

fn not_json(path: &Path, error: &serde_json::Error) -> Error {
    Error::unexpected(
        path.display().to_string(),
        error.to_string(),
        "the JSON that an earlier run wrote; remove the file if it was damaged",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::folder;

    #[test]
    fn writing_the_same_again_changes_nothing() {
        let folder = folder("files");
        let path = folder.join("a");
        assert!(write(&path, b"one", SECRET).unwrap());
        assert!(!write(&path, b"one", SECRET).unwrap());
        assert!(write(&path, b"two", SECRET).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::read_dir(&*folder).unwrap().count(),
            1,
            "temporary files stay behind"
        );
    }

    #[test]
    fn a_damaged_file_is_named_not_taken_for_a_missing_one() {
        let folder = folder("json");
        let path = folder.join("settings.json");
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
        fs::write(&path, "{").unwrap();
        let error = read_json::<u32>(&path).unwrap_err().to_string();
        assert!(error.contains("settings.json"), "{error}");
    }
}
