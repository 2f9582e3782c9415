//! The network and mount namespaces of an instance.
//!
//! They are kept by files, not by a process, so that virtual machines outlive everything that is started beside them:
//! the network namespace by `ip netns`, the mount namespace by a bind mount in the instance's folder. In the mount
//! namespace the folders in which libvirt keeps its things are the instance's own, `/run` is new and empty (no socket
//! of the machine's own daemons is seen), and `/sys` shows the instance's network.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    command,
    error::{Error, Result},
    files,
    instance::Instance,
    process::ProcessId,
};

/// Folders that libvirt is compiled to use, and the instance's own in their place.
const OWN_FOLDERS: [(&str, &str); 4] = [
    ("/etc/libvirt", "libvirt/etc"),
    ("/var/lib/libvirt", "libvirt/lib"),
    ("/var/cache/libvirt", "libvirt/cache"),
    ("/var/log/libvirt", "libvirt/log"),
];

/// Written last inside the mount namespace: without it, making the namespace was interrupted.
const COMPLETE: &str = "/run/seedbed-instance";

/// The namespaces of one instance.
pub(crate) struct Namespaces {
    instance: Instance,
    /// Name of the network namespace, as `ip netns` has it.
    pub(crate) net_name: String,
    /// The file that keeps the network namespace.
    pub(crate) net: PathBuf,
    folder: PathBuf,
    /// The file that keeps the mount namespace.
    pub(crate) mount: PathBuf,
}

impl Namespaces {
    pub(crate) fn of(instance: &Instance) -> Self {
        let net_name = format!("seedbed-{instance}");
        let folder = instance.path("ns");
        Self {
            instance: instance.clone(),
            net: Path::new("/run/netns").join(&net_name),
            net_name,
            mount: folder.join("mnt"),
            folder,
        }
    }

