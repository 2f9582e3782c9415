//! What stands in a child cluster's API.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use seedbed_simulated_api::{Kind, Kinds, Preconditions, Selector, Store, Subresource};
use serde_json::{Value, json};

use crate::control_plane::Manifests;
use crate::job::NodeSpec;

/// Where kubeadm keeps its configuration: namespace, name, and key.
const CONFIGURATION: (&str, &str, &str) = ("kube-system", "kubeadm-config", "ClusterConfiguration");

/// The objects that `kubeadm init` leaves, but its node.
pub(crate) fn new(
    seed: &str,
    token: Option<&(String, String)>,
    configuration: &str,
    now: Timestamp,
) -> Store {
    let mut store = Store::new(Kinds::builtin(), seed);
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        put(
            &mut store,
            "namespaces",
            "",
            json!({"metadata": {"name": name}}),
            now,
        );
    }
    let info = json!({"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": ""}});
    put(&mut store, "configmaps", "kube-public", info, now);
    let (namespace, name, key) = CONFIGURATION;
    let kept = json!({"metadata": {"name": name}, "data": {key: configuration}});
    put(&mut store, "configmaps", namespace, kept, now);
    if let Some((id, secret)) = token {
        let data = json!({"token-id": STANDARD.encode(id), "token-secret": STANDARD.encode(secret)});
        let object = json!({
            "metadata": {"name": format!("bootstrap-token-{id}")}, "type": "bootstrap.kubernetes.io/token", "data": data,
        });
        put(&mut store, "secrets", "kube-system", object, now);
    }
    store
}

/// The `ClusterConfiguration` that kubeadm keeps in the cluster; none where somebody took it away.
pub(crate) fn configuration(store: &Store) -> Option<String> {
    let (namespace, name, key) = CONFIGURATION;
    let kept = store.get(&kind(store, "configmaps")?, namespace, name).ok()?;
    kept["data"][key].as_str().map(str::to_owned)
}

/// Writes it anew, where it is there: whether it was.
pub(crate) fn set_configuration(store: &mut Store, text: &str) -> bool {
    let (namespace, name, key) = CONFIGURATION;
    let Some(kind) = kind(store, "configmaps") else {
        return false;
    };
    let patch = json!({"data": {key: text}});
    store
        .merge(&kind, namespace, name, &patch, Subresource::Main)
        .is_ok()
}

/// Whether a node may join with that token.
pub(crate) fn admits(store: &Store, (id, secret): &(String, String)) -> bool {
    kind(store, "secrets")
        .and_then(|kind| {
            store
                .get(&kind, "kube-system", &format!("bootstrap-token-{id}"))
                .ok()
        })
        .and_then(|token| token["data"]["token-secret"].as_str())
        .and_then(|data| STANDARD.decode(data).ok())
        .is_some_and(|found| found == secret.as_bytes())
}

/// The kubelet registers its node, unless it is there, and tells what it is. That of a control plane has manifests.
pub(crate) fn register(
    store: &mut Store,
    node: &NodeSpec,
    manifests: Option<&Manifests>,
    kubelet: &str,
    now: Timestamp,
) {
    let mut labels = json!({"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"});
    let mut taints = node.taints.clone();
    if manifests.is_some() {
        labels["node-role.kubernetes.io/control-plane"] = "".into();
        if taints.is_null() {
            taints = json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]);
        }
    }
    let mut spec = json!({"providerID": node.provider_id});
    if taints.as_array().is_some_and(|taints| !taints.is_empty()) {
        spec["taints"] = taints;
    }
    put(
        store,
        "nodes",
        "",
        json!({"metadata": {"name": node.name, "labels": labels}, "spec": spec}),
        now,
    );
    let status = json!({
        "addresses": [{"type": "InternalIP", "address": node.address}, {"type": "Hostname", "address": node.name}],
        "allocatable": {"cpu": "2", "memory": "1900Mi", "pods": "110"},
        "capacity": {"cpu": "2", "memory": "2000Mi", "pods": "110"},
        "nodeInfo": {
            "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.3.7", "kernelVersion": "6.12",
            "kubeProxyVersion": "", "kubeletVersion": kubelet, "machineID": "", "operatingSystem": "linux",
            "osImage": "Debian GNU/Linux 13 (trixie)", "systemUUID": "",
        },
        "conditions": [ready("False", "KubeletNotReady", "container runtime network not ready", now)],
    });
    write_status(store, "nodes", "", &node.name, &status);
    lease(store, "kube-node-lease", &node.name, &node.name, 40, now);
    if let Some(manifests) = manifests {
        show_components(store, node, manifests, now);
        for component in ["kube-controller-manager", "kube-scheduler"] {
            lease(store, "kube-system", component, &node.name, 15, now);
        }
    }
}

