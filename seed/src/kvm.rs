//! Whether guests can be executed by the processor (KVM), found out by booting one.
//!
//! `/dev/kvm` may exist, and libvirt's capabilities may list it, on a machine on which no stock kernel comes up with it:
//! nested virtualisation that is incomplete is like that. So a guest's kernel is started with it until its first program
//! speaks.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files,
    process::boot_id,
};

/// With KVM a kernel takes one or two seconds to get there.
const LIMIT: Duration = Duration::from_secs(20);
/// What the guest's first program says.
const MARKER: &str = "seedbed-guest-is-alive";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kvm {
    /// Whether a guest came up.
    pub works: bool,
    /// What was seen, in words.
    pub found: String,
    /// The boot of the machine for which this holds.
    boot_id: Option<String>,
}

impl Kvm {
    /// The domain type to use.
    pub fn domain_type(&self) -> &'static str {
        if self.works { "kvm" } else { "qemu" }
    }
}

/// Boots the kernel and the initial RAM disk of a release. The result is kept in `record` for as long as the machine is up.
pub(crate) fn probe(release: &Path, record: Option<&Path>) -> Result<Kvm> {
    let boot_id = boot_id();
    if let Some(known) = record.map(files::read_json::<Kvm>).transpose()?.flatten()
        && known.boot_id == boot_id
    {
        return Ok(known);
    }
    let (works, found) = boot(release)?;
    let kvm = Kvm {
        works,
        found,
        boot_id,
    };
    if let Some(record) = record {
        files::write_json(record, &kvm)?;
    }
    Ok(kvm)
}

fn boot(release: &Path) -> Result<(bool, String)> {
    if !Path::new("/dev/kvm").exists() {
        return Ok((false, "this machine has no /dev/kvm".to_owned()));
    }
    let (kernel, initrd) = (release.join("vmlinuz"), release.join("initrd"));
    for file in [&kernel, &initrd] {
        std::fs::metadata(file).map_err(Error::file("look at", file))?;
    }
    let mut guest = Command::new("qemu-system-x86_64")
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args([
            "-machine",
            "q35,accel=kvm",
            "-cpu",
            "host",
            "-m",
            "512",
            "-serial",
            "stdio",
        ])
        .arg("-kernel")
        .arg(&kernel)
        .arg("-initrd")
        .arg(&initrd)
        .arg("-append")
        // Arguments after `--` are the first program's.
        .arg(format!(
            "console=ttyS0 panic=-1 rdinit=/bin/busybox -- echo {MARKER}"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start {
            program: "qemu-system-x86_64".to_owned(),
            source,
        })?;
    let lines = lines_of([
        guest
            .stdout
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>),
        guest
            .stderr
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>),
    ]);
    let seen = judge(&lines, LIMIT);
    // It may have ended by itself.
    let _ = guest.kill();
    guest.wait().map_err(|source| Error::Start {
        program: "qemu-system-x86_64".to_owned(),
        source,
    })?;
    Ok(seen)
}

fn lines_of(pipes: [Option<Box<dyn std::io::Read + Send>>; 2]) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    for pipe in pipes.into_iter().flatten() {
        let send = send.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe)
                .split(b'\n')
                .map_while(std::result::Result::ok)
            {
                if send
                    .send(String::from_utf8_lossy(&line).trim().to_owned())
                    .is_err()
                {
                    return;
                }
            }
        });
    }
    lines
}

/// Reads what the guest says until its first program speaks, it ends, or it takes too long.
fn judge(lines: &mpsc::Receiver<String>, limit: Duration) -> (bool, String) {
    let started = Instant::now();
    let mut last = String::new();
    loop {
        let left = limit.saturating_sub(started.elapsed());
        match lines.recv_timeout(left) {
            // The kernel repeats its command line, in which the marker stands too.
            Ok(line) if line == MARKER => {
                let seconds = started.elapsed().as_secs_f32();
                return (true, format!("a guest came up in {seconds:.1} s"));
            }
            Ok(line) if line.is_empty() => {}
            Ok(line) => last = line,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let said = if last.is_empty() {
                    "nothing".to_owned()
                } else {
                    format!("{last:?} last")
                };
                return (
                    false,
                    format!(
                        "a guest did not come up within {} s; it said {said}",
                        limit.as_secs()
                    ),
                );
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return (false, format!("a guest ended early: {last}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::folder;

    fn judged(lines: &[&str], ends: bool) -> (bool, String) {
        let (send, received) = mpsc::channel();
        for line in lines {
            send.send((*line).to_owned()).unwrap();
        }
        let kept = (!ends).then_some(send);
        let judged = judge(&received, Duration::from_millis(50));
        drop(kept);
        judged
    }

    #[test]
    fn only_the_first_programs_own_word_counts() {
        assert!(judged(&["Linux version 6", MARKER], true).0);
        let command_line = format!("Kernel command line: rdinit=/bin/busybox -- echo {MARKER}");
        let (works, found) = judged(&[&command_line, "clocksource: tsc"], false);
        assert!(!works && found.contains("clocksource: tsc"), "{found}");
        let (works, found) = judged(&["failed to initialize kvm: Permission denied"], true);
        assert!(!works && found.contains("Permission denied"), "{found}");
        assert!(judged(&[], false).1.contains("nothing"));
    }

    #[test]
    fn a_record_holds_until_the_next_boot() {
        let folder = folder("kvm");
        let record = folder.join("record.json");
        let known = Kvm {
            works: true,
            found: "x".to_owned(),
            boot_id: boot_id(),
        };
        files::write_json(&record, &known).unwrap();
        assert_eq!(probe(Path::new("/nowhere"), Some(&record)).unwrap(), known);
    }
}
