//! Two operators: one works, one stands by and takes over.

use std::fs::File;
use std::process::{Child, Stdio};

use seedbed_seed::OPERATOR_UNIT;
use seedbed_tests::inputs::{cluster, ensure_release, host};
use seedbed_tests::{Case, Cases, Objects, eventually};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "leader: another one stands by, and takes over from one that is killed",
        leader,
    )]
}

/// An operator that the test started; it ends with the test.
struct Operator {
    process: Child,
    log: std::path::PathBuf,
}

impl Operator {
    fn start(cases: &Cases, identity: &str, port: u16) -> Self {
        let log = cases.seed.instance().log(&format!("operator-{identity}"));
        let file = File::create(&log).unwrap();
        let process = cases
            .seed
            .seed
            .command(&cases.seed.programs.operator)
            .arg("--kubeconfig")
            .arg(cases.seed.instance().operator_kubeconfig())
            .args([
                "--metrics-address",
                &format!("127.0.0.1:{port}"),
                "--identity",
                identity,
            ])
            .env("RUST_LOG", "info")
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn held_by(objects: &Objects, identity: &str) {
    eventually(&format!("the lease is {identity}'s"), async || {
        let lease = objects
            .find("Lease", "seedbed-operator")
            .await
            .ok_or("no lease")?;
        let holder = lease["spec"]["holderIdentity"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if holder == identity {
            Ok(())
        } else {
            Err(format!("it is {holder:?}'s"))
        }
    })
    .await;
}

async fn leader(cases: Cases) {
    let system = Objects::new(cases.client.clone(), seedbed_seed::SYSTEM_NAMESPACE);
    assert!(cases.seed.instance().stop_unit(OPERATOR_UNIT).unwrap());
    let mut first = Operator::start(&cases, "first", 28_081);
    held_by(&system, "first").await;
    let second = Operator::start(&cases, "second", 28_082);
    eventually("the second one says that it stands by", async || {
        let said = second.said();
        if said.contains("held by first") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
    let objects = cases.namespace("leader").await;
    ensure_release(&objects).await;
    objects.create(cluster("a", "leader")).await.unwrap();
    objects
        .told("DevCluster", "a", "Stalled", "True", &["HostNotFound"])
        .await;
    assert!(
        !second.said().contains("reconcile"),
        "it only waits: {}",
        second.said()
    );
    first.process.kill().unwrap();
    first.process.wait().unwrap();
    held_by(&system, "second").await;
    objects.create(host("leader", "10.226.0.0/16")).await.unwrap();
    let seen = objects
        .told(
            "DevMachine",
            "a-cp-0",
            "Ready",
            "False",
            &["InsufficientCapacity"],
        )
        .await;
    assert_eq!(seen.status, "False");
    objects.delete("DevCluster", "a").await;
    objects.gone(seedbed_tests::LIMIT, "DevCluster", "a").await;
    drop(second);
    cases.seed.complete();
    objects.create(cluster("b", "nowhere")).await.unwrap();
    objects
        .told("DevCluster", "b", "Stalled", "True", &["HostNotFound"])
        .await;
}