    /// A command that runs in both, in the present working folder.
    pub(crate) fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.net.display()));
        command.arg(format!("--mount={}", self.mount.display()));
        // The inside has a /run of its own, so a working folder below the machine's is not there.
        if let Ok(folder) = std::env::current_dir()
            && !folder.starts_with("/run")
        {
            command.arg(format!("--wdns={}", folder.display()));
        }
        command.arg("--").arg(program);
        command
    }

    /// Makes what is missing. Returns whether something was.
    pub(crate) fn make(&self) -> Result<bool> {
        let net = self.make_net()?;
        let mount = self.make_mount()?;
        Ok(net || mount)
    }

    fn make_net(&self) -> Result<bool> {
        if is_mount_point(&self.net)? {
            return Ok(false);
        }
        // A file without a namespace is what an interrupted `ip netns add` leaves.
        if self.net.exists() {
            files::remove(&self.net)?;
        }
        // A mount namespace that was made in an older network namespace shows that one's network in /sys.
        self.drop_mount()?;
        command::run(
            "make the network namespace",
            Command::new("ip").args(["netns", "add", &self.net_name]),
        )?;
        let set_up = "ip link set lo up; echo 1 >/proc/sys/net/ipv4/ip_forward";
        let enter = format!("--net={}", self.net.display());
        command::run(
            "set up the network namespace",
            Command::new("nsenter").args([&enter, "sh", "-ec", set_up]),
        )?;
        Ok(true)
    }

    fn make_mount(&self) -> Result<bool> {
        if is_mount_point(&self.mount)? {
            let complete = self.command("test".as_ref()).args(["-e", COMPLETE]).output();
            if complete.is_ok_and(|output| output.status.success()) {
                return Ok(false);
            }
            self.drop_mount()?;
        }
        files::create_folder(&self.folder)?;
        if !is_mount_point(&self.folder)? {
            // A mount namespace can be kept only on a mount that is not propagated.
            let folder = &self.folder;
            command::run(
                "prepare the mount namespace",
                Command::new("mount").arg("--bind").args([folder, folder]),
            )?;
        }
        command::run(
            "prepare the mount namespace",
            Command::new("mount").arg("--make-private").arg(&self.folder),
        )?;
        files::write(&self.mount, b"", files::PUBLIC)?;
        let script = self.mount_script()?;
        command::run(
            "make the mount namespace",
            Command::new("nsenter")
                .arg(format!("--net={}", self.net.display()))
                .args(["unshare", "--propagation=private"])
                .arg(format!("--mount={}", self.mount.display()))
                .args(["sh", "-ec", &script, "sh"])
                .arg(self.instance.folder()),
        )?;
        Ok(true)
    }

    /// The commands that fill the mount namespace; `$1` is the instance's folder.
    fn mount_script(&self) -> Result<String> {
        let mut script = vec![
            "mount -t sysfs -o nosuid,nodev,noexec sysfs /sys".to_owned(),
            "mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run".to_owned(),
        ];
        for (target, own) in OWN_FOLDERS {
            files::create_folder(&self.instance.path(own))?;
            script.push(format!("mount --bind \"$1/{own}\" {target}"));
        }
        script.push(format!("echo {} > {COMPLETE}", self.instance));
        Ok(script.join("\n"))
    }

    /// Ends every process in the network namespace, then removes both namespaces. Returns whether there was something.
    ///
    /// Whatever runs in the namespace is the instance's: its virtual machines, its dnsmasq, and shells in it.
    pub(crate) fn remove(&self) -> Result<bool> {
        let there = is_mount_point(&self.net)? || is_mount_point(&self.folder)?;
        self.end_processes()?;
        self.drop_mount()?;
        if is_mount_point(&self.folder)? {
            command::run(
                "remove the mount namespace",
                Command::new("umount").arg(&self.folder),
            )?;
        }
        if is_mount_point(&self.net)? {
            command::run(
                "remove the network namespace",
                Command::new("ip").args(["netns", "delete", &self.net_name]),
            )?;
        } else if self.net.exists() {
            files::remove(&self.net)?;
        }
        Ok(there)
    }

    fn drop_mount(&self) -> Result<()> {
        while is_mount_point(&self.mount)? {
            command::run(
                "remove the mount namespace",
                Command::new("umount").arg(&self.mount),
            )?;
        }
        Ok(())
    }

    fn end_processes(&self) -> Result<()> {
        let limit = Duration::from_secs(20);
        let started = Instant::now();
        loop {
            let processes = self.processes()?;
            if processes.is_empty() {
                return Ok(());
            }
            let waited = started.elapsed();
            if waited > limit {
                return Err(Error::Left {
                    what: format!("the network namespace {}", self.net_name),
                    left: processes
                        .iter()
                        .map(|process| format!("process {}", process.pid))
                        .collect(),
                });
            }
            let signal = if waited < Duration::from_secs(3) {
                Signal::SIGTERM
            } else {
                Signal::SIGKILL
            };
            for process in processes {
                process.signal(signal)?;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The processes in the network namespace.
    pub(crate) fn processes(&self) -> Result<Vec<ProcessId>> {
        if !is_mount_point(&self.net)? {
            return Ok(Vec::new());
        }
        let own = fs::metadata(&self.net).map_err(Error::file("look at", &self.net))?;
        let listed = fs::read_dir("/proc").map_err(Error::file("read", "/proc"))?;
        let pids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let inside = |pid: &i32| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|net| (net.dev(), net.ino()) == (own.dev(), own.ino()))
        };
        Ok(pids
            .filter(inside)
            .filter_map(ProcessId::of)
            .filter(ProcessId::is_running)
            .collect())
    }

    /// What is there of both, for the last look after a removal.
    pub(crate) fn left(&self) -> Result<Vec<String>> {
        let mounts = mount_points()?;
        let folder = self.instance.folder();
        let mut left: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.starts_with(&folder))
            .map(|mount| format!("mount {}", mount.display()))
            .collect();
        if self.net.exists() {
            left.push(format!("network namespace {}", self.net_name));
        }
        Ok(left)
    }
}

fn is_mount_point(path: &Path) -> Result<bool> {
    Ok(mount_points()?.iter().any(|mount| mount == path))
}

/// Everything that is mounted, as this process sees it.
fn mount_points() -> Result<Vec<PathBuf>> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(Error::file("read", table))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .collect())
}

/// proc(5): blanks and backslashes in mount points are written in octal.
fn unescape(field: &str) -> PathBuf {
    let text = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    text.iter()
        .fold(field.to_owned(), |field, (code, plain)| {
            field.replace(code, plain)
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_mounted_and_an_ordinary_folder_is_not() {
        assert!(is_mount_point(Path::new("/")).unwrap());
        assert!(!is_mount_point(Path::new("/usr/bin")).unwrap());
    }

    #[test]
    fn blanks_in_mount_points_are_read() {
        assert_eq!(unescape("/a\\040b\\134c"), PathBuf::from("/a b\\c"));
    }

    #[test]
    fn commands_enter_both_namespaces() {
        let instance = Instance::below(Path::new("/var/lib/x"), "t").unwrap();
        let command = Namespaces::of(&instance).command("virsh".as_ref());
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        assert_eq!(
            words[..2],
            ["--net=/run/netns/seedbed-t", "--mount=/var/lib/x/t/ns/mnt"]
        );
        assert_eq!(words[words.len() - 2..], ["--", "virsh"]);
    }
}
