//! The documents of `kubeadm init`.

use serde_json::{Map, Value, json};

use super::{
    ClusterInput, ConfigError, Document, InitInput, KUBEADM_CONFIG, KUBEADM_PATCHES, NodeInput, RenderedInit,
    documents::{complete, patched},
    pods,
};
use crate::{
    config::join::{arguments, node_registration, timeouts},
    document,
    file::GuestFile,
    patch::{PatchError, UserPatch},
    timing::{Place, TimingProfile},
    token::BootstrapToken,
};

/// The group that kubeadm's cluster roles for joining nodes are bound to.
const TOKEN_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// Renders what the first control plane needs: the configuration, and the patches for its pods where the timing
/// profile has some.
pub fn render_init(input: &InitInput) -> Result<RenderedInit, ConfigError> {
    let token = Some((&input.bootstrap_token, input.token_ttl_seconds));
    let documents = documents(&input.cluster, &input.node, token, input.timing, &input.patches)?;
    let text = document::documents_to_yaml(documents.iter().map(|(kind, value)| (kind.kind(), value)))?;
    let mut files = vec![GuestFile::secret(KUBEADM_CONFIG, text)];
    files.extend(pods::patches(input.timing)?);
    Ok(RenderedInit {
        files,
        skipped_phases: skipped_phases(&documents),
        endpoint: input.cluster.endpoint.clone(),
    })
}

fn skipped_phases(documents: &[(Document, Value)]) -> Vec<String> {
    documents
        .iter()
        .filter(|(kind, _)| *kind == Document::InitConfiguration)
        .filter_map(|(_, document)| document.get("skipPhases")?.as_array())
        .flatten()
        .filter_map(|phase| phase.as_str().map(str::to_owned))
        .collect()
}

/// The documents with the cluster's patches.
pub(super) fn documents(
    cluster: &ClusterInput,
    node: &NodeInput,
    token: Option<(&BootstrapToken, u32)>,
    timing: TimingProfile,
    patches: &[UserPatch],
) -> Result<[(Document, Value); 4], PatchError> {
    let finished = |document, fields| {
        let value = patched(document, complete(document, fields), patches)?;
        Ok((document, value))
    };
    Ok([
        finished(
            Document::InitConfiguration,
            init_configuration(cluster, node, token, timing),
        )?,
        finished(
            Document::ClusterConfiguration,
            cluster_configuration(cluster, timing),
        )?,
        finished(Document::KubeletConfiguration, kubelet_configuration(timing))?,
        // kube-proxy's other modes want tools that a guest need not have, and cost more with many Services.
        finished(Document::KubeProxyConfiguration, json!({"mode": "nftables"}))?,
    ])
}

fn init_configuration(
    cluster: &ClusterInput,
    node: &NodeInput,
    token: Option<(&BootstrapToken, u32)>,
    timing: TimingProfile,
) -> Value {
    let mut document = json!({
        "nodeRegistration": node_registration(node, timing),
        "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": cluster.endpoint.port},
        // It would print the token into the log.
        "skipPhases": ["show-join-command"],
        "timeouts": timeouts(),
    });
    if let Some((token, ttl_seconds)) = token {
        document["bootstrapTokens"] = json!([{
            "token": token.expose(),
            "description": "made by seedbed for the machines that join first",
            "ttl": format!("{ttl_seconds}s"),
            // Not `signing`: nothing here uses discovery by token.
            "usages": ["authentication"],
            "groups": [TOKEN_GROUP],
        }]);
    }
    if pods::has_patches(timing) {
        document["patches"] = json!({"directory": KUBEADM_PATCHES});
    }
    document
}

fn cluster_configuration(cluster: &ClusterInput, timing: TimingProfile) -> Value {
    let mut controller_manager: Vec<_> = timing.settings(Place::ControllerManagerArgument).collect();
    if !cluster.allocate_node_cidrs {
        controller_manager.push(("allocate-node-cidrs", "false"));
    }
    let mut document = json!({
        "clusterName": cluster.name,
        "kubernetesVersion": cluster.kubernetes_version,
        "controlPlaneEndpoint": cluster.endpoint.authority(),
        // Making an RSA key takes minutes on an emulated host.
        "encryptionAlgorithm": "ECDSA-P256",
        "networking": {
            "podSubnet": cluster.pod_cidr,
            "serviceSubnet": cluster.service_cidr,
            "dnsDomain": cluster.dns_domain,
        },
    });
    let components = [
        ("apiServer", timing.settings(Place::ApiServerArgument).collect()),
        ("controllerManager", controller_manager),
        ("scheduler", timing.settings(Place::SchedulerArgument).collect()),
    ];
    for (component, settings) in components {
        if !settings.is_empty() {
            document[component] = json!({"extraArgs": arguments(settings)});
        }
    }
    let sans = without_repeats(&cluster.cert_sans);
    if !sans.is_empty() {
        document["apiServer"]["certSANs"] = json!(sans);
    }
    let etcd: Vec<_> = timing.settings(Place::EtcdArgument).collect();
    if !etcd.is_empty() {
        document["etcd"] = json!({"local": {"dataDir": "/var/lib/etcd", "extraArgs": arguments(etcd)}});
    }
    document
}

pub(super) fn kubelet_configuration(timing: TimingProfile) -> Value {
    let fields: Map<_, _> = timing
        .settings(Place::KubeletConfiguration)
        .map(|(name, text)| {
            // Durations are texts with a unit, everything else in the table is a number.
            (
                name.to_owned(),
                text.parse::<i64>()
                    .map_or_else(|_| Value::from(text), Value::from),
            )
        })
        .collect();
    fields.into()
}

fn without_repeats(names: &[String]) -> Vec<&String> {
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}
