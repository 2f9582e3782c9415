//! The document of `kubeadm join`, and what it shares with init's.

use serde_json::{Value, json};

use super::{
    CRI_SOCKET, ConfigError, DISCOVERY_KUBECONFIG, Document, JoinInput, KUBEADM_CONFIG, NodeInput, Rendered,
    documents::Documents,
};
use crate::{
    file::GuestFile,
    kubeconfig::{Credentials, Kubeconfig},
    timing::{Place, TimingProfile},
};

/// Renders what a joining worker needs: the configuration and the kubeconfig for discovery.
pub fn render_join(input: &JoinInput) -> Result<Rendered, ConfigError> {
    let mut documents = documents(&input.node, input.timing);
    documents.patch(&input.patches)?;
    let discovery = Kubeconfig {
        server: input.endpoint.url(),
        ca_pem: input.ca_pem.clone(),
        credentials: Credentials::Token(input.bootstrap_token.clone()),
        cluster: "kubernetes".into(),
        user: "tls-bootstrap-token-user".into(),
        context: "tls-bootstrap-token-user@kubernetes".into(),
        proxy_url: None,
        tls_server_name: None,
    };
    let files = vec![
        GuestFile::secret(KUBEADM_CONFIG, documents.render()?),
        GuestFile::secret(DISCOVERY_KUBECONFIG, discovery.render()?),
    ];
    Ok(Rendered { files })
}

pub(super) fn documents(node: &NodeInput, timing: TimingProfile) -> Documents {
    let document = json!({
        "nodeRegistration": node_registration(node, timing),
        "discovery": {"file": {"kubeConfigPath": DISCOVERY_KUBECONFIG}},
        "timeouts": timeouts(),
    });
    Documents::new([(Document::JoinConfiguration, document)])
}

/// Labels are not here: a kubelet may not set all of them itself, the operator sets them through the API.
pub(super) fn node_registration(node: &NodeInput, timing: TimingProfile) -> Value {
    let address = node.address.to_string();
    let mut flags: Vec<(&str, &str)> = vec![("node-ip", &address), ("provider-id", &node.provider_id)];
    for flag in timing.settings(Place::KubeletFlag) {
        flags.push(flag);
    }
    let mut registration = json!({
        "name": node.name,
        "criSocket": CRI_SOCKET,
        // The guest image holds the release's container images; no registry is asked for them.
        "imagePullPolicy": "IfNotPresent",
        "kubeletExtraArgs": arguments(flags),
    });
    if let Some(taints) = &node.taints {
        registration["taints"] = taints
            .iter()
            .map(|taint| {
                let mut entry = json!({"key": taint.key, "effect": taint.effect.name()});
                if let Some(value) = &taint.value {
                    entry["value"] = json!(value);
                }
                entry
            })
            .collect();
    }
    registration
}

pub(super) fn arguments<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    settings
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

/// kubeadm's own waits, several times their defaults: they must never be what ends a start on a slow host. The job as
/// a whole has a limit of its own. Discovery waits longest: a worker may begin its join before there is an API server.
pub(super) fn timeouts() -> Value {
    json!({
        "controlPlaneComponentHealthCheck": "15m0s",
        "kubeletHealthCheck": "15m0s",
        "kubernetesAPICall": "10m0s",
        "etcdAPICall": "10m0s",
        "tlsBootstrap": "15m0s",
        "discovery": "30m0s",
    })
}
