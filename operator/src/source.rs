//! The files of a release, as bytes to upload: `file://` on the operator's machine, `http://` and `https://`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use seedbed_hypervisor::ByteSource;
use ureq::Agent;

/// How long the connection to a server, and then its first answer, may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long a server may send nothing in the middle of a file.
const SILENCE_LIMIT: Duration = Duration::from_mins(1);

/// A url that the operator cannot read files from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "url {url}: {found}, expected file:///path, http://… or https://…; change the url in the KubernetesRelease"
)]
pub struct UnusableUrl {
    url: String,
    found: String,
}

/// The source that the url names. Nothing is opened yet.
pub fn of(url: &str) -> Result<Arc<dyn ByteSource>, UnusableUrl> {
    let unusable = |found: &str| UnusableUrl {
        url: shown(url),
        found: found.to_owned(),
    };
    match url.split_once("://") {
        Some(("file", rest)) if rest.starts_with('/') => {
            let path =
                decode(rest).ok_or_else(|| unusable("found a % that no two hexadecimal digits follow"))?;
            Ok(Arc::new(LocalFile {
                url: url.to_owned(),
                path,
            }))
        }
        Some(("file", _)) => Err(unusable("found a file on another machine")),
        Some(("http" | "https", _)) => Ok(Arc::new(Download::new(url))),
        Some((scheme, _)) => Err(unusable(&format!("found the scheme {scheme}"))),
        None => Err(unusable("found no scheme")),
    }
}

/// The url for logs and messages: without a name and password that may stand in it.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => url.to_owned(),
    }
}

/// A file of the operator's own machine.
#[derive(Debug)]
struct LocalFile {
    url: String,
    path: PathBuf,
}

impl ByteSource for LocalFile {
    fn open(&self) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let told = |error: io::Error| {
            let message = format!(
                "{}: {error}; the file has to be there and readable on the machine (or in the container) that the operator runs in",
                self.url
            );
            io::Error::new(error.kind(), message)
        };
        let file = File::open(&self.path).map_err(told)?;
        let metadata = file.metadata().map_err(told)?;
        if !metadata.is_file() {
            return Err(told(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            )));
        }
        Ok((Box::new(file), metadata.len()))
    }

    fn describe(&self) -> String {
        self.url.clone()
    }
}

/// A file behind HTTP.
#[derive(Debug)]
struct Download {
    url: String,
    agent: Agent,
}

impl Download {
    fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(ANSWER_LIMIT))
            .timeout_recv_response(Some(ANSWER_LIMIT))
            .timeout_per_read(Some(SILENCE_LIMIT))
            .http_status_as_error(false)
            .user_agent(concat!("seedbed-operator/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            url: url.to_owned(),
            agent: config.new_agent(),
        }
    }
}

impl ByteSource for Download {
    fn open(&self) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let response = self.agent.get(&self.url).call().map_err(|error| {
            io::Error::other(format!(
                "{}: {error}; see that the operator's machine reaches the server",
                shown(&self.url)
            ))
        })?;
        let status = response.status();
        if status.as_u16() != 200 {
            return Err(io::Error::other(format!(
                "{}: the server answered {status}, expected 200 OK; see that the file is there, or change the url",
                shown(&self.url)
            )));
        }
        let body = response.into_body();
        let length = body.content_length().ok_or_else(|| {
            io::Error::other(format!(
                "{}: the server does not say how long the file is (no Content-Length), and the host has to know; serve it as a plain file",
                shown(&self.url)
            ))
        })?;
        Ok((Box::new(body.into_reader()), length))
    }

    fn describe(&self) -> String {
        shown(&self.url)
    }
}

/// The path with its percent-encoded bytes decoded; none where a `%` is not followed by two hexadecimal digits.
fn decode(path: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;

    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(decoded)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// The url of a server that gives that answer to whoever asks first.
    fn served(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("http://{address}/guest.qcow2")
    }

    fn error_of(url: &str) -> String {
        of(url).unwrap().open().err().unwrap().to_string()
    }

    #[test]
    fn a_local_file_is_read_whatever_its_name() {
        let folder = std::env::temp_dir().join(format!("seedbed source {}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a b"), b"bytes").unwrap();
        let url = format!(
            "file://{}/a%20b",
            folder.display().to_string().replace(' ', "%20")
        );
        let (mut reader, length) = of(&url).unwrap().open().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((text.as_str(), length), ("bytes", 5));
    }

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let message = error_of("file:///nowhere/guest.qcow2");
        assert!(
            message.contains("file:///nowhere/guest.qcow2") && message.contains("has to be there"),
            "{message}"
        );
    }

    #[test]
    fn a_download_tells_its_length() {
        let url = served("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbytes");
        let (mut reader, length) = of(&url).unwrap().open().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), length), ("bytes", 5));
    }

    #[test]
    fn a_missing_download_is_named_with_what_to_do() {
        let url = served("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let message = error_of(&url);
        assert!(
            message.contains(&url) && message.contains("404") && message.contains("change the url"),
            "{message}"
        );
    }

    #[test]
    fn a_download_of_unknown_length_is_refused() {
        let url = served("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbytes");
        assert!(error_of(&url).contains("Content-Length"));
    }

    #[test]
    fn a_password_in_a_url_is_not_told() {
        assert_eq!(shown("https://me:secret@host/a@b"), "https://…@host/a@b");
        assert_eq!(shown("https://host/a@b"), "https://host/a@b");
        assert!(
            !of("ftp://me:secret@host/file")
                .unwrap_err()
                .to_string()
                .contains("secret")
        );
    }

    #[test]
    fn urls_that_cannot_be_read_are_told_before_anything_is_opened() {
        for (url, found) in [
            ("ftp://host/file", "scheme ftp"),
            ("file://host/file", "another machine"),
            ("/file", "no scheme"),
            ("file:///a%2", "no two hexadecimal digits"),
        ] {
            let message = of(url).unwrap_err().to_string();
            assert!(message.contains(url) && message.contains(found), "{message}");
        }
    }
}
