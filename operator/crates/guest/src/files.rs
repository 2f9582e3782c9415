//! Reading and writing files of the guest without starting a process in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seedbed_hypervisor::Fault;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exec::LONGEST_INPUT;
use crate::{Guest, GuestError};

#[derive(Serialize)]
struct Open<'a> {
    path: &'a str,
    mode: &'a str,
}

#[derive(Serialize)]
struct Handle {
    handle: i64,
}

#[derive(Serialize)]
struct Seek {
    handle: i64,
    offset: i64,
    whence: &'static str,
}

#[derive(Serialize)]
struct Read {
    handle: i64,
    count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Chunk {
    buf_b64: String,
    eof: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Write {
    handle: i64,
    buf_b64: String,
}

#[derive(Deserialize)]
struct Written {
    count: usize,
}

/// Which part of a file is wanted.
#[derive(Clone, Copy)]
enum Part {
    Beginning,
    End,
}

impl Guest {
    /// The first `limit` bytes of a file of the guest; `None` where the agent answered that there is no such file, or that it went
    /// away while it was read, as a control group's does.
    pub async fn read_file(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, GuestError> {
        self.read_part(path, limit, Part::Beginning).await
    }

    /// The last `limit` bytes of a file of the guest; `None` where the agent answered that there is no such file.
    pub async fn read_file_end(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, GuestError> {
        self.read_part(path, limit, Part::End).await
    }

    /// Makes the file hold these bytes. Its folder has to be closed to others: the agent makes files that everybody may read.
    pub(crate) async fn write_file(&self, path: &str, content: &[u8]) -> Result<(), GuestError> {
        let handle: i64 = self.command("guest-file-open", Open { path, mode: "w" }).await?;
        let written = self.write_handle(handle, content).await;
        let closed = self.command::<Value>("guest-file-close", Handle { handle }).await;
        written?;
        closed.map(drop)
    }

    async fn write_handle(&self, handle: i64, content: &[u8]) -> Result<(), GuestError> {
        for chunk in content.chunks(LONGEST_INPUT) {
            let buf_b64 = STANDARD.encode(chunk);
            let written: Written = self
                .command("guest-file-write", Write { handle, buf_b64 })
                .await?;
            if written.count != chunk.len() {
                return Err(GuestError::Malformed {
                    domain: self.domain.clone(),
                    command: "guest-file-write".to_owned(),
                    reason: format!("it wrote {} bytes of {}", written.count, chunk.len()),
                });
            }
        }
        Ok(())
    }

    async fn read_part(&self, path: &str, limit: usize, part: Part) -> Result<Option<Vec<u8>>, GuestError> {
        let handle: i64 = match self.command("guest-file-open", Open { path, mode: "r" }).await {
            Ok(handle) => handle,
            Err(GuestError::Host(Fault::Refused { message, .. })) if no_such_file(&message) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let content = self.read_handle(handle, limit, part).await;
        // A handle that is not closed stays in the agent until it ends: closed after a failed read too.
        let closed = self.command::<Value>("guest-file-close", Handle { handle }).await;
        let content = match content {
            Ok(content) => Some(content),
            Err(GuestError::Host(Fault::Refused { message, .. })) if no_such_device(&message) => None,
            Err(error) => return Err(error),
        };
        closed?;
        Ok(content)
    }

    async fn read_handle(&self, handle: i64, limit: usize, part: Part) -> Result<Vec<u8>, GuestError> {
        if matches!(part, Part::End) {
            let offset = -i64::try_from(limit).unwrap_or(i64::MAX);
            match self
                .command::<Value>(
                    "guest-file-seek",
                    Seek {
                        handle,
                        offset,
                        whence: "end",
                    },
                )
                .await
            {
                // A file that is shorter than that refuses the seek and stays at its beginning.
                Ok(_) | Err(GuestError::Host(Fault::Refused { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        let mut content = Vec::new();
        while content.len() < limit {
            let count = limit - content.len();
            let chunk: Chunk = self.command("guest-file-read", Read { handle, count }).await?;
            let bytes = STANDARD
                .decode(&chunk.buf_b64)
                .map_err(|error| GuestError::Malformed {
                    domain: self.domain.clone(),
                    command: "guest-file-read".to_owned(),
                    reason: error.to_string(),
                })?;
            let ended = chunk.eof || bytes.is_empty();
            content.extend_from_slice(&bytes);
            if ended {
                break;
            }
        }
        Ok(content)
    }
}

/// What a file of a control group says that was removed after the file was opened.
fn no_such_device(message: &str) -> bool {
    message.ends_with("No such device")
}

/// The agent has no error class for this; it appends the C library's words.
fn no_such_file(message: &str) -> bool {
    message.contains("No such file or directory")
}
