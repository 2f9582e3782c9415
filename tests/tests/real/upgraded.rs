//! Upgrades of the cluster: taken back, cancelled, disturbed, and carried to their end. Somebody writes all the while, and nothing that was
//! acknowledged is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use seedbed_seed::OPERATOR_UNIT;
use seedbed_tests::objects::{condition, told};
use seedbed_tests::{Cases, Objects};
use serde_json::{Value, json};

use super::lab::{
    CLUSTER, CONTROL_PLANE, CREATION, POOL, SOME_MINUTES, WORKER, child, in_guest, is_ready, objects, sample,
    say, wait,
};
use super::writer::{Writer, lost};

/// The version of the sample.
const OLD: &str = "v1.35.4";
/// The version that it is upgraded to.
const NEW: &str = "v1.36.3";
/// A version from which no upgrade leads to the new one at once.
const OLDEST: &str = "v1.34.4";
/// What a whole upgrade may take, or its undoing.
const UPGRADE: Duration = Duration::from_mins(90);
/// A container image that the new version needs, and that the test has an upgrade import.
const IMPORTED: &str = "registry.k8s.io/kube-proxy";

/// The cluster of the sample, by `kubectl apply`.
pub async fn made(cases: Cases) {
    cases
        .seed
        .kubectl(&["apply", "-f", sample().to_str().unwrap()])
        .unwrap();
    is_ready(&cases, CREATION, "DevCluster", CLUSTER).await;
    is_ready(&cases, CREATION, "NodePool", POOL).await;
    assert_eq!(serves(&child(&cases, CLUSTER).await).await.unwrap(), OLD);
}

/// The version is edited, and set back while the new control plane is watched.
pub async fn set_back(cases: Cases) {
    let writer = Writer::start(&cases, "set-back").await;
    edit_version(&cases, NEW);
    let name = under_way(&cases, NEW).await;
    in_step(&cases, &name, "Soak").await;
    let child = child(&cases, CLUSTER).await;
    assert_eq!(
        serves(&child).await.unwrap(),
        NEW,
        "the new API server is watched"
    );
    edit_version(&cases, OLD);
    say("spec.version is set back");
    ended(&cases, &name, "Cancelled").await;
    is_as_before(&cases, &child).await;
    nothing_is_lost(&child, writer).await;
}

/// One that was made by hand is cancelled while the control plane is replaced, and there is no API server.
pub async fn cancelled(cases: Cases) {
    let writer = Writer::start(&cases, "cancelled").await;
    let name = "by-hand";
    let upgrade = json!({
        "kind": "ClusterUpgrade", "metadata": {"name": name},
        "spec": {"clusterRef": {"name": CLUSTER}, "version": NEW},
    });
    objects(&cases).create(upgrade).await.unwrap();
    at_work(&cases, name, "ControlPlane", "phase api-server").await;
    cases
        .seed
        .kubectl(&[
            "patch",
            "clusterupgrade",
            name,
            "--type=merge",
            "--patch={\"spec\":{\"cancel\":true}}",
        ])
        .unwrap();
    say("spec.cancel is set");
    ended(&cases, name, "Cancelled").await;
    let child = child(&cases, CLUSTER).await;
    is_as_before(&cases, &child).await;
    nothing_is_lost(&child, writer).await;
    objects(&cases).delete("ClusterUpgrade", name).await;
}

/// It fails for good after its point of no return, and says that the snapshot is to be restored then.
pub async fn restored(cases: Cases) {
    let undo = taken_back(&cases, "restored", false).await;
    assert!(undo["revertedDisks"].is_null(), "{undo}");
}

/// The same, and the snapshot cannot be used: the host has the disk as it was.
pub async fn reverted(cases: Cases) {
    let undo = taken_back(&cases, "reverted", true).await;
    assert_eq!(undo["revertedDisks"], json!([CONTROL_PLANE]), "{undo}");
}