/// The kubelet of a control plane shows the pods that it runs from files. One whose file was replaced is another pod.
pub(crate) fn show_components(store: &mut Store, node: &NodeSpec, manifests: &Manifests, now: Timestamp) {
    mirror(store, "etcd", &etcd_tag(&manifests.etcd), node, now);
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        mirror(store, component, &manifests.version, node, now);
    }
}

/// What the pod of etcd says of its members, as kubeadm writes it: of the one that there is.
/// <https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/#generate-static-pod-manifest-for-local-etcd>.
fn tell_members(etcd: &mut Value, name: &str, address: &str) {
    let url = |port: u16| format!("https://{address}:{port}");
    let (clients, peers) = (url(2379), url(2380));
    etcd["metadata"]["annotations"]["kubeadm.kubernetes.io/etcd.advertise-client-urls"] =
        clients.clone().into();
    etcd["spec"]["containers"][0]["command"] = json!([
        "etcd",
        format!("--name={name}"),
        format!("--initial-cluster={name}={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--listen-peer-urls={peers}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-client-urls=https://127.0.0.1:2379,{clients}"),
        "--data-dir=/var/lib/etcd",
    ]);
}

/// The etcd that kubeadm of that version wants. For the versions that this was written for it is the right one; it goes on likewise.
fn etcd_tag(version: &str) -> String {
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok());
    format!("3.6.{}-0", minor.unwrap_or(0_u32).saturating_sub(29))
}

/// A pod that the kubelet runs from a file, as it tells the API server of it.
fn mirror(store: &mut Store, component: &str, tag: &str, node: &NodeSpec, now: Timestamp) {
    let name = format!("{component}-{}", node.name);
    let image = format!("registry.k8s.io/{component}:{tag}");
    if let Some(kind) = kind(store, "pods") {
        let shown = store.get(&kind, "kube-system", &name).ok();
        if shown.is_some_and(|pod| pod["spec"]["containers"][0]["image"] != image.as_str()) {
            let at_once = Preconditions {
                grace_seconds: Some(0),
                ..Preconditions::default()
            };
            // It was there a moment ago.
            let _ = store.delete(&kind, "kube-system", &name, &at_once, now);
        }
    }
    let mut pod = json!({
        "metadata": {
            "name": name, "labels": {"component": component, "tier": "control-plane"},
            "annotations": {"kubernetes.io/config.mirror": ""},
        },
        "spec": {
            "nodeName": node.name, "hostNetwork": true, "priorityClassName": "system-node-critical",
            "containers": [{"name": component, "image": image}],
        },
    });
    if component == "etcd"
        && let Some(address) = &node.address
    {
        tell_members(&mut pod, &node.name, address);
    }
    put(store, "pods", "kube-system", pod, now);
    let since = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let status = json!({
        "phase": "Running", "hostIP": node.address, "podIP": node.address, "startTime": since,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}],
        "containerStatuses": [{"name": component, "image": image, "ready": true, "started": true, "restartCount": 0}],
    });
    write_status(store, "pods", "kube-system", &name, &status);
}

