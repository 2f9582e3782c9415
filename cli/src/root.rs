//! Namespaces, libvirt and bridges need root; building does not, and must not leave files of root's in a person's folders.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use nix::unistd::geteuid;

use crate::error::Error;

/// The person's search path: sudo replaces `PATH`, and Rust and Go may be in the person's home.
const PATH: &str = "SEEDBED_PERSON_PATH";
/// What the person set and the work as root has to know.
const KEPT: [&str; 20] = [
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "GOCACHE",
    "GOFLAGS",
    "GOMODCACHE",
    "GOPATH",
    "GOPROXY",
    "GOSUMDB",
    "HOME",
    "RUSTUP_HOME",
    "RUST_LOG",
    "SEEDBED_CACHE",
    "SEEDBED_CARRY",
    "SEEDBED_INSTANCE",
    "SEEDBED_LIBVIRT",
    "SEEDBED_RELEASES",
    "SEEDBED_STARTED",
    "SEEDBED_STATE",
    "XDG_CACHE_HOME",
    PATH,
];

/// Starts this command anew through sudo, unless it runs as root already.
pub(crate) fn become_root() -> Result<(), Error> {
    if geteuid().is_root() {
        return Ok(());
    }
    let failed = |source| Error::Run {
        program: "sudo (this needs root; run it as root where there is no sudo)".to_owned(),
        source,
    };
    let program = env::current_exe().map_err(failed)?;
    let mut command = Command::new("sudo");
    command.arg(format!("--preserve-env={}", KEPT.join(",")));
    command.arg("--").arg(program).args(env::args_os().skip(1));
    if let Some(path) = env::var_os("PATH") {
        command.env(PATH, path);
    }
    Err(failed(command.exec()))
}

/// A command that runs as the person who started all this.
pub(crate) fn as_person(program: &str) -> Command {
    let mut command = Command::new(program);
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    // Without the path, sudo was the person's own doing: then root is who they want to be.
    if let (Some(path), Some(user), Some(group)) = (env::var_os(PATH), number("SUDO_UID"), number("SUDO_GID"))
    {
        command.env("PATH", path).uid(user).gid(group);
    }
    command.stdin(Stdio::null());
    command
}
