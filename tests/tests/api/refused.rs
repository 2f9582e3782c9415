//! Inputs that the API server refuses at once, with a message that names the field, the value or the rule.

use seedbed_tests::{Case, Cases, Objects};
use serde_json::{Value, json};

use seedbed_tests::inputs::{cluster, host, no_digest, pool, release, simulated_host, upgrade, with};

/// A wrong input, and what the API server's message has to have in it.
type Wrong = (&'static str, Value, &'static [&'static str]);

/// One case for each wrong input, and those that take more than one request.
pub fn cases() -> Vec<Case> {
    let tables = [
        clusters(),
        networks(),
        nodes(),
        pools(),
        hosts(),
        simulated_hosts(),
        releases(),
        upgrades(),
    ];
    let mut cases: Vec<Case> = tables.into_iter().flatten().map(refused).collect();
    cases.push(Case::new(
        "refused: an unknown field, by kubectl apply",
        unknown_field,
    ));
    cases.push(Case::new(
        "refused: a pool that moves to another cluster",
        pool_that_moves,
    ));
    cases.push(Case::new(
        "refused: an upgrade to another version, or of another cluster",
        upgrade_that_changes,
    ));
    cases.push(Case::new("refused: another kind for a host", kind_that_changes));
    cases.push(Case::new(
        "refused: another spec for a machine",
        machine_that_changes,
    ));
    cases.push(Case::new(
        "refused: what an initialised cluster was made from",
        initialised,
    ));
    cases
}

fn refused((name, object, parts): Wrong) -> Case {
    Case::new(format!("refused: {name}"), move |cases| async move {
        let objects = Objects::new(cases.client, "default");
        let message = objects
            .try_create(object.clone())
            .await
            .expect_err("it was accepted");
        for part in parts {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(message.contains(name), "the object is not named in: {message}");
    })
}

fn clusters() -> Vec<Wrong> {
    let wrong = |change: Value| with(cluster("wrong", "local"), &json!({"spec": change}));
    let long = "a".repeat(41);
    vec![
        (
            "a version without its patch level",
            wrong(json!({"version": "v1.35"})),
            &["spec.version", "v1.35", "^v1"],
        ),
        (
            "no host",
            wrong(json!({"hostRef": null})),
            &["spec.hostRef: Required value"],
        ),
        (
            "a host without a name",
            wrong(json!({"hostRef": {"name": ""}})),
            &["spec.hostRef.name", "at least 1"],
        ),
        (
            "three control planes",
            wrong(json!({"controlPlane": {"replicas": 3}})),
            &["spec.controlPlane", "replicas must be 1"],
        ),
        (
            "one processor",
            wrong(json!({"controlPlane": {"machine": {"cpus": 1}}})),
            &["spec.controlPlane", "cpus must be at least 2"],
        ),
        (
            "no processor",
            wrong(json!({"controlPlane": {"machine": {"cpus": 0}}})),
            &["spec.controlPlane.machine.cpus", "greater than or equal to 1"],
        ),
        (
            "little memory",
            wrong(json!({"controlPlane": {"machine": {"memory": "1Gi"}}})),
            &["spec.controlPlane", "memory must be at least 1700Mi"],
        ),
        (
            "memory that is no quantity",
            wrong(json!({"controlPlane": {"machine": {"memory": "much"}}})),
            &["spec.controlPlane.machine.memory", "much"],
        ),
        (
            "a small disk",
            wrong(json!({"controlPlane": {"machine": {"disk": "2Gi"}}})),
            &["spec.controlPlane", "disk must be at least 8Gi"],
        ),
        (
            "a text for a number",
            wrong(json!({"controlPlane": {"machine": {"cpus": "two"}}})),
            &["spec.controlPlane.machine.cpus", "integer"],
        ),
        (
            "fewer than no upgrades that are kept",
            wrong(json!({"upgradeHistoryLimit": -1})),
            &["spec.upgradeHistoryLimit", "greater than or equal to 0"],
        ),
        (
            "a dot in the name",
            with(cluster("my.cluster", "local"), &json!({})),
            &["a DevCluster's name has no dots"],
        ),
        (
            "a long name",
            with(cluster(&long, "local"), &json!({})),
            &["at most 40 characters"],
        ),
        (
            "a network plugin that is not offered",
            wrong(json!({"cni": {"type": "Cilium"}})),
            &["spec.cni.type", "Cilium", "Bridge", "None"],
        ),
        (
            "a deletion policy that there is not",
            wrong(json!({"deletionPolicy": "Keep"})),
            &["spec.deletionPolicy", "Keep", "Retain"],
        ),
        (
            "a name of the API server with a blank",
            wrong(json!({"apiServer": {"extraSANs": ["a b"]}})),
            &["spec.apiServer.extraSANs[0]", "a b"],
        ),
        (
            "a mirror that is no URL",
            wrong(
                json!({"containerd": {"registryMirrors": [{"registry": "docker.io", "endpoints": ["ftp://x"]}]}}),
            ),
            &["spec.containerd.registryMirrors[0].endpoints[0]", "ftp://x"],
        ),
        (
            "an authority that is no certificate",
            wrong(json!({"containerd": {"trustedCAs": [{"name": "corp", "pem": "no"}]}})),
            &["spec.containerd.trustedCAs[0].pem"],
        ),
    ]
}

fn networks() -> Vec<Wrong> {
    let wrong = |change: Value| with(cluster("wrong", "local"), &json!({"spec": {"network": change}}));
    vec![
        (
            "a pod range that is an address",
            wrong(json!({"podCIDR": "10.244.0.0"})),
            &["spec.network.podCIDR", "must be an IPv4 range"],
        ),
        (
            "a pod range with bits of a host",
            wrong(json!({"podCIDR": "10.244.0.1/16"})),
            &["spec.network.podCIDR", "whose address is the first of it"],
        ),
        (
            "a pod range of IPv6",
            wrong(json!({"podCIDR": "fd00::/48"})),
            &["spec.network.podCIDR", "must be an IPv4 range"],
        ),
        (
            "a pod range for less than four nodes",
            wrong(json!({"podCIDR": "10.244.0.0/24"})),
            &["network.podCIDR must be /22 or larger"],
        ),
        (
            "pods among Services",
            wrong(json!({"podCIDR": "10.96.0.0/16"})),
            &["network.podCIDR and network.serviceCIDR overlap"],
        ),
        (
            "Services among pods",
            wrong(json!({"serviceCIDR": "10.244.8.0/22"})),
            &["network.podCIDR and network.serviceCIDR overlap"],
        ),
        (
            "a wide Service range",
            wrong(json!({"serviceCIDR": "11.0.0.0/8"})),
            &["network.serviceCIDR must be between /12 and /24"],
        ),
        (
            "machines among pods",
            wrong(json!({"nodeCIDR": "10.244.3.0/24"})),
            &["network.nodeCIDR and network.podCIDR overlap"],
        ),
        (
            "machines among Services",
            wrong(json!({"nodeCIDR": "10.96.3.0/24"})),
            &["network.nodeCIDR and network.serviceCIDR overlap"],
        ),
        (
            "a narrow range of machines",
            wrong(json!({"nodeCIDR": "10.64.0.0/27"})),
            &["network.nodeCIDR must be between /16 and /26"],
        ),
        (
            "a DNS domain with capitals",
            wrong(json!({"dnsDomain": "Cluster.Local"})),
            &["spec.network.dnsDomain", "Cluster.Local"],
        ),
    ]
}

fn nodes() -> Vec<Wrong> {
    let wrong = |change: Value| with(cluster("wrong", "local"), &json!({"spec": change}));
    let taint = json!({"controlPlane": {"nodeTaints": [{"key": "a", "effect": "Never"}]}});
    let patch = |patch: Value| json!({"kubeadm": {"patches": [patch]}});
    vec![
        (
            "a taint with an effect that there is not",
            wrong(taint),
            &["spec.controlPlane.nodeTaints[0].effect", "Never", "NoSchedule"],
        ),
        (
            "a file with two contents",
            wrong(
                json!({"files": [{"path": "/a", "content": "x", "contentFrom": {"name": "s", "key": "k"}}]}),
            ),
            &["spec.files[0]", "either content or contentFrom"],
        ),
        (
            "a file without content",
            wrong(json!({"files": [{"path": "/a"}]})),
            &["spec.files[0]", "either content or contentFrom"],
        ),
        (
            "a file at a relative path",
            wrong(json!({"files": [{"path": "etc/a", "content": "x"}]})),
            &["spec.files[0].path", "etc/a"],
        ),
        (
            "a file with odd permissions",
            wrong(json!({"files": [{"path": "/a", "content": "x", "permissions": "999"}]})),
            &["spec.files[0].permissions", "999"],
        ),
        (
            "an empty command",
            wrong(json!({"preKubeadmCommands": [""]})),
            &["spec.preKubeadmCommands[0]", "at least 1"],
        ),
        (
            "a patch of a document that there is not",
            wrong(patch(json!({"target": "ResetConfiguration", "patch": "a: b"}))),
            &[
                "spec.kubeadm.patches[0].target",
                "ResetConfiguration",
                "ClusterConfiguration",
            ],
        ),
        (
            "a patch of a type that there is not",
            wrong(patch(
                json!({"target": "InitConfiguration", "type": "Merge", "patch": "a: b"}),
            )),
            &["spec.kubeadm.patches[0].type", "StrategicMerge", "JSON6902"],
        ),
        (
            "an empty patch",
            wrong(patch(json!({"target": "InitConfiguration", "patch": ""}))),
            &["spec.kubeadm.patches[0].patch", "at least 1"],
        ),
    ]
}

fn pools() -> Vec<Wrong> {
    let wrong = |change: Value| with(pool("wrong", "demo"), &json!({"spec": change}));
    vec![
        (
            "less than no workers",
            wrong(json!({"replicas": -1})),
            &["spec.replicas", "-1", "greater than or equal to 0"],
        ),
        (
            "too many workers",
            wrong(json!({"replicas": 201})),
            &["spec.replicas", "less than or equal to 200"],
        ),
        (
            "a worker with little memory",
            wrong(json!({"machine": {"memory": "512Mi"}})),
            &["machine.memory must be at least 1Gi"],
        ),
        (
            "a worker with a small disk",
            wrong(json!({"machine": {"disk": "1Gi"}})),
            &["machine.disk must be at least 8Gi"],
        ),
        (
            "a rollout that cannot begin",
            wrong(json!({"strategy": {"maxSurge": 0, "maxUnavailable": "0%"}})),
            &["spec.strategy", "cannot both be 0"],
        ),
        (
            "a surge of more than all",
            wrong(json!({"strategy": {"maxSurge": "150%"}})),
            &["spec.strategy.maxSurge", "percentage from 0% to 100%"],
        ),
        (
            "the cluster's document in a pool",
            wrong(json!({"kubeadm": {"patches": [{"target": "ClusterConfiguration", "patch": "a: b"}]}})),
            &["spec.kubeadm", "JoinConfiguration or KubeletConfiguration"],
        ),
        (
            "a drain before it began",
            wrong(json!({"drainTimeoutSeconds": -1})),
            &["spec.drainTimeoutSeconds"],
        ),
        (
            "a pool without a cluster",
            wrong(json!({"clusterRef": null})),
            &["spec.clusterRef: Required value"],
        ),
        (
            "a pool with a dot in its name",
            pool("a.b", "demo"),
            &["a NodePool's name has no dots"],
        ),
    ]
}

fn simulated_hosts() -> Vec<Wrong> {
    let wrong = |change: Value| with(simulated_host("wrong", "127.64.0.0/16"), &json!({"spec": change}));
    vec![
        (
            "a host of no kind",
            wrong(json!({"simulated": null})),
            &["spec", "exactly one of libvirt and simulated"],
        ),
        (
            "a host of two kinds",
            with(
                host("wrong", "127.64.0.0/16"),
                &json!({"spec": {"simulated": {}}}),
            ),
            &["spec", "exactly one of libvirt and simulated"],
        ),
        (
            "a simulated host whose addresses are not on loopback",
            wrong(json!({"nodeAddressRange": "10.64.0.0/16"})),
            &["spec", "within 127.0.0.0/8"],
        ),
        (
            "a simulated host with this machine's own address",
            wrong(json!({"nodeAddressRange": "127.0.0.0/16"})),
            &["spec", "without 127.0.0.1"],
        ),
        (
            "a duration without a unit",
            wrong(json!({"simulated": {"durations": {"boot": "4"}}})),
            &["spec.simulated.durations.boot"],
        ),
        (
            "a simulated host's memory in other units",
            wrong(json!({"simulated": {"memory": "256GB"}})),
            &["spec.simulated.memory", "256GB"],
        ),
        (
            "a socket that is no absolute path",
            wrong(json!({"simulated": {"socket": "simulator.sock"}})),
            &["spec.simulated.socket"],
        ),
    ]
}

async fn kind_that_changes(cases: Cases) {
    let objects = Objects::new(cases.client, "default");
    objects
        .create(simulated_host("kind-that-changes", "127.65.0.0/16"))
        .await
        .unwrap();
    let change = json!({"spec": {
        "simulated": null, "libvirt": {"uri": "qemu:///system", "domainType": "kvm", "storagePool": "seedbed"},
    }});
    let message = objects
        .change("HypervisorHost", "kind-that-changes", &change)
        .await
        .expect_err("it was accepted");
    assert!(
        message.contains("the kind of a host cannot be changed"),
        "{message}"
    );
    objects.delete("HypervisorHost", "kind-that-changes").await;
}

fn hosts() -> Vec<Wrong> {
    let wrong = |change: Value| with(host("wrong", "10.200.0.0/16"), &json!({"spec": change}));
    vec![
        (
            "a hypervisor that is not supported",
            wrong(json!({"libvirt": {"uri": "xen:///system"}})),
            &["spec.libvirt.uri", "xen:///system"],
        ),
        (
            "a domain type that there is not",
            wrong(json!({"libvirt": {"domainType": "xen"}})),
            &["spec.libvirt.domainType", "kvm", "qemu"],
        ),
        (
            "no storage pool",
            wrong(json!({"libvirt": {"storagePool": null}})),
            &["spec.libvirt.storagePool: Required value"],
        ),
        (
            "a range for less than one cluster",
            wrong(json!({"nodeAddressRange": "10.200.0.0/25"})),
            &["spec.nodeAddressRange", "between /8 and /24"],
        ),
        (
            "memory in other units",
            wrong(json!({"reservedMemory": "2GB"})),
            &["spec.reservedMemory", "2GB"],
        ),
        (
            "no memory to give",
            wrong(json!({"memoryOvercommitPercent": 0})),
            &["spec.memoryOvercommitPercent", "greater than or equal to 1"],
        ),
        (
            "orphans at once",
            wrong(json!({"orphanGracePeriodSeconds": 1})),
            &["spec.orphanGracePeriodSeconds", "greater than or equal to 60"],
        ),
    ]
}

fn releases() -> Vec<Wrong> {
    let right = || release("v1.99.0", "file:///disk", &no_digest(0));
    let wrong = |change: Value| with(right(), &json!({"spec": change}));
    let artefact = json!({"url": "file:///a", "sha256": no_digest(0)});
    vec![
        (
            "a release of another name",
            with(right(), &json!({"metadata": {"name": "mine"}})),
            &["a KubernetesRelease is named like its spec.version"],
        ),
        (
            "a short digest",
            wrong(json!({"guestImage": {"disk": {"sha256": "abc"}}})),
            &["spec.guestImage.disk.sha256"],
        ),
        (
            "a place that cannot be read",
            wrong(json!({"guestImage": {"disk": {"url": "ftp://x/y"}}})),
            &["spec.guestImage.disk.url", "ftp://x/y"],
        ),
        (
            "a kernel without its initrd",
            wrong(json!({"guestImage": {"kernel": artefact}})),
            &["spec.guestImage", "kernel and initrd are given together"],
        ),
        (
            "arguments without a kernel",
            wrong(json!({"guestImage": {"kernelArguments": "quiet"}})),
            &["spec.guestImage", "kernelArguments need a kernel"],
        ),
        (
            "an image without a digest",
            wrong(json!({"containerImages": [{"name": "a", "digest": "latest"}]})),
            &["spec.containerImages[0].digest", "latest"],
        ),
    ]
}

fn upgrades() -> Vec<Wrong> {
    let wrong = |change: Value| with(upgrade("wrong", "demo"), &json!({"spec": change}));
    vec![
        (
            "a dry run that is cancelled",
            wrong(json!({"dryRun": true, "cancel": true})),
            &["spec.cancel has nothing to cancel with dryRun"],
        ),
        (
            "an upgrade that is watched for no length of time",
            wrong(json!({"soak": "long"})),
            &["spec.soak", "long"],
        ),
        (
            "a check that asks nothing",
            wrong(json!({"checks": [{"name": "a"}]})),
            &["spec.checks[0]", "a check has either httpGet or job"],
        ),
        (
            "a check that asks two things",
            wrong(json!({"checks": [{
                "name": "a", "httpGet": {"service": {"name": "web", "port": 80}}, "job": {"template": {"spec": {}}},
            }]})),
            &["spec.checks[0]", "a check has either httpGet or job"],
        ),
        (
            "two checks of one name",
            wrong(json!({"checks": [
                {"name": "a", "job": {"template": {"spec": {}}}}, {"name": "a", "job": {"template": {"spec": {}}}},
            ]})),
            &["spec.checks[1]", "Duplicate value"],
        ),
        (
            "a check whose name is none of a Job",
            wrong(json!({"checks": [{"name": "A_b", "job": {"template": {"spec": {}}}}]})),
            &["spec.checks[0].name", "A_b"],
        ),
        (
            "a check of a port that there is not",
            wrong(json!({"checks": [{"name": "a", "httpGet": {"service": {"name": "web", "port": 0}}}]})),
            &[
                "spec.checks[0].httpGet.service.port",
                "greater than or equal to 1",
            ],
        ),
        (
            "a check of a path that is none",
            wrong(json!({"checks": [{
                "name": "a", "httpGet": {"service": {"name": "web", "port": 80}, "path": "healthz"},
            }]})),
            &["spec.checks[0].httpGet.path", "healthz"],
        ),
        (
            "a check whose Job has no spec",
            wrong(json!({"checks": [{"name": "a", "job": {"template": {}}}]})),
            &["spec.checks[0].job.template.spec: Required value"],
        ),
        (
            "an upgrade that nobody knows how to approve",
            wrong(json!({"approval": "Perhaps"})),
            &["spec.approval", "Perhaps", "Manual"],
        ),
        (
            "an upgrade to a version without its patch level",
            wrong(json!({"version": "v1.36"})),
            &["spec.version", "v1.36", "^v1"],
        ),
        (
            "an upgrade of no cluster",
            wrong(json!({"clusterRef": null})),
            &["spec.clusterRef: Required value"],
        ),
        (
            "an upgrade without a check that there is not",
            wrong(json!({"skipPreflight": ["Everything"]})),
            &["spec.skipPreflight[0]", "Everything", "NodesReady"],
        ),
        (
            "an upgrade without a check twice",
            wrong(json!({"skipPreflight": ["NodesReady", "NodesReady"]})),
            &["spec.skipPreflight[1]", "Duplicate value"],
        ),
        (
            "an upgrade that does something else after a failure",
            wrong(json!({"onFailureAfterCommit": "Retry"})),
            &["spec.onFailureAfterCommit", "Retry", "RestoreSnapshot"],
        ),
        (
            "an upgrade without a check that every upgrade needs",
            wrong(json!({"skipPreflight": ["Release"]})),
            &["VersionPath, Skew and Release cannot be skipped"],
        ),
    ]
}

async fn upgrade_that_changes(cases: Cases) {
    let objects = cases.namespace("upgrade-that-changes").await;
    objects.create(upgrade("a", "one")).await.unwrap();
    for (change, part) in [
        (json!({"version": "v1.36.4"}), "spec.version cannot be changed"),
        (json!({"dryRun": false}), "spec.dryRun cannot be changed"),
        (
            json!({"clusterRef": {"name": "two"}}),
            "spec.clusterRef cannot be changed",
        ),
    ] {
        let message = objects
            .change("ClusterUpgrade", "a", &json!({"spec": change}))
            .await
            .unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    for change in [
        json!({"skipPreflight": ["HostCapacity"]}),
        json!({"onFailureAfterCommit": "RestoreSnapshot"}),
    ] {
        let change = json!({"spec": change});
        objects.change("ClusterUpgrade", "a", &change).await.unwrap();
    }
}

async fn unknown_field(cases: Cases) {
    let text = "apiVersion: seedbed.dev/v1alpha1\nkind: DevCluster\nmetadata: {name: wrong}\nspec:\n  verison: v1.35.4\n  hostRef: {name: local}\n  controlPlane: {machine: {cpus: 2, memory: 3Gi, disk: 20Gi}}\n";
    let message = cases.seed.kubectl_with(&["apply"], text).unwrap_err();
    assert!(message.contains("unknown field \"spec.verison\""), "{message}");
}

async fn pool_that_moves(cases: Cases) {
    let objects = cases.namespace("pool-that-moves").await;
    objects.create(pool("a", "one")).await.unwrap();
    let change = json!({"spec": {"clusterRef": {"name": "two"}}});
    let message = objects.change("NodePool", "a", &change).await.unwrap_err();
    assert!(message.contains("spec.clusterRef cannot be changed"), "{message}");
    objects
        .change("NodePool", "a", &json!({"spec": {"replicas": 2}}))
        .await
        .unwrap();
}

async fn machine_that_changes(cases: Cases) {
    let objects = cases.namespace("machine-that-changes").await;
    let machine = json!({
        "kind": "DevMachine",
        "metadata": {"name": "a"},
        "spec": {
            "clusterRef": {"name": "none"}, "hostRef": {"name": "none"}, "role": "Worker", "version": "v1.35.4",
            "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"}, "templateHash": "x",
        },
    });
    objects.create(machine).await.unwrap();
    let change = json!({"spec": {"machine": {"cpus": 4}}});
    let message = objects.change("DevMachine", "a", &change).await.unwrap_err();
    assert!(
        message.contains("the spec of a DevMachine cannot be changed"),
        "{message}"
    );
}

/// The operator says in the status that a control plane was initialised; from then on the rules hold.
async fn initialised(cases: Cases) {
    let objects = cases.namespace("initialised").await;
    objects
        .create(with(cluster("a", "nowhere"), &json!({"spec": {"paused": true}})))
        .await
        .unwrap();
    objects
        .told("DevCluster", "a", "Ready", "False", &["Paused"])
        .await;
    let free = json!({"spec": {"version": "v1.35.3"}});
    objects
        .change("DevCluster", "a", &free)
        .await
        .expect("before it is initialised, everything can be mended");
    objects
        .change_status("DevCluster", "a", &json!({"status": {"initialized": true}}))
        .await
        .unwrap();
    let changes = [
        (
            json!({"hostRef": {"name": "other"}}),
            "spec.hostRef cannot be changed",
        ),
        (
            json!({"controlPlane": {"machine": {"memory": "4Gi"}}}),
            "spec.controlPlane cannot be changed",
        ),
        (
            json!({"network": {"podCIDR": "10.248.0.0/16"}}),
            "spec.network cannot be changed",
        ),
        (json!({"cni": {"type": "None"}}), "spec.cni cannot be changed"),
        (
            json!({"apiServer": {"extraSANs": ["a.example"]}}),
            "spec.apiServer cannot be changed",
        ),
        (
            json!({"kubeadm": {"patches": []}}),
            "spec.kubeadm cannot be changed",
        ),
    ];
    for (change, part) in changes {
        let change = json!({"spec": change});
        let message = objects.change("DevCluster", "a", &change).await.expect_err(part);
        assert!(message.contains(part), "{message}");
    }
    let allowed =
        json!({"spec": {"version": "v1.36.1", "deletionPolicy": "Retain", "postKubeadmCommands": ["true"]}});
    objects.change("DevCluster", "a", &allowed).await.unwrap();
}
