//! A guest's operating system, as far as its agent shows it: files, short commands, and jobs as systemd units.
//!
//! [`Os::ask`] answers the agent's commands as qemu-guest-agent in a real guest does, so that [`crate::Guest`] cannot tell the two
//! apart. It is data: it waits for nothing, runs nothing, and reads no clock. What a job does is decided by whoever is told of it
//! ([`Begun`]) and written back with [`Os::log`] and [`Os::end`].
//!
//! What it does not simulate: programs other than those that this crate runs, but for what [`Os::set_output`] says that they write;
//! permissions and owners of files, and directories.

mod command;
mod files;
mod unit;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::GuestFile;
use files::{Files, Open};

/// What the guest says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its operating system.
    pub os: String,
    /// Its kernel's release.
    pub kernel: String,
    /// MAC address of its network card, lower-case.
    pub mac: String,
    /// The card's address, once it has one.
    pub address: Option<IpAddr>,
}

/// A job that a command began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The job's name.
    pub token: String,
    /// The script that it runs.
    pub script: String,
    /// The files that came with it, but those of its own folder.
    pub files: Vec<GuestFile>,
    /// The files of its own folder below `/run/seedbed`, which go when it ends.
    pub own: Vec<GuestFile>,
}

/// A guest's operating system.
#[derive(Debug, Clone)]
pub struct Os {
    identity: Identity,
    /// The boot's identity: `/proc/sys/kernel/random/boot_id`.
    boot: String,
    files: Files,
    handles: BTreeMap<i64, Open>,
    outputs: BTreeMap<i64, Value>,
    units: BTreeMap<String, unit::State>,
    /// What other scripts write, by what they are called.
    written: BTreeMap<String, String>,
    next: i64,
    begun: Vec<Begun>,
}

impl Os {
    /// A guest with an empty disk, in its first boot.
    pub fn new(identity: Identity, boot: impl Into<String>) -> Self {
        Self {
            identity,
            boot: boot.into(),
            files: Files::default(),
            handles: BTreeMap::new(),
            outputs: BTreeMap::new(),
            units: BTreeMap::new(),
            written: BTreeMap::new(),
            next: 0,
            begun: Vec::new(),
        }
    }

    /// The guest lost its power and boots again, with that identity of the boot: what is on its disk is all that is left.
    pub fn reboot(&mut self, boot: impl Into<String>) {
        self.boot = boot.into();
        self.files.forget_memory();
        self.handles.clear();
        self.outputs.clear();
        self.units.clear();
        self.begun.clear();
    }

    /// The guest's card got that address, or lost the one it had.
    pub fn set_address(&mut self, address: Option<IpAddr>) {
        self.identity.address = address;
    }

    /// What a script that is run as `bash -c SCRIPT NAME` writes from now on.
    pub fn set_output(&mut self, name: &str, text: impl Into<String>) {
        self.written.insert(name.to_owned(), text.into());
    }

    /// A file of the guest.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path)
    }

    /// Answers a command of the agent's protocol, at that time since 1970-01-01T00:00:00Z: the whole answer, or why not, in
    /// libvirt's words around the agent's.
    pub fn ask(&mut self, command: &str, now: Duration) -> Result<String, String> {
        let command: Value =
            serde_json::from_str(command).map_err(|error| format!("JSON parse error: {error}"))?;
        let name = command["execute"].as_str().unwrap_or_default();
        let answer = self.answer(name, &command["arguments"], now).map_err(|why| {
            format!("guest agent command failed: unable to execute QEMU agent command '{name}': {why}")
        })?;
        Ok(json!({ "return": answer }).to_string())
    }

    /// The jobs that were begun since this was asked last.
    pub fn take_begun(&mut self) -> Vec<Begun> {
        std::mem::take(&mut self.begun)
    }

    fn answer(&mut self, command: &str, arguments: &Value, now: Duration) -> Result<Value, String> {
        match command {
            "guest-ping" => Ok(json!({})),
            "guest-get-osinfo" => Ok(json!({
                "pretty-name": self.identity.os, "kernel-release": self.identity.kernel, "machine": "x86_64",
            })),
            "guest-network-get-interfaces" => Ok(self.interfaces()),
            "guest-get-time" => Ok(json!(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))),
            "guest-exec" => self.execute(arguments, now),
            "guest-exec-status" => self.status(arguments),
            _ => self.file_command(command, arguments),
        }
    }

    fn interfaces(&self) -> Value {
        let addresses: Vec<_> = self.identity.address.iter().map(address).collect();
        json!([
            {"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": [address(&IpAddr::from([127, 0, 0, 1]))]},
            {"name": "eth0", "hardware-address": self.identity.mac, "ip-addresses": addresses},
        ])
    }

    fn number(&mut self) -> i64 {
        self.next += 1;
        self.next
    }
}

fn address(address: &IpAddr) -> Value {
    json!({"ip-address": address, "ip-address-type": if address.is_ipv4() { "ipv4" } else { "ipv6" }})
}
