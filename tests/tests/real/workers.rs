//! Workers that come, go and are replaced, and a cluster to which nothing happens.

use std::time::Duration;

use seedbed_tests::objects::{condition, told};
use seedbed_tests::{Cases, Objects, quiet};
use serde_json::{Value, json};

use super::lab::{
    CLUSTER, CREATION, POOL, SOME_MINUTES, WORKER, child, domains, is_ready, name, objects,
    one_job_for_each_attempt, wait,
};

async fn scale(cases: &Cases, replicas: i64) {
    cases
        .seed
        .kubectl(&["scale", "np/demo-workers", &format!("--replicas={replicas}")])
        .unwrap();
    let objects = objects(cases);
    wait(
        cases,
        CREATION,
        &format!("{replicas} workers are Ready"),
        async || {
            let pool = objects.get("NodePool", POOL).await;
            let status = &pool["status"];
            if status["replicas"] == replicas && status["readyReplicas"] == replicas {
                return Ok(());
            }
            Err(told(&pool))
        },
    )
    .await;
    is_ready(cases, CREATION, "NodePool", POOL).await;
}

async fn node_names(child: &Objects) -> Vec<String> {
    child.list("Node", "").await.iter().map(name).collect()
}

/// A second worker comes, and goes without leaving anything.
pub async fn scaled(cases: Cases) {
    let child = child(&cases, CLUSTER).await;
    let first = objects(&cases).get("DevMachine", WORKER).await["metadata"]["uid"].clone();
    scale(&cases, 2).await;
    assert_eq!(node_names(&child).await.len(), 3);
    assert_eq!(domains(&cases).len(), 3);
    scale(&cases, 1).await;
    wait(&cases, SOME_MINUTES, "the second worker is gone", async || {
        let machines = objects(&cases)
            .list("DevMachine", "seedbed.dev/pool=demo-workers")
            .await;
        let nodes = node_names(&child).await;
        if machines.len() == 1 && nodes.len() == 2 {
            Ok(())
        } else {
            Err(format!("{} machines, nodes {nodes:?}", machines.len()))
        }
    })
    .await;
    assert_eq!(domains(&cases).len(), 2);
    let left = objects(&cases).get("DevMachine", WORKER).await["metadata"]["uid"].clone();
    assert_eq!(left, first, "the newest goes");
    let volumes = cases.seed.virsh(&["vol-list", "seedbed"]).unwrap();
    assert!(!volumes.contains("demo-workers-1"), "{volumes}");
    is_ready(&cases, SOME_MINUTES, "DevCluster", CLUSTER).await;
}

/// Nothing is written while nothing happens.
pub async fn idle(cases: Cases) {
    let two_minutes = Duration::from_mins(2);
    quiet::operator(cases.seed, two_minutes, two_minutes * 4).await;
}

fn maximum_of_pods(node: &Value) -> String {
    node["status"]["capacity"]["pods"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The pool's kubelets get another setting: the worker is replaced. Meanwhile libvirtd is away for a while, from which nothing
/// is concluded.
pub async fn rolled_out(cases: Cases) {
    let seed = objects(&cases);
    let child = child(&cases, CLUSTER).await;
    let old = seed.get("DevMachine", WORKER).await["metadata"]["uid"].clone();
    let patch = json!({"spec": {"kubeadm": {"patches": [{"target": "KubeletConfiguration", "patch": "maxPods: 40"}]}}});
    seed.change("NodePool", POOL, &patch).await.unwrap();
    let fresh = wait(&cases, CREATION, "kubeadm joins the new worker", async || {
        let machines = seed.list("DevMachine", "seedbed.dev/pool=demo-workers").await;
        let fresh = machines
            .iter()
            .find(|m| m["metadata"]["uid"] != old)
            .ok_or("no new machine")?;
        if fresh["status"]["bootstrap"]["phase"] == "Started" {
            Ok(fresh.clone())
        } else {
            Err(told(fresh))
        }
    })
    .await;
    assert!(cases.seed.instance().stop_unit("libvirtd").unwrap());
    wait(
        &cases,
        SOME_MINUTES,
        "it is told that the host cannot be reached",
        async || {
            let host = seed.get("HypervisorHost", "local").await;
            match condition(&host, "HostReachable") {
                Some(c) if c.status == "Unknown" && c.reason == "HostUnreachable" => Ok(()),
                _ => Err(told(&host)),
            }
        },
    )
    .await;
    let machines = seed.list("DevMachine", "").await;
    assert_eq!(machines.len(), 3, "nothing is deleted, nothing is made");
    cases.seed.complete();
    is_ready(&cases, CREATION, "NodePool", POOL).await;
    let now = wait(&cases, CREATION, "the old worker is gone", async || {
        let machines = seed.list("DevMachine", "seedbed.dev/pool=demo-workers").await;
        match machines.as_slice() {
            [only] if only["metadata"]["uid"] != old => Ok(only.clone()),
            all => Err(format!("{} machines", all.len())),
        }
    })
    .await;
    assert_eq!(now["metadata"]["uid"], fresh["metadata"]["uid"]);
    one_job_for_each_attempt(&cases, &name(&now)).await;
    let node = child.get("Node", &name(&now)).await;
    assert_eq!(maximum_of_pods(&node), "40");
    assert_eq!(domains(&cases).len(), 2);
    is_ready(&cases, SOME_MINUTES, "DevCluster", CLUSTER).await;
}
