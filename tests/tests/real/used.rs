//! The cluster as its user needs it.

use seedbed_tests::objects::told;
use seedbed_tests::{Cases, Objects};
use serde_json::{Value, json};

use super::lab::{CLUSTER, CONTROL_PLANE, SOME_MINUTES, WORKER, child, name, objects, wait};

/// An image that every node has, and that has a web server and a client in it: kube-proxy's.
async fn image(child: &Objects) -> String {
    let system = Objects::new(child.client.clone(), "kube-system");
    let pods = system.list("Pod", "k8s-app=kube-proxy").await;
    pods[0]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn shell(image: &str, script: &str) -> Value {
    json!([{
        "name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/busybox", "sh", "-c", script],
    }])
}

/// Answers with the pod's own name.
const SERVER: &str =
    "busybox mkdir -p /www && busybox hostname >/www/index.html && exec busybox httpd -f -p 8080 -h /www";
/// Ends well when two different pods have answered.
const CLIENT: &str = "first=; n=0; while [ $n -lt 90 ]; do n=$((n+1)); answer=$(busybox wget -q -T 5 -O - http://web/) || { busybox sleep 1; continue; }; echo \"$answer\"; [ -n \"$first\" ] || first=$answer; [ \"$answer\" = \"$first\" ] || exit 0; done; exit 1";

/// Two pods on two nodes; a client on each node reaches both by the Service's name.
pub async fn service(cases: Cases) {
    let child = child(&cases, CLUSTER).await;
    let image = image(&child).await;
    let labels = json!({"app": "web"});
    let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"},
    ]}});
    let deployment = json!({
        "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": shell(&image, SERVER), "affinity": apart, "terminationGracePeriodSeconds": 1,
                    "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
                },
            },
        },
    });
    child.create(deployment).await.unwrap();
    let service = json!({
        "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    child.create(service).await.unwrap();
    wait(
        &cases,
        SOME_MINUTES,
        "both web servers are available",
        async || {
            let found = child.get("Deployment", "web").await;
            if found["status"]["availableReplicas"] == 2 {
                Ok(())
            } else {
                Err(found["status"].to_string())
            }
        },
    )
    .await;
    for node in [CONTROL_PLANE, WORKER] {
        let pod = json!({
            "kind": "Pod", "metadata": {"name": format!("client-on-{node}")},
            "spec": {"nodeName": node, "restartPolicy": "Never", "containers": shell(&image, CLIENT)},
        });
        child.create(pod).await.unwrap();
    }
    for node in [CONTROL_PLANE, WORKER] {
        let client = format!("client-on-{node}");
        wait(
            &cases,
            SOME_MINUTES,
            &format!("both pods answered to {client}"),
            async || {
                let pod = child.get("Pod", &client).await;
                match pod["status"]["phase"].as_str() {
                    Some("Succeeded") => Ok(()),
                    Some("Failed") => panic!("{client} was not answered by both: {}", pod["status"]),
                    _ => Err(pod["status"].to_string()),
                }
            },
        )
        .await;
        child.delete("Pod", &client).await;
    }
    child.delete("Deployment", "web").await;
    child.delete("Service", "web").await;
}

/// What has no effect is told at once, by name.
pub async fn network_policy(cases: Cases) {
    let child = child(&cases, CLUSTER).await;
    let policy =
        json!({"kind": "NetworkPolicy", "metadata": {"name": "deny-all"}, "spec": {"podSelector": {}}});
    child.create(policy).await.unwrap();
    let seed = objects(&cases);
    wait(&cases, SOME_MINUTES, "an event names the policy", async || {
        let events = seed.list("Event", "").await;
        let named = events.iter().any(|e| {
            let note = e["note"].as_str().unwrap_or_default();
            e["type"] == "Warning"
                && e["reason"] == "BridgeDoesNotEnforce"
                && note.contains("default/deny-all")
        });
        if named {
            Ok(())
        } else {
            Err(format!("{} events, none of them", events.len()))
        }
    })
    .await;
    let cluster = seed.get("DevCluster", CLUSTER).await;
    let told = told(&cluster);
    assert!(
        told.contains("NetworkPolicyEnforced=False"),
        "{}: {told}",
        name(&cluster)
    );
    child.delete("NetworkPolicy", "deny-all").await;
}
