//! Inputs that are right: what is filled in, and what is told from the first moment on.

use std::collections::BTreeSet;

use seedbed_tests::objects::condition;
use seedbed_tests::{Case, Cases, Objects, eventually};
use serde_json::{Value, json};

use seedbed_tests::inputs::{
    cluster, delete_clusters, host, no_digest, pool, release, setting, settled, simulated_host, upgrade, with,
};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("accepted: the sample as it stands", sample),
        Case::new(
            "accepted: the sample of an upgrade that is only planned",
            upgrade_sample,
        ),
        Case::new("accepted: what is left out is filled in by the schema", defaults),
        Case::new("accepted: every field of a spec", every_field),
        Case::new(
            "accepted: the checks of an upgrade, and what is filled in",
            checks,
        ),
        Case::new("accepted: a simulated host, and what is filled in", simulated),
        Case::new(
            "told: all conditions at the first sight, for every kind",
            first_sight,
        ),
        Case::new(
            "told: the generation that the status speaks of follows the spec",
            generation,
        ),
        Case::new("told: transitions are events, once each", events),
        Case::new(
            "done: the operator leaves the spec alone and cleans up what it made",
            clean,
        ),
        Case::new("done: a paused cluster is looked at and not touched", paused),
    ]
}

async fn sample(cases: Cases) {
    let file = seedbed_tests::root_of_checkout().join("config/samples/devcluster.yaml");
    let said = cases
        .seed
        .kubectl(&["apply", "--dry-run=server", "-f", file.to_str().unwrap()])
        .unwrap();
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(!said.contains("Warning"), "{said}");
}

/// The sample of an upgrade, and what is filled in.
async fn upgrade_sample(cases: Cases) {
    let file = seedbed_tests::root_of_checkout().join("config/samples/clusterupgrade-dryrun.yaml");
    let said = cases
        .seed
        .kubectl(&["apply", "--dry-run=server", "-f", file.to_str().unwrap()])
        .unwrap();
    assert!(said.contains("created") && !said.contains("Warning"), "{said}");
}

async fn defaults(cases: Cases) {
    let objects = Objects::new(cases.client, "default");
    let seen = objects.try_create(cluster("defaults", "local")).await.unwrap();
    let network =
        json!({"podCIDR": "10.244.0.0/16", "serviceCIDR": "10.96.0.0/16", "dnsDomain": "cluster.local"});
    assert_eq!(seen["spec"]["network"], network);
    assert_eq!(seen["spec"]["cni"], json!({"type": "Bridge"}));
    assert_eq!(seen["spec"]["deletionPolicy"], "Delete");
    assert_eq!(seen["spec"]["upgradeHistoryLimit"], 5);
    let seen = objects
        .try_create(with(pool("defaults", "x"), &json!({"spec": {"replicas": null}})))
        .await
        .unwrap();
    assert_eq!(seen["spec"]["replicas"], 1);
    assert_eq!(
        seen["spec"]["strategy"],
        json!({"maxSurge": 1, "maxUnavailable": 0})
    );
    assert_eq!(seen["spec"]["drainTimeoutSeconds"], 300);
    let change = json!({"spec": {"reservedMemory": null}});
    let seen = objects
        .try_create(with(host("defaults", "10.200.0.0/16"), &change))
        .await
        .unwrap();
    assert_eq!(seen["spec"]["reservedMemory"], "2Gi");
    assert_eq!(seen["spec"]["memoryOvercommitPercent"], 100);
    assert_eq!(seen["spec"]["diskOvercommitPercent"], 200);
    assert_eq!(seen["spec"]["orphanPolicy"], "Keep");
    let file = json!({"spec": {"files": [{"path": "/a", "content": "x"}]}});
    let seen = objects
        .try_create(with(cluster("defaults", "local"), &file))
        .await
        .unwrap();
    assert_eq!(seen["spec"]["files"][0]["permissions"], "0644");
}

