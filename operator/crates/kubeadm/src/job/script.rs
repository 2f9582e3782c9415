//! The text of the scripts.

use std::fmt::Write;

use super::{DONE_FOLDER, DONE_MARKER, Machine, PHASE_PREFIX, Phase, STAGED_PKI};
use crate::{
    cni,
    config::{CRI_SOCKET, SECRET_FOLDER},
    pki::PKI_FOLDER,
};

/// How long the script waits for the machine's name and address, for cloud-init, and for the API server, in seconds. It is no measure of
/// how long that takes, only an end to a wait for something that does not come.
pub(super) const WAIT_SECONDS: u32 = 900;

pub(super) fn render(machine: &Machine, kubeadm: &str, has_pki: bool) -> String {
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
    run_kubeadm(&mut script, kubeadm, has_pki);
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

fn phase(script: &mut String, phase: Phase) {
    let _ = writeln!(script, "echo '{PHASE_PREFIX}{}'", phase.name());
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

fn run_kubeadm(script: &mut String, kubeadm: &str, has_pki: bool) {
    let reset = Phase::Reset.name();
    let place_pki = if has_pki {
        format!("  mkdir -p {PKI_FOLDER}\n  cp -a {STAGED_PKI}/. {PKI_FOLDER}/\n")
    } else {
        String::new()
    };
    // Without a kubeconfig the reset does not look for an API server, which need not answer. What the kubelet and
    // kubeadm write first is what tells of an earlier attempt.
    let _ = write!(
        script,
        "if [ ! -e {DONE_MARKER} ]; then
  if [ -e /var/lib/kubelet/config.yaml ] || [ -e /etc/kubernetes/bootstrap-kubelet.conf ] ||
    [ -e /etc/kubernetes/pki/apiserver.crt ] || [ -e /etc/kubernetes/admin.conf ]; then
    echo '{PHASE_PREFIX}{reset}'
    kubeadm reset --force --cri-socket {CRI_SOCKET} --cert-dir {PKI_FOLDER} --kubeconfig {SECRET_FOLDER}/none
    rm -rf -- /var/lib/etcd
  fi
{place_pki}  echo '{PHASE_PREFIX}{}'
{kubeadm}  mkdir -p {DONE_FOLDER}
  touch {DONE_MARKER}
fi
",
        Phase::Kubeadm.name(),
    );
}

/// A text as one word of the shell.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
