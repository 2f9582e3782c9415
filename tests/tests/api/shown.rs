//! What kubectl shows.

use seedbed_tests::objects::told;
use seedbed_tests::{Case, Cases, Objects, eventually};
use serde_json::{Value, json};

use seedbed_tests::inputs::{cluster, pool, simulated_host, upgrade};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("shown: every field has a description", descriptions),
        Case::new("shown: kubectl explain", explain),
        Case::new("shown: short names and the category", names),
        Case::new("shown: columns", columns),
        Case::new(
            "shown: a simulated host as such, and that its simulator is not there",
            simulated,
        ),
        Case::new("shown: kubectl scale and the scale subresource", scale),
        Case::new("shown: kubectl wait", wait),
    ]
}

const KINDS: [(&str, &str, &str); 6] = [
    ("devclusters", "dc", "DevCluster"),
    ("nodepools", "np", "NodePool"),
    ("clusterupgrades", "cu", "ClusterUpgrade"),
    ("devmachines", "dm", "DevMachine"),
    ("hypervisorhosts", "hh", "HypervisorHost"),
    ("kubernetesreleases", "kr", "KubernetesRelease"),
];

/// Paths of a schema's fields that have no description.
fn undescribed(path: &str, schema: &Value, found: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"]
            .as_str()
            .is_none_or(|text| text.trim().is_empty())
        {
            found.push(path.clone());
        }
        undescribed(&path, field, found);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            undescribed(&format!("{path}[]"), &schema[key], found);
        }
    }
}

async fn descriptions(cases: Cases) {
    let objects = Objects::new(cases.client, "default");
    for (plural, ..) in KINDS {
        let crd = objects
            .get("CustomResourceDefinition", &format!("{plural}.seedbed.dev"))
            .await;
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(schema["description"].is_string(), "{plural}");
        let mut found = Vec::new();
        for part in ["spec", "status"] {
            undescribed(part, &schema["properties"][part], &mut found);
        }
        assert!(found.is_empty(), "{plural}: {found:?}");
    }
}

async fn explain(cases: Cases) {
    let said = cases
        .seed
        .kubectl(&["explain", "dc.spec.network.podCIDR"])
        .unwrap();
    assert!(said.contains("Range of the pods' addresses"), "{said}");
    let said = cases.seed.kubectl(&["explain", "np.spec.strategy"]).unwrap();
    assert!(
        said.contains("How machines are replaced") && said.contains("maxSurge"),
        "{said}"
    );
}

async fn names(cases: Cases) {
    let said = cases
        .seed
        .kubectl(&["api-resources", "--api-group=seedbed.dev", "--no-headers"])
        .unwrap();
    for (plural, short, kind) in KINDS {
        let line = said
            .lines()
            .find(|line| line.starts_with(plural))
            .unwrap_or_else(|| panic!("{plural}: {said}"));
        assert!(
            line.contains(&format!(" {short} ")) && line.contains(kind),
            "{line}"
        );
    }
    let said = cases
        .seed
        .kubectl(&["api-resources", "--categories=seedbed", "-o", "name"])
        .unwrap();
    assert_eq!(said.lines().count(), KINDS.len(), "{said}");
}

fn header(text: &str) -> Vec<&str> {
    text.lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect()
}

async fn simulated(cases: Cases) {
    let objects = Objects::new(cases.client.clone(), "default");
    objects
        .create(simulated_host("shown-simulated", "127.67.0.0/16"))
        .await
        .unwrap();
    objects
        .told(
            "HypervisorHost",
            "shown-simulated",
            "Ready",
            "Unknown",
            &[
                "HostUnreachable",
                "/nowhere/simulator.sock",
                "start seedbed-simulator",
            ],
        )
        .await;
    let said = cases.seed.kubectl(&["get", "hh", "shown-simulated"]).unwrap();
    let row: Vec<&str> = said.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["shown-simulated", "Unknown", "simulated"], "{said}");
    objects.delete("HypervisorHost", "shown-simulated").await;
}

