//! Inputs that are right, to be made wrong in one place each.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::{Cases, LIMIT, Objects, TestSeed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The version that the clusters of these tests ask for.
pub const VERSION: &str = "v1.35.4";

/// A cluster as in config/samples.
pub fn cluster(name: &str, host: &str) -> Value {
    json!({
        "kind": "DevCluster",
        "metadata": {"name": name},
        "spec": {
            "version": VERSION,
            "hostRef": {"name": host},
            "controlPlane": {"replicas": 1, "machine": {"cpus": 2, "memory": "3Gi", "disk": "20Gi"}},
        },
    })
}

/// A pool as in config/samples.
pub fn pool(name: &str, cluster: &str) -> Value {
    json!({
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": cluster},
            "replicas": 1,
            "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"},
        },
    })
}

/// The plan of an upgrade to the next minor version, as in config/samples.
pub fn upgrade(name: &str, cluster: &str) -> Value {
    json!({
        "kind": "ClusterUpgrade",
        "metadata": {"name": name},
        "spec": {"clusterRef": {"name": cluster}, "version": "v1.36.3", "dryRun": true},
    })
}

/// The seed's own libvirtd as a host that has no memory to give.
pub fn host(name: &str, range: &str) -> Value {
    json!({
        "kind": "HypervisorHost",
        "metadata": {"name": name},
        "spec": {
            "libvirt": {"uri": "qemu:///system", "domainType": "qemu", "storagePool": "seedbed"},
            "nodeAddressRange": range,
            "reservedMemory": "100Ti",
        },
    })
}

/// A simulated host of a simulator that is not there.
pub fn simulated_host(name: &str, range: &str) -> Value {
    json!({
        "kind": "HypervisorHost",
        "metadata": {"name": name},
        "spec": {"simulated": {"socket": "/nowhere/simulator.sock"}, "nodeAddressRange": range},
    })
}

/// A release whose disk is at that place.
pub fn release(version: &str, url: &str, sha256: &str) -> Value {
    json!({
        "kind": "KubernetesRelease",
        "metadata": {"name": version},
        "spec": {
            "version": version,
            "guestImage": {"disk": {"url": url, "sha256": sha256}},
            "components": {"containerd": "v2.3.7", "etcd": "v3.6.6", "coredns": "v1.13.1"},
        },
    })
}

/// A digest that nothing has; another one for each number.
pub fn no_digest(number: u8) -> String {
    format!("{number:064x}")
}

/// The object with a change merged into it (RFC 7386).
pub fn with(mut object: Value, change: &Value) -> Value {
    merge(&mut object, change);
    object
}

fn merge(target: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// A namespace, and a host of the same name with a range of its own. The release that clusters ask for is there; its disk is not.
pub async fn setting(cases: &Cases, name: &str, range: &str) -> Objects {
    let objects = cases.namespace(name).await;
    objects.create(host(name, range)).await.unwrap();
    ensure_release(&objects).await;
    objects
}

/// Makes the release that clusters ask for where it is missing.
pub async fn ensure_release(objects: &Objects) {
    let made = objects
        .create(release(VERSION, "file:///nowhere/disk.qcow2", &no_digest(0)))
        .await;
    if let Err(message) = made {
        assert!(message.contains("already exists"), "{message}");
    }
}

/// Waits until a cluster has all that needs no memory: keys, network, and a machine that waits for room.
pub async fn settled(objects: &Objects, cluster: &str) {
    objects
        .told("DevCluster", cluster, "NetworkReady", "True", &[])
        .await;
    objects
        .told(
            "DevMachine",
            &format!("{cluster}-cp-0"),
            "Ready",
            "False",
            &["InsufficientCapacity"],
        )
        .await;
}

/// Deletes clusters and waits until they are gone, so that nothing of them is left on the seed's libvirt.
pub async fn delete_clusters(objects: &Objects, clusters: &[&str]) {
    for cluster in clusters {
        objects.delete("DevCluster", cluster).await;
    }
    for cluster in clusters {
        objects.gone(LIMIT, "DevCluster", cluster).await;
    }
}

/// A small disk image of that size, as qemu-img has it, and its digest.
pub fn disk(seed: &TestSeed, name: &str, size: &str) -> (PathBuf, String) {
    let folder = seed.instance().folder().join("disks");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&path)
        .arg(size)
        .status();
    assert!(made.unwrap().success());
    let digest = Sha256::digest(fs::read(&path).unwrap());
    let hex = digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    (path, hex)
}