/// How it was undone.
async fn taken_back(cases: &Cases, name: &str, damaged: bool) -> Value {
    let (child, seed) = (child(cases, CLUSTER).await, objects(cases));
    let written = |when: &str| json!({"kind": "ConfigMap", "metadata": {"name": format!("{name}-{when}")}});
    child.create(written("before")).await.unwrap();
    let upgrade = json!({
        "kind": "ClusterUpgrade", "metadata": {"name": name},
        "spec": {"clusterRef": {"name": CLUSTER}, "version": NEW, "soak": "10s", "onFailureAfterCommit": "RestoreSnapshot"},
    });
    let upgrade = seed.create(upgrade).await.unwrap();
    in_step(cases, name, "Soak").await;
    child.create(written("meanwhile")).await.unwrap();
    in_step(cases, name, "Commit").await;
    let folder = format!(
        "/var/lib/seedbed/upgrades/{}",
        upgrade["metadata"]["uid"].as_str().unwrap()
    );
    in_guest(
        cases,
        CONTROL_PLANE,
        "/bin/rm",
        &[&format!("{folder}/bin/kubelet")],
    )
    .await
    .unwrap();
    say("the new kubelet is taken from the control plane's guest: it cannot be replaced");
    if damaged {
        let snapshot = format!("{folder}/saved/etcd.db");
        in_guest(
            cases,
            CONTROL_PLANE,
            "/usr/bin/truncate",
            &["--size", "1M", &snapshot],
        )
        .await
        .unwrap();
        say("the snapshot is cut off");
    }
    ended(cases, name, "RolledBack").await;
    let upgrade = seed.get("ClusterUpgrade", name).await;
    let succeeded = condition(&upgrade, "Succeeded").unwrap();
    assert_eq!(succeeded.reason, "RestoredFromSnapshot", "{}", told(&upgrade));
    assert!(succeeded.message.contains(" since 20"), "{}", succeeded.message);
    is_as_before(cases, &child).await;
    is_ready(cases, CREATION, "NodePool", POOL).await;
    for node in child.list("Node", "").await {
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], OLD);
    }
    child.get("ConfigMap", &format!("{name}-before")).await;
    let lost = child.find("ConfigMap", &format!("{name}-meanwhile")).await;
    assert!(lost.is_none(), "{lost:?}");
    child.create(written("after")).await.unwrap();
    seed.delete("ClusterUpgrade", name).await;
    upgrade["status"]["undo"].clone()
}

/// To the end, with the operator killed at the beginning of every step, the control plane's machine without power while kubeadm is at
/// work, and an image that is missing on the worker.
pub async fn carried_out(cases: Cases) {
    let image = format!("{IMPORTED}:{NEW}");
    let ctr = |arguments: &'static str| format!("ctr --namespace k8s.io images {arguments}");
    let shell = async |command: String| {
        in_guest(&cases, WORKER, "/bin/sh", &["-c", &command])
            .await
            .unwrap()
    };
    shell(format!("{} {image}", ctr("rm"))).await;
    assert!(!shell(ctr("ls -q")).await.contains(&image), "{image} is removed");
    let writer = Writer::start(&cases, "carried-out").await;
    edit_version(&cases, NEW);
    let seed = objects(&cases);
    let name = under_way(&cases, NEW).await;
    // What is watched is watched for a minute: the default is for people.
    seed.change("ClusterUpgrade", &name, &json!({"spec": {"soak": "1m"}}))
        .await
        .unwrap();
    let (mut begun, mut cut) = (BTreeSet::new(), false);
    wait(&cases, UPGRADE, "the upgrade is Done", async || {
        let upgrade = seed.get("ClusterUpgrade", &name).await;
        if upgrade["status"]["phase"] == "Done" {
            return Ok(());
        }
        for step in steps(&upgrade).iter().filter(|step| step["state"] == "Running") {
            let (id, attempt) = (step["id"].as_str().unwrap().to_owned(), step["attempt"].as_i64());
            if begun.insert((id.clone(), attempt)) {
                cases.seed.kill(OPERATOR_UNIT).await;
                say(&format!(
                    "{id} (attempt {}): the operator was killed",
                    step["attempt"]
                ));
            }
            if !cut && step["phase"] == "ControlPlane" && log(&cases, step).await.contains("phase api-server")
            {
                cases
                    .seed
                    .virsh(&["destroy", &format!("default.{CONTROL_PLANE}")])
                    .unwrap();
                cut = true;
                say("the control plane's machine lost its power while its API server was replaced");
            }
        }
        Err(format!("{}; {}", upgrade["status"]["step"], told(&upgrade)))
    })
    .await;
    assert!(
        cut,
        "the step had ended before its machine could be cut off: nothing was tried"
    );
    let upgrade = seed.get("ClusterUpgrade", &name).await;
    report(&upgrade);
    assert_eq!(upgrade["status"]["undoable"], "No");
    let control_plane = steps(&upgrade)
        .into_iter()
        .find(|step| step["phase"] == "ControlPlane");
    assert_ne!(
        control_plane.unwrap()["attempt"],
        1,
        "the attempt that was cut off is told"
    );
    assert!(
        shell(ctr("ls -q")).await.contains(&image),
        "{image} is imported again"
    );
    let child = is_new(&cases).await;
    nothing_is_lost(&child, writer).await;
}

