//! The archive that carries a job into its guest.

use std::collections::BTreeSet;
use std::io;

use tar::{Builder, EntryType, Header};

use crate::GuestError;
use crate::job::{GuestFile, Job};

/// Runs the job's script and records when it began and how it ended. The secrets that came with the job are in a tmpfs and are
/// removed at its end.
const RUNNER: &str = include_str!("run.sh");

/// One tar archive of everything a job needs, each entry at its place below `/`.
pub(crate) fn archive(job: &Job) -> Result<Vec<u8>, GuestError> {
    let work = format!("run/seedbed/{}", job.token);
    let mut directories = BTreeSet::new();
    let mut entries = Vec::with_capacity(job.files.len());
    for file in &job.files {
        let path = entry_path(file)?;
        for (index, _) in path.match_indices('/') {
            directories.insert(&path[..index]);
        }
        entries.push((path, file));
    }
    let mut builder = Builder::new(Vec::new());
    let written = (|| -> io::Result<Vec<u8>> {
        for directory in directories {
            append(&mut builder, directory, 0o755, EntryType::Directory, &[])?;
        }
        append(&mut builder, "run/seedbed", 0o700, EntryType::Directory, &[])?;
        append(&mut builder, &work, 0o700, EntryType::Directory, &[])?;
        append(
            &mut builder,
            &format!("{work}/run.sh"),
            0o600,
            EntryType::Regular,
            RUNNER.as_bytes(),
        )?;
        append(
            &mut builder,
            &format!("{work}/job.sh"),
            0o600,
            EntryType::Regular,
            job.script.as_bytes(),
        )?;
        for (path, file) in entries {
            append(&mut builder, path, file.mode, EntryType::Regular, &file.content)?;
        }
        builder.into_inner()
    })();
    written.map_err(|error| GuestError::Invalid {
        what: format!("files of job {}", job.token),
        found: error.to_string(),
        expected: "files that a tar archive can hold".to_owned(),
    })
}

/// The file's path as the archive holds it: without the leading `/`.
fn entry_path(file: &GuestFile) -> Result<&str, GuestError> {
    let invalid = |expected: &str| GuestError::Invalid {
        what: "file for a guest".to_owned(),
        found: format!("{:?} with mode {:o}", file.path, file.mode),
        expected: expected.to_owned(),
    };
    let path = file
        .path
        .strip_prefix('/')
        .ok_or_else(|| invalid("an absolute path"))?;
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !path.split('/').all(plain) {
        return Err(invalid("a path without empty parts, \".\" and \"..\""));
    }
    if file.mode > 0o7777 {
        return Err(invalid("permissions of 0 to 07777"));
    }
    Ok(path)
}

fn append(
    builder: &mut Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    kind: EntryType,
    content: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content)
}
