//! Objects as a user writes them and the API server hands them on, with the defaults of their schemas.

use seedbed_crds::{ClusterUpgrade, DevCluster, HypervisorHost, KubernetesRelease, NodePool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The guest image of every release, and its upgrade disk: an empty one, which is as good as any in a simulation.
const DISK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/disk.qcow2");
const DISK_SHA256: &str = "625777861396497c2a0188cf6b22473a3e2113f363ed8a3b96b4bdc29a248814";

/// A cluster of that version on that host, with one control plane.
pub fn cluster(name: &str, host: &str, version: &str) -> Value {
    with_defaults::<DevCluster>(json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "DevCluster", "metadata": {"name": name},
        "spec": {
            "version": version, "hostRef": {"name": host},
            "controlPlane": {"replicas": 1, "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"}},
        },
    }))
}

/// So many workers of that cluster.
pub fn pool(name: &str, cluster: &str, replicas: u64) -> Value {
    with_defaults::<NodePool>(json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "NodePool", "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": cluster}, "replicas": replicas,
            "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"},
        },
    }))
}

/// The plan of an upgrade of that cluster to that version.
pub fn upgrade(name: &str, cluster: &str, version: &str) -> Value {
    with_defaults::<ClusterUpgrade>(json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "ClusterUpgrade", "metadata": {"name": name},
        "spec": {"clusterRef": {"name": cluster}, "version": version, "dryRun": true},
    }))
}

/// An upgrade of that cluster to that version, whose control plane is watched for a short while.
pub fn carried_out(name: &str, cluster: &str, version: &str) -> Value {
    with_defaults::<ClusterUpgrade>(json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "ClusterUpgrade", "metadata": {"name": name},
        "spec": {"clusterRef": {"name": cluster}, "version": version, "soak": "20s"},
    }))
}

/// A check of an upgrade: a Job with that command.
pub fn job_check(name: &str, command: &[&str]) -> Value {
    let container = json!({"name": "check", "image": "check", "command": command});
    let spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}});
    json!({"name": name, "job": {"namespace": "default", "template": {"spec": spec}}})
}

/// A host whose machines have addresses of that range.
pub fn host(name: &str, range: &str) -> Value {
    with_defaults::<HypervisorHost>(json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "HypervisorHost", "metadata": {"name": name},
        "spec": {
            "libvirt": {"uri": format!("qemu+tls://{name}/system"), "domainType": "kvm", "storagePool": "seedbed"},
            "nodeAddressRange": range,
        },
    }))
}

/// A release of that version.
pub fn release(version: &str) -> Value {
    with_defaults::<KubernetesRelease>(json!({
        "apiVersion": "seedbed.dev/v1alpha1", "kind": "KubernetesRelease", "metadata": {"name": version},
        "spec": {
            "version": version,
            "guestImage": {"disk": {"url": format!("file://{DISK}"), "sha256": DISK_SHA256}},
            "upgradeDisk": {"url": format!("file://{DISK}"), "sha256": DISK_SHA256},
            "components": {"containerd": "v2.3.7", "etcd": "v3.6.6", "coredns": "v1.13.1"},
        },
    }))
}

fn with_defaults<K: DeserializeOwned + Serialize>(given: Value) -> Value {
    let object: K = serde_json::from_value(given).expect("an object of its kind");
    serde_json::to_value(object).expect("an object that can be written")
}