/// One edit leads over the version between.
pub async fn hopped(cases: Cases) {
    let manifest = std::fs::read_to_string(sample()).unwrap();
    assert!(manifest.contains(OLD), "{manifest}");
    cases
        .seed
        .kubectl_with(&["apply"], &manifest.replace(OLD, OLDEST))
        .unwrap();
    is_ready(&cases, CREATION, "DevCluster", CLUSTER).await;
    is_ready(&cases, CREATION, "NodePool", POOL).await;
    assert_eq!(serves(&child(&cases, CLUSTER).await).await.unwrap(), OLDEST);
    let writer = Writer::start(&cases, "hopped").await;
    edit_version(&cases, NEW);
    let seed = objects(&cases);
    for (from, to) in [(OLDEST, OLD), (OLD, NEW)] {
        let name = under_way(&cases, to).await;
        seed.change("ClusterUpgrade", &name, &json!({"spec": {"soak": "1m"}}))
            .await
            .unwrap();
        ended(&cases, &name, "Done").await;
        let status = &seed.get("ClusterUpgrade", &name).await["status"];
        assert_eq!(status["from"], from, "{status}");
    }
    let child = is_new(&cases).await;
    nothing_is_lost(&child, writer).await;
}

/// All of the cluster is of the new version, and nothing of the upgrade is left.
async fn is_new(cases: &Cases) -> Objects {
    is_ready(cases, CREATION, "DevCluster", CLUSTER).await;
    is_ready(cases, CREATION, "NodePool", POOL).await;
    let child = child(cases, CLUSTER).await;
    assert_eq!(serves(&child).await.unwrap(), NEW);
    for node in child.list("Node", "").await {
        assert_eq!(
            node["status"]["nodeInfo"]["kubeletVersion"], NEW,
            "{}",
            node["metadata"]["name"]
        );
        assert_ne!(node["spec"]["unschedulable"], true);
    }
    let system = Objects::new(child.client.clone(), "kube-system");
    let image = format!("{IMPORTED}:{NEW}");
    for pod in system.list("Pod", "k8s-app=kube-proxy").await {
        assert_eq!(pod["spec"]["containers"][0]["image"], image.as_str());
    }
    nothing_is_left(cases, &system).await;
    child
}

fn edit_version(cases: &Cases, version: &str) {
    let patch = json!({"spec": {"version": version}}).to_string();
    cases
        .seed
        .kubectl(&["patch", "devcluster", CLUSTER, "--type=merge", "--patch", &patch])
        .unwrap();
}

fn steps(upgrade: &Value) -> Vec<Value> {
    upgrade["status"]["steps"].as_array().cloned().unwrap_or_default()
}

/// The version that the API server says it runs.
async fn serves(child: &Objects) -> Result<String, String> {
    let version = child.client.apiserver_version().await;
    version.map(|info| info.git_version).map_err(|e| e.to_string())
}

/// The name of the upgrade to that version that has not come to its end, once there is one. Those that a person
/// made for an earlier cluster of the name may be there.
async fn under_way(cases: &Cases, version: &str) -> String {
    let what = format!("an upgrade to {version} is there");
    wait(cases, SOME_MINUTES, &what, async || {
        let all = objects(cases).list("ClusterUpgrade", "").await;
        let found = all.iter().find(|upgrade| {
            let phase = upgrade["status"]["phase"].as_str().unwrap_or_default();
            upgrade["spec"]["version"] == version && !["Done", "Cancelled", "RolledBack"].contains(&phase)
        });
        found
            .map(super::lab::name)
            .ok_or_else(|| format!("{} upgrades, all of them ended", all.len()))
    })
    .await
}