async fn columns(cases: Cases) {
    let objects = cases.namespace("columns").await;
    objects.create(cluster("a", "nowhere")).await.unwrap();
    objects.create(pool("a-workers", "a")).await.unwrap();
    objects
        .told("DevCluster", "a", "Stalled", "True", &["HostNotFound"])
        .await;
    // The pool may be seen after the first status was written.
    eventually("the pool's node is counted", async || {
        let nodes = objects.get("DevCluster", "a").await["status"]["nodesSummary"].clone();
        (nodes == "0/2").then_some(()).ok_or_else(|| nodes.to_string())
    })
    .await;
    let get = |arguments: &[&str]| {
        cases
            .seed
            .kubectl(&[&["get", "-n", "columns"], arguments].concat())
            .unwrap()
    };
    let narrow = get(&["dc"]);
    assert_eq!(
        header(&narrow),
        ["NAME", "READY", "PHASE", "VERSION", "NODES", "AGE"]
    );
    let row: Vec<&str> = narrow.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["a", "False", "Stalled"], "{narrow}");
    assert!(row.contains(&"0/2"), "{narrow}");
    let wide = get(&["dc", "-o", "wide"]);
    assert_eq!(header(&wide)[6..], ["HOST", "ENDPOINT", "REASON", "MESSAGE"]);
    assert!(
        wide.contains("HostNotFound") && wide.contains("no HypervisorHost named nowhere"),
        "{wide}"
    );
    let pools = get(&["np"]);
    assert_eq!(
        header(&pools),
        [
            "NAME",
            "CLUSTER",
            "READY",
            "PHASE",
            "DESIRED",
            "READYREPLICAS",
            "UPTODATE",
            "VERSION",
            "AGE"
        ]
    );
    let wide = get(&["np", "-o", "wide"]);
    assert_eq!(header(&wide)[9..], ["HELD", "REASON", "MESSAGE"]);
    objects.create(upgrade("a-next", "nobody")).await.unwrap();
    objects
        .told(
            "ClusterUpgrade",
            "a-next",
            "Stalled",
            "True",
            &["ClusterNotFound"],
        )
        .await;
    let upgrades = get(&["cu", "-o", "wide"]);
    assert_eq!(
        header(&upgrades),
        [
            "NAME", "CLUSTER", "FROM", "TO", "PHASE", "STEP", "UNDOABLE", "ERRORS", "WARNINGS", "AGE",
            "REASON", "MESSAGE"
        ]
    );
    assert!(
        upgrades.contains("no DevCluster named nobody exists"),
        "{upgrades}"
    );
    let both = get(&["seedbed"]);
    assert!(
        both.contains("devcluster.seedbed.dev/a") && both.contains("nodepool.seedbed.dev/a-workers"),
        "{both}"
    );
}

async fn scale(cases: Cases) {
    let objects = cases.namespace("scale").await;
    objects.create(pool("a", "nobody")).await.unwrap();
    objects
        .told("NodePool", "a", "Stalled", "True", &["ClusterNotFound"])
        .await;
    cases
        .seed
        .kubectl(&["scale", "-n", "scale", "np/a", "--replicas=3"])
        .unwrap();
    let scale = cases
        .seed
        .kubectl(&["get", "-n", "scale", "np/a", "--subresource=scale", "-o", "json"])
        .unwrap();
    let scale: Value = serde_json::from_str(&scale).unwrap();
    assert_eq!(scale["spec"]["replicas"], 3);
    assert_eq!(scale["status"]["replicas"], 0);
    assert_eq!(
        scale["status"]["selector"], "seedbed.dev/pool=a",
        "a HorizontalPodAutoscaler needs it"
    );
    let message = cases
        .seed
        .kubectl(&["scale", "-n", "scale", "np/a", "--replicas=500"])
        .unwrap_err();
    assert!(message.contains("less than or equal to 200"), "{message}");
}

async fn wait(cases: Cases) {
    let objects = cases.namespace("wait").await;
    objects.create(cluster("a", "nowhere")).await.unwrap();
    let arguments = [
        "wait",
        "-n",
        "wait",
        "dc/a",
        "--for=condition=Stalled",
        "--timeout=120s",
    ];
    let said = cases.seed.kubectl(&arguments).unwrap();
    assert!(said.contains("condition met"), "{said}");
    // kstatus: the generation was seen, nothing is under way, and it failed for good.
    let seen = eventually("the status speaks of the present spec", async || {
        let object = objects.get("DevCluster", "a").await;
        let same = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if same { Ok(object) } else { Err(told(&object)) }
    })
    .await;
    for (type_, status) in [("Ready", "False"), ("Progressing", "False"), ("Stalled", "True")] {
        let found = seedbed_tests::objects::condition(&seen, type_).unwrap();
        assert_eq!(found.status, status, "{}", told(&seen));
    }
    let early = [
        "wait",
        "-n",
        "wait",
        "dc/a",
        "--for=condition=Ready",
        "--timeout=1s",
    ];
    assert!(cases.seed.kubectl(&early).unwrap_err().contains("timed out"));
    let change = json!({"metadata": {"labels": {"a": "b"}}});
    objects.change("DevCluster", "a", &change).await.unwrap();
}
