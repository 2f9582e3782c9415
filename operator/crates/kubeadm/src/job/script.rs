//! The text of the scripts.

use std::fmt::Write;

use super::{DONE_FOLDER, DONE_MARKER, Machine, PHASE_PREFIX, Phase};
use crate::{
    cni,
    config::{CRI_SOCKET, SECRET_FOLDER},
    pki::PKI_FOLDER,
};

/// How long the script waits for the machine's name and address, for cloud-init, and for the API server, in seconds. It is no measure of
/// how long that takes, only an end to a wait for something that does not come.
pub(super) const WAIT_SECONDS: u32 = 900;

/// How long kubeadm is run again, in seconds from its first failure.
const AGAIN_SECONDS: u32 = 300;

/// Some of kubeadm's requests end after ten seconds and are made once, which is too little for an API server with a full load. A load
/// lasts for minutes, so that the number of tries says nothing. What kubeadm found wrong with the machine or its configuration stays
/// so, and is told at once: it ends with 2 or 3 then, and with 1 after all else (`cmd/kubeadm/app/util/error.go`).
fn again() -> String {
    format!(
        r#"again() {{
  local deadline='' status
  while true; do
    status=0
    "$@" || status=$?
    deadline=${{deadline:-$((SECONDS + {AGAIN_SECONDS}))}}
    if ((status != 1 || SECONDS >= deadline)); then return "$status"; fi
    echo "seedbed: $1 failed, and is tried again" >&2
    sleep 5
  done
}}
"#
    )
}

/// The script around the commands that run kubeadm. They call `reset` first, and `again` with what may be run again.
pub(super) fn render(machine: &Machine, kubeadm: &str) -> String {
    let mut script = head();
    wait_for_network(&mut script, machine);
    if !machine.pre_commands.is_empty() || !machine.post_commands.is_empty() {
        wait_for_cloud_init(&mut script);
    }
    containerd(&mut script, machine);
    if has_pod_network(machine) {
        // Not waited for here: kubeadm needs none of it.
        let _ = writeln!(script, "systemctl --quiet --no-block enable --now {}", cni::UNIT);
    }
    commands(&mut script, Phase::PreCommands, &machine.pre_commands);
    run_kubeadm(&mut script, kubeadm);
    if has_pod_network(machine) {
        let _ = writeln!(script, "systemctl start {}", cni::UNIT);
    }
    commands(&mut script, Phase::PostCommands, &machine.post_commands);
    phase(&mut script, Phase::Done);
    script
}

fn has_pod_network(machine: &Machine) -> bool {
    machine.network.iter().any(|file| file.path == cni::UNIT_FILE)
}

/// The command that says where the script is.
pub(super) fn say(phase: Phase) -> String {
    format!("echo '{PHASE_PREFIX}{}'", phase.name())
}

fn phase(script: &mut String, phase: Phase) {
    let _ = writeln!(script, "{}", say(phase));
}

fn head() -> String {
    format!(
        "#!/usr/bin/env bash
set -euo pipefail
trap 'rm -rf -- {SECRET_FOLDER}' EXIT
fail() {{ echo \"seedbed: $*\" >&2; exit 1; }}
"
    )
}

fn wait_for_network(script: &mut String, machine: &Machine) {
    let hostname = quote(&machine.hostname);
    let address = quote(&machine.address.to_string());
    phase(script, Phase::Network);
    let _ = write!(
        script,
        r#"has_address() {{ ip -oneline address show to {address} | grep -q .; }}
deadline=$((SECONDS + {WAIT_SECONDS}))
until [ "$(cat /proc/sys/kernel/hostname)" = {hostname} ] && has_address; do
  ((SECONDS < deadline)) || fail "after {WAIT_SECONDS} s the host name is $(cat /proc/sys/kernel/hostname), expected" {hostname} "with the address" {address}
  sleep 0.3
done
"#
    );
}

/// A look at cloud-init's own result file costs nothing; `cloud-init status --wait` is a Python process.
fn wait_for_cloud_init(script: &mut String) {
    phase(script, Phase::CloudInit);
    let _ = write!(
        script,
        r#"deadline=$((SECONDS + {WAIT_SECONDS}))
until [ -e /run/cloud-init/result.json ] || [ -e /run/cloud-init/disabled ]; do
  ((SECONDS < deadline)) || fail "cloud-init is not through after {WAIT_SECONDS} s; see /var/log/cloud-init.log"
  sleep 0.5
done
"#
    );
}

fn containerd(script: &mut String, machine: &Machine) {
    phase(script, Phase::Containerd);
    // The agent answers early in a guest's boot: wait until what kubeadm talks to does, too.
    let _ = writeln!(script, "systemctl start containerd.service");
    for command in machine.containerd.commands() {
        let _ = writeln!(script, "{command}");
    }
}

/// Each of the user's commands in a shell of its own, so that none can change what the script itself does. A failed
/// one is named by its place: its text may hold a secret.
fn commands(script: &mut String, which: Phase, commands: &[String]) {
    if commands.is_empty() {
        return;
    }
    phase(script, which);
    for (index, command) in commands.iter().enumerate() {
        let _ = writeln!(
            script,
            "bash -euo pipefail -c {} </dev/null || fail \"{}[{index}] ended with exit status $?\"",
            quote(command),
            which.name(),
        );
    }
}

fn run_kubeadm(script: &mut String, kubeadm: &str) {
    // Without a kubeconfig the reset does not look for an API server, which need not answer. What the kubelet and
    // kubeadm write first is what tells of an earlier attempt.
    let _ = write!(
        script,
        "{}reset() {{
  if [ -e /var/lib/kubelet/config.yaml ] || [ -e /etc/kubernetes/bootstrap-kubelet.conf ] ||
    [ -e /etc/kubernetes/pki/apiserver.crt ] || [ -e /etc/kubernetes/admin.conf ]; then
    {}
    kubeadm reset --force --cri-socket {CRI_SOCKET} --cert-dir {PKI_FOLDER} --kubeconfig {SECRET_FOLDER}/none &&
      rm -rf -- /var/lib/etcd
  fi
}}
if [ ! -e {DONE_MARKER} ]; then
{kubeadm}  mkdir -p {DONE_FOLDER}
  touch {DONE_MARKER}
fi
",
        again(),
        say(Phase::Reset),
    );
}

/// A text as one word of the shell.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
