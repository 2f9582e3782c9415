//! What is left when a cluster is gone.

use seedbed_tests::Cases;
use seedbed_tests::inputs::{cluster, with};
use serde_json::json;

use super::lab::{CLUSTER, CREATION, POOL, SOME_MINUTES, domains, is_ready, objects, sample, wait};

/// Volumes of the host that are no release's.
fn volumes(cases: &Cases) -> Vec<String> {
    let text = cases.seed.virsh(&["vol-list", "seedbed"]).unwrap();
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| !name.starts_with("seedbed-base-"))
        .map(str::to_owned)
        .collect()
}

fn networks(cases: &Cases) -> Vec<String> {
    let text = cases.seed.virsh(&["net-list", "--all", "--name"]).unwrap();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `kubectl delete -f` is all that a person does.
pub async fn nothing_left(cases: Cases) {
    cases
        .seed
        .kubectl(&["delete", "--wait=false", "-f", sample().to_str().unwrap()])
        .unwrap();
    let seed = objects(&cases);
    wait(
        &cases,
        SOME_MINUTES,
        "cluster, pool and machines are gone",
        async || {
            let mut left = Vec::new();
            for (kind, name) in [("DevCluster", CLUSTER), ("NodePool", POOL)] {
                left.extend(
                    seed.find(kind, name)
                        .await
                        .map(|object| seedbed_tests::objects::told(&object)),
                );
            }
            let machines = seed.list("DevMachine", "").await.len();
            if left.is_empty() && machines == 0 {
                Ok(())
            } else {
                Err(format!("{machines} machines; {left:?}"))
            }
        },
    )
    .await;
    assert_eq!(domains(&cases), Vec::<String>::new());
    assert_eq!(networks(&cases), Vec::<String>::new());
    assert_eq!(volumes(&cases), Vec::<String>::new());
    for kind in ["Secret", "ConfigMap"] {
        let left: Vec<String> = seed.list(kind, "").await.iter().map(super::lab::name).collect();
        assert_eq!(left, Vec::<String>::new(), "{kind}");
    }
    // Those that a person made stay.
    let mut made = seed.list("ClusterUpgrade", "").await;
    made.retain(|upgrade| !upgrade["metadata"]["ownerReferences"].is_null());
    let left: Vec<String> = made.iter().map(super::lab::name).collect();
    assert_eq!(left, Vec::<String>::new(), "ClusterUpgrade");
    let processes = cases
        .seed
        .seed
        .command("ps")
        .args(["-eo", "args"])
        .output()
        .unwrap();
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    assert!(
        !processes.contains("guest=default.demo-"),
        "no guest runs any more"
    );
}

/// A cluster whose policy is Retain leaves its machine running.
pub async fn retained(cases: Cases) {
    let seed = objects(&cases);
    let retain = json!({"spec": {"deletionPolicy": "Retain"}});
    seed.create(with(cluster("kept", "local"), &retain))
        .await
        .unwrap();
    is_ready(&cases, CREATION, "DevCluster", "kept").await;
    let uuid = cases.seed.virsh(&["domuuid", "default.kept-cp-0"]).unwrap();
    seed.delete("DevCluster", "kept").await;
    seed.gone(SOME_MINUTES, "DevCluster", "kept").await;
    assert_eq!(seed.list("DevMachine", "").await.len(), 0);
    assert_eq!(cases.seed.virsh(&["domuuid", "default.kept-cp-0"]).unwrap(), uuid);
    assert_eq!(
        cases
            .seed
            .virsh(&["domstate", "default.kept-cp-0"])
            .unwrap()
            .trim(),
        "running"
    );
    seed.get("Secret", "kept-kubeconfig").await;
    let told = seed.list("Event", "").await;
    let said = told
        .iter()
        .any(|e| e["reason"] == "Retained" && e["regarding"]["name"] == "kept");
    assert!(said, "it is told that the machines stay");
    let child = super::lab::child(&cases, "kept").await;
    assert_eq!(
        child.list("Node", "").await.len(),
        1,
        "the cluster itself runs on"
    );
}
