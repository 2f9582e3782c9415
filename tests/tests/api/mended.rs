//! What only the operator can see: it is told with what was found, and mending the input mends the object. Nothing is deleted.

use std::fs;

use seedbed_tests::objects::{condition, told};
use seedbed_tests::{Case, Cases, Objects, eventually};
use serde_json::{Value, json};

use seedbed_tests::inputs::{
    VERSION, cluster, delete_clusters, ensure_release, host, pool, setting, settled, upgrade, with,
};

/// The cases.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("mended: a host that does not exist", unknown_host),
        Case::new("mended: a release that does not exist", unknown_release),
        Case::new(
            "mended: a range of machines that another cluster has",
            range_in_use,
        ),
        Case::new("mended: a pod range among the host's addresses", range_of_host),
        Case::new("mended: no free range on the host", no_range),
        Case::new(
            "mended: a file whose Secret is missing, and then its key",
            missing_secret,
        ),
        Case::new("mended: a pool without its cluster", pool_without_cluster),
        Case::new("mended: an upgrade without its cluster", upgrade_without_cluster),
        Case::new(
            "told: a pool whose machines would have the control plane's names",
            pool_named_like_control_plane,
        ),
        Case::new("mended: a pool's patch that is wrong", pool_patch),
        Case::new("mended: not enough memory", memory),
        Case::new("mended: a host that cannot be reached", unreachable),
        Case::new("mended: a storage pool that does not exist", storage_pool),
        Case::new(
            "mended: a network of that name that is somebody else's, and is not touched",
            foreign_network,
        ),
        Case::new(
            "mended: a domain of that name that is somebody else's, and is not touched",
            foreign_domain,
        ),
    ];
    cases.extend(patches().into_iter().map(|(name, patch, parts)| {
        Case::new(format!("mended: {name}"), move |cases| {
            bad_patch(cases, name, patch, parts)
        })
    }));
    cases
}

async fn change(objects: &Objects, kind: &str, name: &str, spec: Value) {
    objects.change(kind, name, &json!({"spec": spec})).await.unwrap();
}

/// The spec's problem is told in `SpecValid` and in the summary, and kstatus sees a failure.
async fn invalid(objects: &Objects, cluster: &str, parts: &[&str]) {
    objects
        .told("DevCluster", cluster, "SpecValid", "False", parts)
        .await;
    objects
        .told("DevCluster", cluster, "Stalled", "True", parts)
        .await;
    objects.told("DevCluster", cluster, "Ready", "False", parts).await;
}

async fn valid(objects: &Objects, cluster: &str) {
    objects
        .told("DevCluster", cluster, "SpecValid", "True", &[])
        .await;
    objects.told("DevCluster", cluster, "Stalled", "False", &[]).await;
}

async fn unknown_host(cases: Cases) {
    let objects = cases.namespace("unknown-host").await;
    ensure_release(&objects).await;
    objects.create(cluster("a", "unknown-host")).await.unwrap();
    invalid(&objects, "a", &["HostNotFound", "spec.hostRef", "unknown-host"]).await;
    objects
        .create(host("unknown-host", "10.205.0.0/16"))
        .await
        .unwrap();
    valid(&objects, "a").await;
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
}

async fn unknown_release(cases: Cases) {
    let objects = setting(&cases, "unknown-release", "10.206.0.0/16").await;
    objects
        .create(with(
            cluster("a", "unknown-release"),
            &json!({"spec": {"version": "v1.2.3"}}),
        ))
        .await
        .unwrap();
    invalid(
        &objects,
        "a",
        &["ReleaseNotFound", "v1.2.3", "those that do", VERSION],
    )
    .await;
    change(&objects, "DevCluster", "a", json!({"version": VERSION})).await;
    valid(&objects, "a").await;
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
}