/// A Job's spec is kept as it is, whatever stands in it.
async fn checks(cases: Cases) {
    let objects = Objects::new(cases.client, "default");
    let spec = json!({"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a"}]}}});
    let template = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": spec});
    let given = json!([
        {"name": "web", "httpGet": {"service": {"name": "web", "port": 443, "scheme": "HTTPS"}}},
        {"name": "smoke", "job": {"template": template}},
    ]);
    let change = json!({"spec": {"checks": given}});
    let seen = objects
        .try_create(with(upgrade("checks", "demo"), &change))
        .await
        .unwrap();
    let service = json!({"namespace": "default", "name": "web", "port": 443, "scheme": "HTTPS"});
    let expected = json!([
        {"name": "web", "httpGet": {"service": service, "path": "/"}},
        {"name": "smoke", "job": {"namespace": "default", "template": template}},
    ]);
    assert_eq!(seen["spec"]["checks"], expected);
}

async fn simulated(cases: Cases) {
    let file = seedbed_tests::root_of_checkout().join("config/samples/hypervisorhost-simulated.yaml");
    let said = cases
        .seed
        .kubectl(&["apply", "--dry-run=server", "-f", file.to_str().unwrap()])
        .unwrap();
    assert!(said.contains("created") && !said.contains("Warning"), "{said}");
    let objects = Objects::new(cases.client, "default");
    let mut given = simulated_host("simulated-defaults", "127.66.0.0/16");
    given["spec"]["simulated"] = json!({});
    let seen = objects.try_create(given).await.unwrap();
    let durations = json!({
        "boot": "4s", "apiServer": "6s", "init": "5s", "join": "4s", "nodeReady": "3s", "dns": "5s",
    });
    let filled_in = json!({
        "socket": "/run/seedbed/simulator.sock", "cpus": 64, "memory": "256Gi", "storage": "4Ti",
        "durations": durations, "hangs": false,
    });
    assert_eq!(seen["spec"]["simulated"], filled_in);
}

