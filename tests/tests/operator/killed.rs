//! What is killed comes back, and the work goes on.

use seedbed_seed::OPERATOR_UNIT;
use seedbed_tests::inputs::{cluster, delete_clusters, setting, settled};
use seedbed_tests::{Case, Cases, eventually};
use serde_json::Value;

/// The case of the operator itself.
pub fn operator_case() -> Case {
    Case::new(
        "killed: the operator, again and again while it makes a cluster",
        operator,
    )
}

/// The cases of what it works with.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("killed: the API server, and the operator lives on", api_server),
        Case::new("stopped: libvirtd, and nothing is concluded from that", libvirtd),
    ]
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

async fn operator(cases: Cases) {
    let objects = setting(&cases, "killed", "10.222.0.0/16").await;
    objects.create(cluster("a", "killed")).await.unwrap();
    let authority = eventually("the authority is there", async || {
        objects.find("Secret", "a-ca").await.ok_or("none".to_owned())
    })
    .await;
    cases.seed.kill(OPERATOR_UNIT).await;
    objects.told("DevCluster", "a", "NetworkReady", "True", &[]).await;
    cases.seed.kill(OPERATOR_UNIT).await;
    settled(&objects, "a").await;
    let machine = uid(&objects.get("DevMachine", "a-cp-0").await);
    cases.seed.kill(OPERATOR_UNIT).await;
    settled(&objects, "a").await;
    assert_eq!(
        uid(&objects.get("DevMachine", "a-cp-0").await),
        machine,
        "the machine is the same"
    );
    assert_eq!(
        objects.get("Secret", "a-ca").await["data"],
        authority["data"],
        "the authority is the same"
    );
    assert_eq!(objects.list("DevMachine", "").await.len(), 1);
    let networks = cases.seed.virsh(&["net-list", "--all", "--name"]).unwrap();
    assert_eq!(
        networks.lines().filter(|line| line.contains("killed.a")).count(),
        1,
        "{networks}"
    );
    objects.delete("DevCluster", "a").await;
    cases.seed.kill(OPERATOR_UNIT).await;
    objects.gone(seedbed_tests::LIMIT, "DevCluster", "a").await;
    let networks = cases.seed.virsh(&["net-list", "--all", "--name"]).unwrap();
    assert!(!networks.contains("killed.a"), "{networks}");
    assert!(objects.list("Secret", "").await.is_empty() && objects.list("ConfigMap", "").await.is_empty());
}

async fn api_server(cases: Cases) {
    let objects = setting(&cases, "api-server", "10.223.0.0/16").await;
    let operator = cases.seed.operator().expect("it runs");
    cases.seed.kill("kube-apiserver").await;
    eventually("the API server is ready", async || {
        cases.seed.kubectl(&["get", "--raw", "/readyz"])
    })
    .await;
    objects.create(cluster("a", "api-server")).await.unwrap();
    settled(&objects, "a").await;
    let now = cases.seed.operator();
    // It may have given its lease up and ended in order; more than that a short absence must not do.
    if now.as_ref() != Some(&operator) {
        let log = std::fs::read_to_string(cases.seed.instance().log("operator")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
    delete_clusters(&objects, &["a"]).await;
}

async fn libvirtd(cases: Cases) {
    let objects = setting(&cases, "libvirtd", "10.224.0.0/16").await;
    objects.create(cluster("a", "libvirtd")).await.unwrap();
    settled(&objects, "a").await;
    let machine = uid(&objects.get("DevMachine", "a-cp-0").await);
    let network = cases.seed.virsh(&["net-dumpxml", "libvirtd.a"]).unwrap();
    assert!(cases.seed.instance().stop_unit("libvirtd").unwrap());
    objects
        .told(
            "HypervisorHost",
            "libvirtd",
            "HostReachable",
            "Unknown",
            &["HostUnreachable"],
        )
        .await;
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
        .told("DevMachine", "a-cp-0", "Ready", "Unknown", &["HostUnreachable"])
        .await;
    assert_eq!(
        uid(&objects.get("DevMachine", "a-cp-0").await),
        machine,
        "nothing is deleted"
    );
    cases.seed.complete();
    objects
        .told("HypervisorHost", "libvirtd", "Ready", "True", &[])
        .await;
    settled(&objects, "a").await;
    assert_eq!(
        cases.seed.virsh(&["net-dumpxml", "libvirtd.a"]).unwrap(),
        network,
        "it is not made anew"
    );
    delete_clusters(&objects, &["a"]).await;
}