async fn range_in_use(cases: Cases) {
    let objects = setting(&cases, "range-in-use", "10.207.0.0/16").await;
    objects.create(cluster("a", "range-in-use")).await.unwrap();
    settled(&objects, "a").await;
    let first = objects.get("DevCluster", "a").await;
    let range = first["status"]["network"]["nodeCIDR"]
        .as_str()
        .unwrap()
        .to_owned();
    let spec = json!({"spec": {"network": {"nodeCIDR": range}}});
    objects
        .create(with(cluster("b", "range-in-use"), &spec))
        .await
        .unwrap();
    invalid(
        &objects,
        "b",
        &["CIDRInUse", "spec.network.nodeCIDR", &range, "in use on host"],
    )
    .await;
    change(
        &objects,
        "DevCluster",
        "b",
        json!({"network": {"nodeCIDR": null}}),
    )
    .await;
    valid(&objects, "b").await;
    settled(&objects, "b").await;
    let second = objects.get("DevCluster", "b").await;
    assert_ne!(
        second["status"]["network"]["nodeCIDR"],
        first["status"]["network"]["nodeCIDR"]
    );
    delete_clusters(&objects, &["a", "b"]).await;
}

async fn range_of_host(cases: Cases) {
    let objects = setting(&cases, "range-of-host", "10.208.0.0/16").await;
    let spec = json!({"spec": {"network": {"podCIDR": "10.208.0.0/18"}}});
    objects
        .create(with(cluster("a", "range-of-host"), &spec))
        .await
        .unwrap();
    invalid(
        &objects,
        "a",
        &[
            "CIDRInUse",
            "spec.network.podCIDR",
            "10.208.0.0/18",
            "nodeAddressRange",
            "10.208.0.0/16",
        ],
    )
    .await;
    change(
        &objects,
        "DevCluster",
        "a",
        json!({"network": {"podCIDR": "10.244.0.0/16"}}),
    )
    .await;
    valid(&objects, "a").await;
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
}

async fn no_range(cases: Cases) {
    let objects = setting(&cases, "no-range", "10.209.0.0/24").await;
    objects.create(cluster("a", "no-range")).await.unwrap();
    settled(&objects, "a").await;
    objects.create(cluster("b", "no-range")).await.unwrap();
    let said = ["10.209.0.0/24", "wider range"];
    eventually("it is told that no range is free", async || {
        let object = objects.get("DevCluster", "b").await;
        let found = ["Stalled", "Ready"]
            .iter()
            .filter_map(|type_| condition(&object, type_));
        let all = found
            .clone()
            .any(|c| c.reason == "AddressesExhausted" && said.iter().all(|p| c.message.contains(p)));
        if all { Ok(()) } else { Err(told(&object)) }
    })
    .await;
    objects
        .change(
            "HypervisorHost",
            "no-range",
            &json!({"spec": {"nodeAddressRange": "10.209.0.0/16"}}),
        )
        .await
        .unwrap();
    settled(&objects, "b").await;
    delete_clusters(&objects, &["a", "b"]).await;
}

