//! A proxy into an instance's network namespace: HTTP `CONNECT`, from the machine's loopback, to the instance's own
//! addresses and nowhere else.
//!
//! kubectl on the machine reaches the seed and every child cluster through it (`proxy-url` in the kubeconfig). It passes
//! bytes: TLS and its certificates are between kubectl and the API server.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

use crate::{
    error::{Error, Result},
    instance::{Instance, Settings, range_number},
    namespace::Namespaces,
    supervisor::say,
};

/// A request's head is one line and a few headers.
const LONGEST_HEAD: usize = 8 << 10;
const DIAL_LIMIT: Duration = Duration::from_secs(10);
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How many connections are served at once; further ones are refused.
const MOST_CONNECTIONS: usize = 256;

/// Where the proxy listens and whom it lets through.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) listen: SocketAddr,
    /// Loopback addresses that may be reached.
    pub(crate) loopback: Vec<SocketAddr>,
    /// First two numbers of the addresses of which every port may be reached.
    pub(crate) range: [u8; 2],
    /// The network namespace that connections are made in.
    pub(crate) namespace: Option<PathBuf>,
}

impl Rules {
    pub(crate) fn of(instance: &Instance, settings: &Settings) -> Result<Self> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let namespace = Namespaces::of(instance).net;
        if !namespace.exists() {
            return Err(Error::unexpected(
                namespace.display().to_string(),
                "nothing",
                "the instance's network namespace",
            ));
        }
        Ok(Self {
            listen: loopback(settings.proxy_port()),
            loopback: [settings.api_port(), settings.metrics_port()]
                .map(loopback)
                .to_vec(),
            range: [10, range_number(settings.slot)],
            namespace: Some(namespace),
        })
    }

    fn allow(&self, target: SocketAddr) -> bool {
        let in_range = match target.ip() {
            IpAddr::V4(address) => address.octets()[..2] == self.range,
            IpAddr::V6(_) => false,
        };
        in_range || self.loopback.contains(&target)
    }
}

/// Starts to serve, in threads of its own, for as long as the process lives. Returns the address that it listens on.
pub(crate) fn serve(rules: &Rules) -> Result<SocketAddr> {
    let failed = |source: io::Error| {
        Error::unexpected(
            format!("the proxy's address {}", rules.listen),
            source.to_string(),
            "a free port: end what listens there, or run `make down` and `make up` for other ports",
        )
    };
    let listener = TcpListener::bind(rules.listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let rules = Arc::new(rules.clone());
    let present = Arc::new(());
    thread::spawn(move || {
        for client in listener.incoming() {
            match client {
                Ok(client) if Arc::strong_count(&present) <= MOST_CONNECTIONS => {
                    let (rules, token) = (Arc::clone(&rules), Arc::clone(&present));
                    thread::spawn(move || {
                        // A connection that breaks is between the two that talk.
                        let _ = connect(&client, &rules);
                        drop(token);
                    });
                }
                Ok(client) => drop(refuse(&client, "503 Service Unavailable", "too many connections")),
                Err(error) => {
                    say(&format!("proxy: {error}"));
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    });
    Ok(address)
}

fn connect(client: &TcpStream, rules: &Rules) -> io::Result<()> {
    client.set_read_timeout(Some(HEAD_LIMIT))?;
    let (head, rest) = read_head(client)?;
    let Some(target) = target_of(&head) else {
        return refuse(
            client,
            "400 Bad Request",
            "only `CONNECT <address>:<port>` is served here",
        );
    };
    if !rules.allow(target) {
        return refuse(
            client,
            "403 Forbidden",
            &format!("{target} is not an address of this instance"),
        );
    }
    if let Some(path) = &rules.namespace {
        // For this thread alone: it does nothing else than to make this one connection.
        let entered = File::open(path).and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?));
        if let Err(error) = entered {
            return refuse(
                client,
                "502 Bad Gateway",
                &format!("enter {}: {error}", path.display()),
            );
        }
    }
    let server = match TcpStream::connect_timeout(&target, DIAL_LIMIT) {
        Ok(server) => server,
        Err(error) => {
            return refuse(
                client,
                "502 Bad Gateway",
                &format!("connect to {target}: {error}"),
            );
        }
    };
    client.set_read_timeout(None)?;
    // Single keystrokes and small frames are not to wait for company.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    (&*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    (&server).write_all(&rest)?;
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &server));
        pass(&server, client);
    });
    Ok(())
}

/// Passes bytes on until one side has no more, and tells the other.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    if io::copy(&mut from, &mut to).is_err() {
        // Broken, not ended: the other direction has no use either.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Reads up to the empty line, and gives what came after it too.
fn read_head(mut client: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = client.read(&mut buffer)?;
        if count == 0 || head.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&buffer[..count]);
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&head).into_owned(), rest));
        }
    }
}

fn target_of(head: &str) -> Option<SocketAddr> {
    let mut words = head.lines().next()?.split(' ');
    (words.next() == Some("CONNECT"))
        .then(|| words.next()?.parse().ok())
        .flatten()
}

fn refuse(mut client: &TcpStream, status: &str, why: &str) -> io::Result<()> {
    let length = why.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}"
    )?;
    client.shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_to(allowed: SocketAddr) -> SocketAddr {
        serve(&Rules {
            listen: "127.0.0.1:0".parse().unwrap(),
            loopback: vec![allowed],
            range: [10, 64],
            namespace: None,
        })
        .unwrap()
    }

    fn ask(proxy: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(proxy).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A server that sends back what it got, in capitals.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                stream.write_all(text.to_uppercase().as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn passes_bytes_to_an_allowed_address_also_those_sent_at_once() {
        let server = echo();
        let mut stream = TcpStream::connect(proxy_to(server)).unwrap();
        write!(
            stream,
            "CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\nhello "
        )
        .unwrap();
        stream.write_all(b"world").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nHELLO WORLD");
    }

    #[test]
    fn refuses_everything_else() {
        let server = echo();
        let proxy = proxy_to("127.0.0.1:1".parse().unwrap());
        let answer = ask(proxy, &format!("CONNECT {server} HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("not an address of this instance"), "{answer}");
        for request in [
            "GET http://127.0.0.1:1/ HTTP/1.1\r\n\r\n",
            "CONNECT localhost:1 HTTP/1.1\r\n\r\n",
        ] {
            assert!(ask(proxy, request).starts_with("HTTP/1.1 400 "));
        }
        let answer = ask(proxy, "CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 502 "),
            "allowed, but nobody listens: {answer}"
        );
    }

    #[test]
    fn the_range_is_the_instances_own() {
        let rules = Rules {
            listen: "127.0.0.1:0".parse().unwrap(),
            loopback: vec![],
            range: [10, 65],
            namespace: None,
        };
        assert!(rules.allow("10.65.1.2:6443".parse().unwrap()));
        assert!(!rules.allow("10.64.1.2:6443".parse().unwrap()));
        assert!(!rules.allow("[::1]:6443".parse().unwrap()));
    }
}
