//! `kubeadm init`, in passes.
//!
//! In one go kubeadm starts the whole control plane at once. Where processors are few, kube-controller-manager and
//! kube-scheduler then take from kube-apiserver what it needs for its own start, and kube-controller-manager ends, its
//! lease still held, where the API server is not healthy ten seconds after it got that lease. So the API server comes
//! first; and what a worker needs in order to join does not wait for the health of the rest.
//!
//! Phases: <https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init/#init-workflow>.

use super::script::{WAIT_SECONDS, quote};
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
        "upload-config/kubeadm",
        "upload-config/kubelet",
        "upload-certs",
        "mark-control-plane",
        "bootstrap-token",
    ],
    // kubelet-finalize restarts the kubelet: not while it starts the control plane. A pass without the add-ons has noted them as
    // disabled in kubeadm's configuration, by which an upgrade would leave them as they are: it is uploaded once more.
    &[
        "upload-config/kubeadm",
        "wait-control-plane",
        "kubelet-finalize",
        "addon",
    ],
];

const KUBELET_KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";

/// The commands, a line each, that make the cluster.
pub(super) fn commands(config: &RenderedInit) -> String {
    let [api_server, others, end] = PASSES.map(|pass| command(pass, &config.skipped_phases));
    let wait = wait_for_api_server(&config.endpoint);
    format!("  {api_server}\n{wait}  again {others}\n  again {end}\n")
}

/// The command that runs the phases of one pass.
fn command(pass: &[&str], skipped: &[String]) -> String {
    let others = PASSES.into_iter().flatten().filter(|phase| !pass.contains(phase));
    let mut skip = Vec::new();
    for phase in others.copied().chain(skipped.iter().map(String::as_str)) {
        if !skip.contains(&phase) {
            skip.push(phase);
        }
    }
    format!(
        "kubeadm init --config {KUBEADM_CONFIG} --skip-phases {}",
        quote(&skip.join(","))
    )
}

/// A look at the port costs nothing; kubectl is only asked once something listens there. The kubelet's credentials are
/// allowed to see the API server's health, and are there whatever the user skips.
fn wait_for_api_server(endpoint: &Endpoint) -> String {
    let Endpoint { host, port } = endpoint;
    format!(
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
    )
}