async fn missing_secret(cases: Cases) {
    let objects = setting(&cases, "missing-secret", "10.210.0.0/16").await;
    let file =
        json!({"spec": {"files": [{"path": "/etc/a", "contentFrom": {"name": "mine", "key": "text"}}]}});
    objects
        .create(with(cluster("a", "missing-secret"), &file))
        .await
        .unwrap();
    invalid(
        &objects,
        "a",
        &["SecretNotFound", "/etc/a", "Secret mine", "does not exist"],
    )
    .await;
    let secret = json!({"kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"other": "x"}});
    objects.create(secret).await.unwrap();
    invalid(
        &objects,
        "a",
        &["SecretNotFound", "key text", "Secret mine", "no such key"],
    )
    .await;
    objects
        .change(
            "Secret",
            "mine",
            &json!({"stringData": {"text": "a-very-secret-text"}}),
        )
        .await
        .unwrap();
    valid(&objects, "a").await;
    let seen = objects.get("DevCluster", "a").await.to_string();
    assert!(!seen.contains("a-very-secret-text"));
    delete_clusters(&objects, &["a"]).await;
    objects.get("Secret", "mine").await;
}

async fn upgrade_without_cluster(cases: Cases) {
    let objects = setting(&cases, "upgrade-without-cluster", "10.230.0.0/16").await;
    objects.create(upgrade("a-next", "a")).await.unwrap();
    for (type_, status) in [
        ("Succeeded", "False"),
        ("Progressing", "False"),
        ("Stalled", "True"),
    ] {
        let parts: &[&str] = if status == "True" {
            &["ClusterNotFound", "no DevCluster named a"]
        } else {
            &[]
        };
        objects
            .told("ClusterUpgrade", "a-next", type_, status, parts)
            .await;
    }
    objects
        .create(cluster("a", "upgrade-without-cluster"))
        .await
        .unwrap();
    objects
        .told(
            "ClusterUpgrade",
            "a-next",
            "Succeeded",
            "False",
            &["NotInitialized", "planned when it is"],
        )
        .await;
    objects
        .told("ClusterUpgrade", "a-next", "Stalled", "False", &[])
        .await;
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
    objects
        .told(
            "ClusterUpgrade",
            "a-next",
            "Stalled",
            "True",
            &["ClusterNotFound"],
        )
        .await;
    objects.delete("ClusterUpgrade", "a-next").await;
    objects
        .gone(seedbed_tests::LIMIT, "ClusterUpgrade", "a-next")
        .await;
}

async fn pool_without_cluster(cases: Cases) {
    let objects = setting(&cases, "pool-alone", "10.211.0.0/16").await;
    objects.create(pool("p", "late")).await.unwrap();
    objects
        .told(
            "NodePool",
            "p",
            "Stalled",
            "True",
            &["ClusterNotFound", "no DevCluster named late"],
        )
        .await;
    objects.create(cluster("late", "pool-alone")).await.unwrap();
    objects.told("NodePool", "p", "Stalled", "False", &[]).await;
    objects
        .told("DevMachine", "p-0", "Ready", "False", &["InsufficientCapacity"])
        .await;
    delete_clusters(&objects, &["late"]).await;
    objects
        .told("NodePool", "p", "Stalled", "True", &["ClusterNotFound"])
        .await;
}

async fn pool_named_like_control_plane(cases: Cases) {
    let objects = setting(&cases, "pool-name", "10.212.0.0/16").await;
    objects.create(cluster("a", "pool-name")).await.unwrap();
    objects.create(pool("a-cp", "a")).await.unwrap();
    objects
        .told(
            "NodePool",
            "a-cp",
            "Stalled",
            "True",
            &["NameConflict", "a-cp", "another name"],
        )
        .await;
    settled(&objects, "a").await;
    let machines = objects.list("DevMachine", "").await;
    assert_eq!(machines.len(), 1, "only the control plane's");
    delete_clusters(&objects, &["a"]).await;
}

async fn pool_patch(cases: Cases) {
    let objects = setting(&cases, "pool-patch", "10.213.0.0/16").await;
    objects.create(cluster("a", "pool-patch")).await.unwrap();
    let wrong = json!({"kubeadm": {"patches": [{"target": "JoinConfiguration", "patch": "nodeRegistration: {nmae: x}"}]}});
    objects
        .create(with(pool("p", "a"), &json!({"spec": wrong})))
        .await
        .unwrap();
    objects
        .told("NodePool", "p", "Stalled", "True", &["InvalidPatch", "nmae"])
        .await;
    let right = json!({"kubeadm": {"patches": [{"target": "KubeletConfiguration", "patch": "maxPods: 30"}]}});
    change(&objects, "NodePool", "p", right).await;
    objects.told("NodePool", "p", "Stalled", "False", &[]).await;
    objects
        .told("DevMachine", "p-0", "Ready", "False", &["InsufficientCapacity"])
        .await;
    delete_clusters(&objects, &["a"]).await;
}

/// Wrong patches of a cluster, and what has to be said of each beside its number.
fn patches() -> Vec<(&'static str, Value, &'static [&'static str])> {
    vec![
        (
            "a patch that is no YAML",
            json!({"target": "ClusterConfiguration", "patch": "a: [b"}),
            &["InvalidPatch", "ClusterConfiguration"],
        ),
        (
            "a patch with an unknown field",
            json!({"target": "ClusterConfiguration", "patch": "apiServr: {}"}),
            &["InvalidPatch", "apiServr"],
        ),
        (
            "a patch of what the operator decides",
            json!({"target": "ClusterConfiguration", "patch": "controlPlaneEndpoint: elsewhere:6443"}),
            &["InvalidPatch", "controlPlaneEndpoint"],
        ),
        (
            "an operation on what is not there",
            json!({"target": "InitConfiguration", "type": "JSON6902", "patch": "[{op: remove, path: /nowhere}]"}),
            &["InvalidPatch", "/nowhere"],
        ),
        (
            "a patch with a number for a text",
            json!({"target": "ClusterConfiguration", "patch": "imageRepository: 7"}),
            &["InvalidPatch", "imageRepository", "expected a text"],
        ),
    ]
}

async fn bad_patch(cases: Cases, name: &'static str, patch: Value, parts: &'static [&'static str]) {
    let namespace = name.replace(' ', "-").to_lowercase();
    let objects = cases.namespace(&namespace).await;
    ensure_release(&objects).await;
    // One host for all of them: nothing is made on it before the patch is right.
    let _ = objects.create(host("patches", "10.214.0.0/16")).await;
    let spec = json!({"spec": {"kubeadm": {"patches": [patch]}}});
    objects
        .create(with(cluster("a", "patches"), &spec))
        .await
        .unwrap();
    invalid(&objects, "a", parts).await;
    assert!(
        objects.list("DevMachine", "").await.is_empty(),
        "no machine is made from it"
    );
    change(
        &objects,
        "DevCluster",
        "a",
        json!({"kubeadm": {"patches": [{"target": "KubeletConfiguration", "patch": "maxPods: 30"}]}}),
    )
    .await;
    valid(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
}

async fn memory(cases: Cases) {
    let objects = cases.namespace("memory").await;
    // Nothing to read for the so that no machine starts when there is room.
    ensure_release(&objects).await;
    objects.create(host("memory", "10.215.0.0/16")).await.unwrap();
    objects.create(cluster("a", "memory")).await.unwrap();
    let found = objects
        .told(
            "DevMachine",
            "a-cp-0",
            "Ready",
            "False",
            &["InsufficientCapacity"],
        )
        .await;
    for part in ["host memory", "3.0Gi", "memoryOvercommitPercent"] {
        assert!(found.message.contains(part), "no {part:?} in {}", found.message);
    }
    objects
        .told(
            "DevCluster",
            "a",
            "Ready",
            "False",
            &["InsufficientCapacity", "a-cp-0"],
        )
        .await;
    objects
        .change(
            "HypervisorHost",
            "memory",
            &json!({"spec": {"reservedMemory": "1Mi", "memoryOvercommitPercent": 1000}}),
        )
        .await
        .unwrap();
    let after = objects
        .mended("DevMachine", "a-cp-0", "Ready", "InsufficientCapacity")
        .await;
    assert_eq!(after.status, "False", "{after:?}");
    delete_clusters(&objects, &["a"]).await;
}

async fn unreachable(cases: Cases) {
    let objects = cases.namespace("unreachable").await;
    ensure_release(&objects).await;
    let wrong = json!({"spec": {"libvirt": {"uri": "qemu+tcp://127.0.0.1:1/system"}}});
    objects
        .create(with(host("unreachable", "10.216.0.0/16"), &wrong))
        .await
        .unwrap();
    objects
        .told(
            "HypervisorHost",
            "unreachable",
            "HostReachable",
            "Unknown",
            &["HostUnreachable", "127.0.0.1:1", "spec.libvirt.uri"],
        )
        .await;
    objects.create(cluster("a", "unreachable")).await.unwrap();
    objects
        .told(
            "DevCluster",
            "a",
            "HostReachable",
            "Unknown",
            &["HostUnreachable"],
        )
        .await;
    objects
        .change(
            "HypervisorHost",
            "unreachable",
            &json!({"spec": {"libvirt": {"uri": "qemu:///system"}}}),
        )
        .await
        .unwrap();
    objects
        .told("HypervisorHost", "unreachable", "Ready", "True", &[])
        .await;
    objects
        .told("DevCluster", "a", "HostReachable", "True", &[])
        .await;
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
}

async fn storage_pool(cases: Cases) {
    let objects = cases.namespace("storage-pool").await;
    let wrong = json!({"spec": {"libvirt": {"storagePool": "nowhere"}}});
    objects
        .create(with(host("storage-pool", "10.217.0.0/16"), &wrong))
        .await
        .unwrap();
    objects
        .told(
            "HypervisorHost",
            "storage-pool",
            "Stalled",
            "True",
            &["StoragePoolUnusable", "nowhere"],
        )
        .await;
    objects
        .change(
            "HypervisorHost",
            "storage-pool",
            &json!({"spec": {"libvirt": {"storagePool": "seedbed"}}}),
        )
        .await
        .unwrap();
    objects
        .told("HypervisorHost", "storage-pool", "Ready", "True", &[])
        .await;
    let seen = objects.get("HypervisorHost", "storage-pool").await;
    assert!(
        seen["status"]["resources"]["cpus"].as_i64().unwrap() > 0,
        "{seen}"
    );
    assert_eq!(
        seen["status"]["resources"]["memoryFree"], "0Mi",
        "all of it is reserved"
    );
}

async fn foreign_network(cases: Cases) {
    let objects = setting(&cases, "foreign-network", "10.220.0.0/16").await;
    let xml = "<network><name>foreign-network.a</name><description>somebody else's</description></network>";
    let file = cases.seed.instance().folder().join("foreign-network.xml");
    fs::write(&file, xml).unwrap();
    cases.seed.virsh(&["net-define", file.to_str().unwrap()]).unwrap();
    let before = cases.seed.virsh(&["net-dumpxml", "foreign-network.a"]).unwrap();
    objects.create(cluster("a", "foreign-network")).await.unwrap();
    objects
        .told(
            "DevCluster",
            "a",
            "NetworkReady",
            "False",
            &["NameConflict", "left alone"],
        )
        .await;
    objects
        .told("DevCluster", "a", "Stalled", "True", &["NameConflict"])
        .await;
    assert_eq!(
        cases.seed.virsh(&["net-dumpxml", "foreign-network.a"]).unwrap(),
        before
    );
    cases.seed.virsh(&["net-undefine", "foreign-network.a"]).unwrap();
    settled(&objects, "a").await;
    let ours = cases.seed.virsh(&["net-dumpxml", "foreign-network.a"]).unwrap();
    let uid = objects.get("DevCluster", "a").await["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(ours.contains(&uid), "{ours}");
    delete_clusters(&objects, &["a"]).await;
}

async fn foreign_domain(cases: Cases) {
    let objects = setting(&cases, "foreign-domain", "10.221.0.0/16").await;
    let xml = "<domain type='qemu'><name>foreign-domain.a-cp-0</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>";
    let file = cases.seed.instance().folder().join("foreign-domain.xml");
    fs::write(&file, xml).unwrap();
    cases.seed.virsh(&["define", file.to_str().unwrap()]).unwrap();
    let before = cases.seed.virsh(&["dumpxml", "foreign-domain.a-cp-0"]).unwrap();
    objects.create(cluster("a", "foreign-domain")).await.unwrap();
    objects
        .told(
            "DevMachine",
            "a-cp-0",
            "Stalled",
            "True",
            &["NameConflict", "left alone"],
        )
        .await;
    objects
        .told("DevCluster", "a", "Ready", "False", &["NameConflict"])
        .await;
    // Also the deletion of the cluster leaves it alone.
    delete_clusters(&objects, &["a"]).await;
    assert_eq!(
        cases.seed.virsh(&["dumpxml", "foreign-domain.a-cp-0"]).unwrap(),
        before
    );
    objects.create(cluster("a", "foreign-domain")).await.unwrap();
    objects
        .told("DevMachine", "a-cp-0", "Stalled", "True", &["NameConflict"])
        .await;
    cases.seed.virsh(&["undefine", "foreign-domain.a-cp-0"]).unwrap();
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
}