/// Waits until a step of that phase is under way.
async fn in_step(cases: &Cases, name: &str, phase: &str) -> Value {
    let what = format!("{name} is in {phase}");
    wait(cases, UPGRADE, &what, async || {
        let upgrade = objects(cases).get("ClusterUpgrade", name).await;
        let found = steps(&upgrade)
            .into_iter()
            .find(|step| step["phase"] == phase && step["state"] == "Running");
        found.ok_or_else(|| format!("{}; {}", upgrade["status"]["step"], told(&upgrade)))
    })
    .await
}

/// Waits until the log of the step's job in the control plane's guest has that in it.
async fn at_work(cases: &Cases, name: &str, phase: &str, line: &str) {
    let step = in_step(cases, name, phase).await;
    wait(
        cases,
        CREATION,
        &format!("the job says: {line}"),
        async || match log(cases, &step).await {
            text if text.contains(line) => Ok(()),
            text => Err(text),
        },
    )
    .await;
}

/// The log of a step's job in the control plane's guest; empty where there is none yet.
async fn log(cases: &Cases, step: &Value) -> String {
    let file = format!(
        "/var/lib/seedbed/jobs/{}/log",
        step["token"].as_str().unwrap_or_default()
    );
    in_guest(cases, CONTROL_PLANE, "/bin/cat", &[&file])
        .await
        .unwrap_or_default()
}

/// Waits until the upgrade has ended in that way.
async fn ended(cases: &Cases, name: &str, phase: &str) {
    wait(cases, UPGRADE, &format!("{name} is {phase}"), async || {
        let upgrade = objects(cases).get("ClusterUpgrade", name).await;
        if upgrade["status"]["phase"] == phase {
            report(&upgrade);
            return Ok(());
        }
        Err(format!("{}; {}", upgrade["status"]["step"], told(&upgrade)))
    })
    .await;
}

/// How long each step took, in its last attempt or until it was undone.
fn report(upgrade: &Value) {
    for step in steps(upgrade) {
        if step["startedAt"].is_string() {
            println!(
                "    {} {} (attempt {}): {} to {}",
                step["id"].as_str().unwrap_or_default(),
                step["state"].as_str().unwrap_or_default(),
                step["attempt"],
                step["startedAt"].as_str().unwrap_or_default(),
                step["finishedAt"].as_str().unwrap_or_default()
            );
        }
    }
}

/// The old version serves, and nothing speaks of the upgrade any more.
async fn is_as_before(cases: &Cases, child: &Objects) {
    is_ready(cases, CREATION, "DevCluster", CLUSTER).await;
    assert_eq!(serves(child).await.unwrap(), OLD);
    let system = Objects::new(child.client.clone(), "kube-system");
    nothing_is_left(cases, &system).await;
    let cluster = objects(cases).get("DevCluster", CLUSTER).await;
    let drift = condition(&cluster, "VersionDrift").unwrap();
    assert_eq!(drift.status, "False", "{}", told(&cluster));
}

/// No emulation, no disk, none that is kept, no journal.
async fn nothing_is_left(cases: &Cases, system: &Objects) {
    let domain = format!("default.{CONTROL_PLANE}");
    let kept = cases.seed.virsh(&["snapshot-list", "--name", &domain]).unwrap();
    assert_eq!(kept.trim(), "", "the disk is still kept as it was");
    let configuration = system.get("ConfigMap", "kubeadm-config").await.to_string();
    assert!(!configuration.contains("emulated-version"), "{configuration}");
    for pod in system.list("Pod", "tier=control-plane").await {
        assert!(!pod["spec"].to_string().contains("emulated-version"), "{pod}");
    }
    for machine in [CONTROL_PLANE, WORKER] {
        let disks = cases
            .seed
            .virsh(&["domblklist", &format!("default.{machine}")])
            .unwrap();
        assert!(!disks.contains("upgrade"), "{disks}");
    }
    let journal = objects(cases)
        .find("ConfigMap", &format!("{CLUSTER}-upgrade"))
        .await;
    assert!(journal.is_none(), "{journal:?}");
}

async fn nothing_is_lost(child: &Objects, writer: Writer) {
    let written = writer.stop();
    let gone = lost(child, &written).await;
    say(&format!(
        "{} acknowledged writes, the longest time without one {} s",
        written.acknowledged.len(),
        written.longest_gap.as_secs()
    ));
    assert!(
        !written.acknowledged.is_empty(),
        "nothing was written: nothing could be lost"
    );
    assert!(
        gone.is_empty(),
        "{} acknowledged writes are lost: {gone:?}",
        gone.len()
    );
}