/// The kubelets of these nodes, and what else runs on them, renew the leases that they hold.
pub(crate) fn renew_leases(store: &mut Store, kubelets: &BTreeSet<String>, now: Timestamp) {
    let Some(kind) = kind(store, "leases") else {
        return;
    };
    let is_held = |lease: &&Value| {
        let holder = lease["spec"]["holderIdentity"].as_str();
        holder.is_some_and(|holder| kubelets.contains(holder))
    };
    let held: Vec<_> = ["kube-node-lease", "kube-system"]
        .into_iter()
        .flat_map(|namespace| {
            let leases = store.list(&kind, namespace, Selector::all()).filter(is_held);
            let names = leases.filter_map(|lease| lease["metadata"]["name"].as_str().map(str::to_owned));
            names.map(move |name| (namespace, name)).collect::<Vec<_>>()
        })
        .collect();
    let renewed = json!({"spec": {"renewTime": micros(now)}});
    for (namespace, name) in held {
        // It was there a moment ago.
        let _ = store.merge(&kind, namespace, &name, &renewed, Subresource::Main);
    }
}

fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// A lease as its holder takes it.
fn lease(store: &mut Store, namespace: &str, name: &str, holder: &str, seconds: u32, now: Timestamp) {
    let at = micros(now);
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": at, "renewTime": at});
    put(
        store,
        "leases",
        namespace,
        json!({"metadata": {"name": name}, "spec": spec}),
        now,
    );
}

/// The kubelet says that its node is Ready, or nobody hears of it any more.
pub(crate) fn set_ready(store: &mut Store, node: &str, is_ready: bool, now: Timestamp) {
    let condition = if is_ready {
        ready("True", "KubeletReady", "kubelet is posting ready status", now)
    } else {
        ready(
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
            now,
        )
    };
    let Some(mut status) = kind(store, "nodes")
        .and_then(|kind| store.get(&kind, "", node).ok())
        .map(|node| node["status"].clone())
    else {
        return;
    };
    if status["conditions"][0]["status"] == condition["status"] {
        return;
    }
    status["conditions"] = json!([condition]);
    write_status(store, "nodes", "", node, &status);
}

/// The names of all nodes.
pub(crate) fn nodes(store: &Store) -> Vec<String> {
    let kind = kind(store, "nodes");
    let nodes = kind.iter().flat_map(|kind| store.list(kind, "", Selector::all()));
    nodes
        .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

/// CoreDNS as kubeadm installs it, with none or both of its pods available.
pub(crate) fn set_dns(store: &mut Store, available: bool, now: Timestamp) {
    let labels = json!({"k8s-app": "kube-dns"});
    let deployment = json!({
        "metadata": {"name": "coredns", "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}},
    });
    put(store, "deployments", "kube-system", deployment, now);
    let replicas = if available { 2 } else { 0 };
    let status = json!({
        "observedGeneration": 1, "replicas": 2, "availableReplicas": replicas,
        "conditions": [{"type": "Available", "status": if available { "True" } else { "False" }}],
    });
    write_status(store, "deployments", "kube-system", "coredns", &status);
}

fn ready(status: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

fn kind(store: &Store, plural: &str) -> Option<Kind> {
    store.kinds().of_plural(plural).cloned()
}

/// Makes the object, unless it is there.
fn put(store: &mut Store, plural: &str, namespace: &str, object: Value, now: Timestamp) {
    if let Some(kind) = kind(store, plural) {
        // What is there already was made by an earlier attempt, and stays.
        let _ = store.create(&kind, namespace, object, now);
    }
}

fn write_status(store: &mut Store, plural: &str, namespace: &str, name: &str, status: &Value) {
    if let Some(kind) = kind(store, plural) {
        // What somebody deleted meanwhile has no status either.
        let _ = store.replace(
            &kind,
            namespace,
            name,
            json!({"metadata": {"name": name, "namespace": namespace}, "status": status}),
            Subresource::Status,
        );
    }
}
