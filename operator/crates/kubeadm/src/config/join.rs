//! The document of `kubeadm join`, and what it shares with init's.

use serde_json::{Value, json};

use super::{
    CRI_SOCKET, ConfigError, DISCOVERY_KUBECONFIG, Document, JoinInput, KUBEADM_CONFIG, KUBEADM_PATCHES,
    NodeInput, Rendered,
    documents::{complete, patched},
    init::kubelet_configuration,
};
use crate::{
    document,
    file::GuestFile,
    kubeconfig::{Credentials, Kubeconfig},
    patch::{PatchError, Problem, UserPatch},
    timing::{Place, TimingProfile},
};

/// Renders what a joining worker needs: the configuration and the kubeconfig for discovery.
pub fn render_join(input: &JoinInput) -> Result<Rendered, ConfigError> {
    let mut configuration =
        join_configuration(&input.node, input.timing, &input.patches, &input.pool_patches)?;
    let changes = kubelet_changes(input.timing, &input.patches, &input.pool_patches)?;
    if changes.is_some() {
        configuration["patches"] = json!({"directory": KUBEADM_PATCHES});
    }
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
    let mut files = vec![
        GuestFile::secret(
            KUBEADM_CONFIG,
            document::value_to_yaml(Document::JoinConfiguration.kind(), &configuration)?,
        ),
        GuestFile::secret(DISCOVERY_KUBECONFIG, discovery.render()?),
    ];
    if let Some(changes) = changes {
        let content = document::value_to_yaml("kubelet patch", &changes)?;
        files.push(GuestFile::public(
            format!("{KUBEADM_PATCHES}/kubeletconfiguration0+merge.yaml"),
            content,
        ));
    }
    Ok(Rendered { files })
}

/// The join's document with the cluster's patches, then the pool's.
pub(super) fn join_configuration(
    node: &NodeInput,
    timing: TimingProfile,
    cluster_patches: &[UserPatch],
    pool_patches: &[UserPatch],
) -> Result<Value, ConfigError> {
    let fields = json!({
        "nodeRegistration": node_registration(node, timing),
        "discovery": {"file": {"kubeConfigPath": DISCOVERY_KUBECONFIG}},
        "timeouts": timeouts(),
    });
    let of_a_pool = [Document::JoinConfiguration, Document::KubeletConfiguration];
    for (index, patch) in pool_patches.iter().enumerate() {
        if !of_a_pool.contains(&patch.target) {
            return Err(ConfigError::PoolPatch(PatchError::new(
                index,
                patch,
                Problem::NotThePools,
            )));
        }
    }
    let kind = Document::JoinConfiguration;
    let value = patched(kind, complete(kind, fields), cluster_patches)?;
    patched(kind, value, pool_patches).map_err(ConfigError::PoolPatch)
}

/// What the pool's patches change in the `KubeletConfiguration` that the cluster's kubelets share, as a JSON merge
/// patch for kubeadm to apply; `None` where they change nothing.
///
/// The pool's patches are applied here, to the document as the operator renders it, and not by kubeadm: so they mean
/// the same and are checked in the same way as those of the cluster.
pub(super) fn kubelet_changes(
    timing: TimingProfile,
    cluster_patches: &[UserPatch],
    pool_patches: &[UserPatch],
) -> Result<Option<Value>, ConfigError> {
    let kind = Document::KubeletConfiguration;
    let shared = patched(
        kind,
        complete(kind, kubelet_configuration(timing)),
        cluster_patches,
    )?;
    let own = patched(kind, shared.clone(), pool_patches).map_err(ConfigError::PoolPatch)?;
    Ok(merge_patch(&shared, &own))
}

/// The JSON merge patch (RFC 7386) that makes `after` of `before`, or `None` where they are equal.
fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return Some(after.clone());
    };
    let removed = old
        .keys()
        .filter(|name| !new.contains_key(*name))
        .map(|name| (name.clone(), Value::Null));
    let changed = new.iter().filter_map(|(name, value)| {
        let patch = old
            .get(name)
            .map_or_else(|| Some(value.clone()), |old| merge_patch(old, value));
        patch.map(|patch| (name.clone(), patch))
    });
    Some(removed.chain(changed).collect())
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
pub(crate) fn timeouts() -> Value {
    json!({
        "controlPlaneComponentHealthCheck": "15m0s",
        "kubeletHealthCheck": "15m0s",
        "kubernetesAPICall": "10m0s",
        "etcdAPICall": "10m0s",
        "tlsBootstrap": "15m0s",
        "discovery": "30m0s",
    })
}
