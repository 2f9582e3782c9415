//! From nothing to two Ready nodes, with the operator killed on the way.

use seedbed_seed::OPERATOR_UNIT;
use seedbed_tests::objects::{condition, told};
use seedbed_tests::{Cases, Objects};
use serde_json::Value;

use super::lab::{
    CLUSTER, CONTROL_PLANE, CREATION, POOL, WORKER, child, is_ready, objects, one_job_for_each_attempt,
    sample, say, wait,
};

/// What must not change, whatever is killed.
#[derive(Debug, PartialEq)]
struct Identity {
    uid: Value,
    domain: String,
    provider: Value,
    addresses: Value,
}

async fn identity(cases: &Cases, objects: &Objects, machine: &str) -> Identity {
    let object = objects.get("DevMachine", machine).await;
    let domain = cases
        .seed
        .virsh(&["domuuid", &format!("default.{machine}")])
        .unwrap();
    Identity {
        uid: object["metadata"]["uid"].clone(),
        domain: domain.trim().to_owned(),
        provider: object["status"]["providerID"].clone(),
        addresses: object["status"]["addresses"].clone(),
    }
}

/// Waits until kubeadm is at work on a machine; fails if that was missed.
async fn bootstrapping(cases: &Cases, objects: &Objects, machine: &str, what: &str) {
    wait(cases, CREATION, what, async || {
        let object = objects.find("DevMachine", machine).await.ok_or("no machine")?;
        let phase = object["status"]["bootstrap"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        match phase.as_str() {
            "Started" => Ok(()),
            "Succeeded" | "Failed" => {
                panic!("{machine}: kubeadm was {phase} before the operator could be killed")
            }
            _ => Err(told(&object)),
        }
    })
    .await;
}

/// The operator is killed while the guests boot, while kubeadm initialises and while it joins: it goes on, and does nothing twice.
pub async fn killed(cases: Cases) {
    let objects = objects(&cases);
    let said = cases
        .seed
        .kubectl(&["apply", "-f", sample().to_str().unwrap()])
        .unwrap();
    print!("{said}");
    wait(&cases, CREATION, "the guests boot", async || {
        let mut booting = Vec::new();
        for machine in [CONTROL_PLANE, WORKER] {
            let object = objects.find("DevMachine", machine).await.ok_or("no machine")?;
            let running = condition(&object, "InfrastructureReady").is_some_and(|c| c.status == "True");
            if !running {
                return Err(told(&object));
            }
            booting.push(object["status"]["bootstrap"].is_null());
        }
        if booting.iter().all(|b| *b) {
            Ok(())
        } else {
            panic!("kubeadm ran before the operator could be killed")
        }
    })
    .await;
    cases.seed.kill(OPERATOR_UNIT).await;
    say("the operator was killed while the guests booted");
    bootstrapping(&cases, &objects, CONTROL_PLANE, "kubeadm init runs").await;
    let control_plane = identity(&cases, &objects, CONTROL_PLANE).await;
    cases.seed.kill(OPERATOR_UNIT).await;
    say("the operator was killed during kubeadm init");
    bootstrapping(&cases, &objects, WORKER, "kubeadm join runs").await;
    let worker = identity(&cases, &objects, WORKER).await;
    cases.seed.kill(OPERATOR_UNIT).await;
    say("the operator was killed during kubeadm join");
    is_ready(&cases, CREATION, "DevCluster", CLUSTER).await;
    is_ready(&cases, CREATION, "NodePool", POOL).await;
    assert_eq!(identity(&cases, &objects, CONTROL_PLANE).await, control_plane);
    assert_eq!(identity(&cases, &objects, WORKER).await, worker);
    for machine in [CONTROL_PLANE, WORKER] {
        one_job_for_each_attempt(&cases, machine).await;
    }
    assert_eq!(objects.list("DevMachine", "").await.len(), 2);
    assert_eq!(super::lab::domains(&cases).len(), 2);
}

/// What kubectl shows of the child, and what the status says of it.
pub async fn ready(cases: Cases) {
    let objects = objects(&cases);
    let child = child(&cases, CLUSTER).await;
    let nodes = child.list("Node", "").await;
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    for node in &nodes {
        assert_eq!(condition(node, "Ready").unwrap().status, "True", "{node}");
        let machine = objects
            .get("DevMachine", node["metadata"]["name"].as_str().unwrap())
            .await;
        assert_eq!(node["spec"]["providerID"], machine["status"]["providerID"]);
        let facts = &machine["status"]["node"];
        assert_eq!(
            facts["kubeletVersion"],
            node["status"]["nodeInfo"]["kubeletVersion"]
        );
        assert_eq!(facts["podCIDR"], node["spec"]["podCIDR"]);
        assert!(facts["allocatableMemory"].is_string(), "{facts}");
    }
    let system = Objects::new(child.client, "kube-system");
    let dns = system.get("Deployment", "coredns").await;
    assert_eq!(condition(&dns, "Available").unwrap().status, "True", "{dns}");
    let cluster = objects.get("DevCluster", CLUSTER).await;
    assert_eq!(cluster["status"]["nodesSummary"], "2/2");
    assert_eq!(cluster["status"]["version"], cluster["spec"]["version"]);
    assert_eq!(
        condition(&cluster, "DNSReady").unwrap().status,
        "True",
        "{}",
        told(&cluster)
    );
    for what in ["dc/demo", "np/demo-workers", "dm/demo-cp-0", "dm/demo-workers-0"] {
        cases
            .seed
            .kubectl(&["wait", "--for=condition=Ready", what, "--timeout=60s"])
            .unwrap();
    }
    let left = system.list("Secret", "").await;
    let tokens: Vec<String> = left
        .iter()
        .map(super::lab::name)
        .filter(|n| n.starts_with("bootstrap-token-"))
        .collect();
    assert!(tokens.is_empty(), "join tokens are removed: {tokens:?}");
}