async fn every_field(cases: Cases) {
    let objects = Objects::new(cases.client, "default");
    let spec = json!({"spec": {
        "network": {"podCIDR": "10.112.0.0/12", "serviceCIDR": "10.97.0.0/20", "nodeCIDR": "10.65.7.0/24", "dnsDomain": "lab.example"},
        "cni": {"type": "None"},
        "apiServer": {"extraSANs": ["demo.example", "192.0.2.7", "*.demo.example"]},
        "controlPlane": {"nodeLabels": {"a": "b"}, "nodeTaints": []},
        "kubeadm": {"patches": [
            {"target": "ClusterConfiguration", "patch": "apiServer: {timeoutForControlPlane: 8m}"},
            {"target": "KubeletConfiguration", "type": "JSON6902", "patch": "[{op: add, path: /maxPods, value: 30}]"},
        ]},
        "containerd": {
            "registryMirrors": [{"registry": "docker.io", "endpoints": ["https://mirror.example/v2"]}],
            "trustedCAs": [{"name": "corp", "pem": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"}],
        },
        "files": [
            {"path": "/etc/a", "content": "x", "permissions": "0600"},
            {"path": "/etc/b", "contentFrom": {"name": "s", "key": "k"}},
        ],
        "preKubeadmCommands": ["true"],
        "postKubeadmCommands": ["true"],
        "ssh": {"authorizedKeys": ["ssh-ed25519 AAAA a"]},
        "paused": true,
        "deletionPolicy": "Retain",
        "upgradeHistoryLimit": 0,
    }});
    objects
        .try_create(with(cluster("every-field", "local"), &spec))
        .await
        .unwrap();
    let spec = json!({"spec": {
        "replicas": 0,
        "nodeLabels": {"a": "b"},
        "nodeTaints": [{"key": "a", "value": "b", "effect": "NoExecute"}],
        "kubeadm": {"patches": [{"target": "JoinConfiguration", "patch": "nodeRegistration: {}"}]},
        "files": [{"path": "/etc/a", "content": "x"}],
        "preKubeadmCommands": ["true"], "postKubeadmCommands": ["true"],
        "strategy": {"maxSurge": "25%", "maxUnavailable": 2},
        "drainTimeoutSeconds": 0,
        "holdVersion": true,
        "upgradeStrategy": "Replace",
    }});
    objects
        .try_create(with(pool("every-field", "x"), &spec))
        .await
        .unwrap();
}

fn types(object: &Value) -> BTreeSet<String> {
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions
        .iter()
        .map(|c| c["type"].as_str().unwrap().to_owned())
        .collect()
}

/// The first status that anybody sees has all conditions.
async fn first_sight(cases: Cases) {
    let objects = setting(&cases, "first-sight", "10.201.0.0/16").await;
    objects.create(cluster("a", "first-sight")).await.unwrap();
    objects.create(pool("a-workers", "a")).await.unwrap();
    objects
        .create(release("v1.98.0", "file:///nowhere", &no_digest(98)))
        .await
        .unwrap();
    let summary = ["Ready", "Progressing", "Stalled"];
    let of_cluster = [
        "SpecValid",
        "HostReachable",
        "ReleaseAvailable",
        "NetworkReady",
        "ControlPlaneInitialized",
        "ControlPlaneReady",
        "WorkersReady",
        "DNSReady",
        "VersionDrift",
        "NetworkPolicyEnforced",
    ];
    let wanted: [(&str, &str, &[&str]); 5] = [
        ("DevCluster", "a", &of_cluster),
        ("NodePool", "a-workers", &["UpToDate"]),
        (
            "DevMachine",
            "a-cp-0",
            &["InfrastructureReady", "Bootstrapped", "NodeReady"],
        ),
        ("HypervisorHost", "first-sight", &["HostReachable"]),
        ("KubernetesRelease", "v1.98.0", &["ReleaseAvailable"]),
    ];
    for (kind, name, own) in wanted {
        let first = eventually(&format!("{kind} {name} has conditions"), async || {
            let found = objects.find(kind, name).await.ok_or("nothing")?;
            if types(&found).is_empty() {
                Err("none".to_owned())
            } else {
                Ok(found)
            }
        })
        .await;
        let all: BTreeSet<String> = own.iter().chain(&summary).map(|t| (*t).to_owned()).collect();
        assert_eq!(types(&first), all, "{kind}");
        assert_eq!(
            first["status"]["observedGeneration"], first["metadata"]["generation"],
            "{kind}"
        );
    }
    let cluster = objects.get("DevCluster", "a").await;
    let policy = condition(&cluster, "NetworkPolicyEnforced").unwrap();
    assert_eq!(
        (policy.status.as_str(), policy.reason.as_str()),
        ("False", "BridgeDoesNotEnforce")
    );
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
    objects.delete("KubernetesRelease", "v1.98.0").await;
}

async fn generation(cases: Cases) {
    let objects = cases.namespace("generation").await;
    objects.create(cluster("a", "nowhere")).await.unwrap();
    objects
        .told("DevCluster", "a", "Stalled", "True", &["HostNotFound"])
        .await;
    let before = objects.get("DevCluster", "a").await;
    let changed = objects
        .change(
            "DevCluster",
            "a",
            &json!({"spec": {"hostRef": {"name": "neither"}}}),
        )
        .await
        .unwrap();
    let wanted = changed["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(wanted, before["metadata"]["generation"].as_i64().unwrap() + 1);
    let after = objects
        .told("DevCluster", "a", "Stalled", "True", &["neither"])
        .await;
    assert_eq!(after.observed_generation, wanted);
    let now = objects.get("DevCluster", "a").await;
    let time = |object: &Value| {
        let all = object["status"]["conditions"].as_array().unwrap();
        all.iter().find(|c| c["type"] == "Stalled").unwrap()["lastTransitionTime"].clone()
    };
    assert_eq!(
        time(&now),
        time(&before),
        "the status of the condition did not change, so neither did its time"
    );
}

async fn events(cases: Cases) {
    let objects = cases.namespace("events").await;
    objects.create(cluster("a", "events-host")).await.unwrap();
    objects
        .told("DevCluster", "a", "Stalled", "True", &["HostNotFound"])
        .await;
    objects
        .create(host("events-host", "10.202.0.0/16"))
        .await
        .unwrap();
    seedbed_tests::inputs::ensure_release(&objects).await;
    settled(&objects, "a").await;
    let found = eventually("an event says that the spec is valid", async || {
        let events = objects.list("Event", "").await;
        let of = |action: &str| {
            let wanted = |e: &&Value| e["regarding"]["kind"] == "DevCluster" && e["action"] == action;
            events.iter().filter(wanted).cloned().collect::<Vec<_>>()
        };
        let valid = of("SpecValid");
        if valid.is_empty() {
            Err(format!("{} events", events.len()))
        } else {
            Ok((valid, of("NetworkReady")))
        }
    })
    .await;
    for event in found.0.iter().chain(&found.1) {
        assert_eq!(event["regarding"]["name"], "a");
        assert!(!event["note"].as_str().unwrap_or_default().is_empty(), "{event}");
        assert!(
            event["reportingController"]
                .as_str()
                .is_some_and(|by| !by.is_empty()),
            "{event}"
        );
    }
    let good = found.0.iter().filter(|e| e["reason"] == "AsAsked").count();
    assert_eq!(good, 1, "{:?}", found.0);
    delete_clusters(&objects, &["a"]).await;
}

async fn clean(cases: Cases) {
    let objects = setting(&cases, "clean", "10.203.0.0/16").await;
    objects.create(cluster("a", "clean")).await.unwrap();
    objects.create(pool("a-workers", "a")).await.unwrap();
    settled(&objects, "a").await;
    objects
        .told(
            "DevMachine",
            "a-workers-0",
            "Ready",
            "False",
            &["InsufficientCapacity"],
        )
        .await;
    let made = objects.get("DevCluster", "a").await;
    assert_eq!(
        made["metadata"]["generation"], 1,
        "the operator does not write the spec"
    );
    let network = made["status"]["network"]["name"].as_str().unwrap().to_owned();
    assert!(
        made["status"]["network"]["nodeCIDR"]
            .as_str()
            .unwrap()
            .starts_with("10.203."),
        "{}",
        made["status"]
    );
    let networks = cases.seed.virsh(&["net-list", "--name"]).unwrap();
    assert!(networks.lines().any(|line| line.trim() == network), "{networks}");
    for name in ["a-ca", "a-etcd", "a-proxy", "a-sa"] {
        objects.get("Secret", name).await;
    }
    assert!(
        !objects.list("ConfigMap", "").await.is_empty(),
        "allocations are kept beside the status"
    );
    objects.delete("DevCluster", "a").await;
    objects.delete("NodePool", "a-workers").await;
    objects.gone(seedbed_tests::LIMIT, "DevCluster", "a").await;
    objects.gone(seedbed_tests::LIMIT, "NodePool", "a-workers").await;
    assert!(objects.list("DevMachine", "").await.is_empty());
    assert!(objects.list("Secret", "").await.is_empty());
    assert!(objects.list("ConfigMap", "").await.is_empty());
    let networks = cases.seed.virsh(&["net-list", "--all", "--name"]).unwrap();
    assert!(!networks.contains(&network), "{networks}");
}

async fn paused(cases: Cases) {
    let objects = setting(&cases, "paused", "10.204.0.0/16").await;
    objects
        .create(with(cluster("a", "paused"), &json!({"spec": {"paused": true}})))
        .await
        .unwrap();
    let told = objects
        .told("DevCluster", "a", "Ready", "False", &["Paused"])
        .await;
    assert!(told.message.contains("spec.paused"), "{told:?}");
    objects
        .told("DevCluster", "a", "HostReachable", "True", &[])
        .await;
    assert!(
        objects.list("Secret", "").await.is_empty(),
        "nothing is made while it is paused"
    );
    objects
        .change("DevCluster", "a", &json!({"spec": {"paused": false}}))
        .await
        .unwrap();
    settled(&objects, "a").await;
    delete_clusters(&objects, &["a"]).await;
}
