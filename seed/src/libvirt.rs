//! The instance's libvirt: a libvirtd of its own, or the machine's, and a storage pool in either.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    command,
    error::{Error, Result},
    files,
    instance::{Instance, Mode, Settings},
    supervisor::{Unit, revision_of},
};

/// The connection that every part of an instance uses.
pub const URI: &str = "qemu:///system";

/// Its name among units, pid files and logs.
pub(crate) const UNIT: &str = "libvirtd";

const READY_LIMIT: Duration = Duration::from_mins(1);

/// In the instance's namespaces libvirtd and its guests run as root and without the machine's confinement: the machine's
/// security driver, cgroups and file ownership belong to the machine's own libvirt. Guests write their logs by themselves,
/// so that no other daemon has to stay alive for them.
const QEMU_CONF: &str = "user = \"root\"
group = \"root\"
dynamic_ownership = 0
remember_owner = 0
security_driver = \"none\"
namespaces = []
cgroup_controllers = []
stdio_handler = \"file\"
";

/// Only root gets in, and needs no other proof.
const LIBVIRTD_CONF: &str = "auth_unix_ro = \"none\"
auth_unix_rw = \"none\"
unix_sock_group = \"root\"
unix_sock_ro_perms = \"0700\"
unix_sock_rw_perms = \"0700\"
log_level = 3
log_outputs = \"3:stderr\"
";

/// Whether the machine has a libvirt of its own that answers.
pub(crate) fn detect() -> Result<Mode> {
    let sockets = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];
    if !sockets.iter().any(|socket| Path::new(socket).exists()) {
        return Ok(Mode::Namespace);
    }
    let answers = command::succeeds(Command::new("virsh").args(["--connect", URI, "version"]))?;
    Ok(if answers { Mode::System } else { Mode::Namespace })
}

/// The unit of the instance's own libvirtd.
pub(crate) fn unit(instance: &Instance) -> Result<Unit> {
    let folder = instance.path("libvirt/etc");
    files::create_folder(&folder)?;
    let qemu = folder.join("qemu.conf");
    let libvirtd = folder.join("libvirtd.conf");
    files::write(&qemu, QEMU_CONF.as_bytes(), files::PUBLIC)?;
    files::write(&libvirtd, LIBVIRTD_CONF.as_bytes(), files::PUBLIC)?;
    let program = "/usr/sbin/libvirtd";
    let words = [
        "--config",
        "/etc/libvirt/libvirtd.conf",
        "--pid-file",
        "/run/libvirtd.pid",
    ];
    Ok(Unit {
        name: UNIT.to_owned(),
        order: 10,
        program: program.to_owned(),
        arguments: words.map(str::to_owned).to_vec(),
        environment: BTreeMap::new(),
        inside: true,
        revision: revision_of(&[Path::new(program), &qemu, &libvirtd])?,
        patience_seconds: 5,
    })
}

/// Waits until libvirt answers and gives its words about versions.
pub(crate) fn wait_until_ready(instance: &Instance, settings: &Settings) -> Result<()> {
    let until = Instant::now() + READY_LIMIT;
    loop {
        let found = match virsh(instance, settings, "ask libvirt for its version", &["version"]) {
            Ok(_) => return Ok(()),
            Err(error @ Error::Command { .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        if Instant::now() > until {
            return Err(Error::TimedOut {
                what: "libvirt did not answer".to_owned(),
                limit: READY_LIMIT,
                found,
                log: instance.log(UNIT),
            });
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs virsh where the instance's libvirt is reached.
pub(crate) fn virsh(
    instance: &Instance,
    settings: &Settings,
    purpose: &str,
    arguments: &[&str],
) -> Result<String> {
    let mut command = instance.command(settings, "virsh");
    command::run(
        purpose,
        command.args(["--quiet", "--connect", URI]).args(arguments),
    )
}

/// Names that a listing command of virsh shows.
pub(crate) fn names(
    instance: &Instance,
    settings: &Settings,
    purpose: &str,
    arguments: &[&str],
) -> Result<Vec<String>> {
    let text = virsh(instance, settings, purpose, arguments)?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Where the machines' volumes are.
pub(crate) fn pool_folder(instance: &Instance) -> PathBuf {
    instance.path("pool")
}

/// Makes the storage pool and starts it. Returns whether something was missing.
pub(crate) fn ensure_pool(instance: &Instance, settings: &Settings) -> Result<bool> {
    let pool = settings.storage_pool(instance);
    let folder = pool_folder(instance);
    files::create_folder(&folder)?;
    // QEMU has to get through to its disks where it does not run as root.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))
        .map_err(Error::file("open up", &folder))?;
    let list = |which: &'static [&'static str]| names(instance, settings, "list the storage pools", which);
    let run = |purpose, arguments: &[&str]| virsh(instance, settings, purpose, arguments);
    let defined = list(&["pool-list", "--all", "--name"])?.contains(&pool);
    if !defined {
        let target = folder.display().to_string();
        run(
            "define the storage pool",
            &["pool-define-as", &pool, "dir", "--target", &target],
        )?;
        run("define the storage pool", &["pool-autostart", &pool])?;
    }
    let active = list(&["pool-list", "--name"])?.contains(&pool);
    if !active {
        run("start the storage pool", &["pool-start", &pool])?;
    }
    Ok(!defined || !active)
}
