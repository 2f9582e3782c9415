//! `kubeadm init`, in passes.
//!
//! In one go kubeadm starts the whole control plane at once. Where processors are few, kube-controller-manager and
//! kube-scheduler then take from kube-apiserver what it needs for its own start, and kube-controller-manager ends, its
//! lease still held, where the API server is not healthy ten seconds after it got that lease. So the API server comes
//! first; and what a worker needs in order to join does not wait for the health of the rest.
//!
//! Phases: <https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init/#init-workflow>.

use std::fmt::Write;

use super::script::quote;
use crate::config::{Endpoint, KUBEADM_CONFIG, RenderedInit};

/// kubeadm's phases, by the pass that runs them, but the one that every document skips.
const PASSES: [&[&str]; 3] = [
    &[
        "preflight",
        "certs",
        "kubeconfig",
        "etcd",
        "control-plane/apiserver",
        "kubelet-start",
    ],
    &[
        "control-plane/controller-manager",
        "control-plane/scheduler",
        "upload-config",
        "upload-certs",
        "mark-control-plane",
        "bootstrap-token",
    ],
    // kubelet-finalize restarts the kubelet: not while it starts the control plane.
    &["wait-control-plane", "kubelet-finalize", "addon"],
];

/// How long the script waits for the API server, in seconds: as long as kubeadm waits for a component of the control
/// plane (see [`crate::config`]).
const WAIT_SECONDS: u32 = 900;

const KUBELET_KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";

/// Some of kubeadm's requests end after ten seconds and are made once, which is too little for an API server with a full load.
/// Once there is an API server, every phase may be run again.
const AGAIN: &str = r#"  again() {
    local try
    for try in 1 2 3; do
      "$@" && return
      echo "seedbed: $1 failed, try $try of 3" >&2
    done
    return 1
  }
"#;

/// The commands, a line each, that make the cluster.
pub(super) fn commands(config: &RenderedInit) -> String {
    let mut text = String::new();
    for (index, pass) in PASSES.iter().enumerate() {
        if index == 1 {
            wait_for_api_server(&mut text, &config.endpoint);
            text.push_str(AGAIN);
        }
        let again = if index == 0 { "" } else { "again " };
        let skip: Vec<_> = PASSES
            .iter()
            .filter(|other| other != &pass)
            .flat_map(|other| other.iter().copied())
            .chain(config.skipped_phases.iter().map(String::as_str))
            .collect();
        let _ = writeln!(
            text,
            "  {again}kubeadm init --config {KUBEADM_CONFIG} --skip-phases {}",
            quote(&skip.join(","))
        );
    }
    text
}

/// A look at the port costs nothing; kubectl is only asked once something listens there. The kubelet's credentials are
/// allowed to see the API server's health, and are there whatever the user skips.
fn wait_for_api_server(text: &mut String, endpoint: &Endpoint) {
    let Endpoint { host, port } = endpoint;
    let _ = write!(
        text,
        r#"  is_ready() {{ (: < /dev/tcp/{host}/{port}) && kubectl get --raw=/readyz --request-timeout 20s --kubeconfig {KUBELET_KUBECONFIG}; }}
  deadline=$((SECONDS + {WAIT_SECONDS}))
  until is_ready >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      tail --quiet --lines 5 /var/log/containers/etcd-*.log /var/log/containers/kube-apiserver-*.log || true
      fail "the API server is not ready after {WAIT_SECONDS} s; above are the last lines that etcd and the API server wrote"
    fi
    sleep 1
  done
"#
    );
}
