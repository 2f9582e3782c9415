//! A cluster that is upgraded, and what happens to it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use seedbed_simulated_api::ApiServer;
use seedbed_simulation::objects::{carried_out, cluster, pool, release};
use seedbed_simulation::{Operator, Settings, Undisturbed, World};
use seedbed_simulator::Failure;
use serde_json::{Value, json};
use tokio::time::sleep;

pub const OLD: &str = "v1.35.4";
pub const NEW: &str = "v1.36.3";

/// What happens while a step is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The step's job fails once.
    FailsOnce,
    /// It fails whenever it is tried.
    FailsForGood,
    /// The same, where the snapshot is restored then.
    Restores,
    /// The same, and the operator is killed again and again meanwhile.
    RestoresWhileKilled,
    /// It fails once, after it did its work.
    FailsLate,
    /// On each machine the next job hangs.
    Hangs,
    /// The operator is killed.
    OperatorKilled,
    /// All machines lose their power.
    PowerCut,
    /// The control plane's does.
    ControlPlaneKilled,
    /// The first worker's does.
    WorkerKilled,
    /// The host cannot be reached for a while.
    HostAway,
    /// The child's API cannot be reached for a while.
    ChildCut,
    /// A person cancels it.
    Cancelled,
    /// A person deletes it.
    Deleted,
    /// Another upgrade is filed.
    Second,
    /// The status is lost, as by a restore from a backup.
    StatusLost,
    /// The journal is deleted.
    JournalLost,
    /// Both.
    BothLost,
    /// Both, and a person cancels it then.
    BothLostAndCancelled,
}

pub struct Run {
    pub world: World,
    pub operator: Option<Operator>,
    /// Name of the upgrade.
    pub name: String,
    pub workers: u64,
    pub pools: usize,
}

impl Run {
    pub async fn ready(workers: u64, pools: usize) -> Self {
        let world = World::new(Settings::new(OLD), Arc::new(Undisturbed));
        let run = Self {
            operator: Some(world.operator()),
            world,
            name: "next".to_owned(),
            workers,
            pools,
        };
        run.world.create(release(NEW)).unwrap();
        run.world.create(cluster("demo", "local", OLD)).unwrap();
        for index in 0..pools {
            run.world
                .create(pool(&format!("demo-w{index}"), "demo", workers))
                .unwrap();
        }
        run.until("Ready", Self::is_ready).await;
        run
    }

    pub fn is_ready(&self) -> bool {
        let ready = |kind: &str, object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            self.world.condition(kind, name, "Ready").as_deref() == Some("True")
        };
        ["DevCluster", "NodePool", "DevMachine"]
            .iter()
            .all(|kind| self.world.all(kind).iter().all(|object| ready(kind, object)))
    }

    /// Waits for it, four hours at most.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..28_800 {
            if is_so(self) {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
        panic!("{what}: not so after four hours; {}", self.told());
    }

    pub fn told(&self) -> String {
        let told: Vec<_> = self
            .world
            .all("ClusterUpgrade")
            .iter()
            .map(|u| {
                let steps = u["status"]["steps"].as_array().cloned().unwrap_or_default();
                let steps: Vec<_> = steps
                    .iter()
                    .map(|s| format!("{} {} {} {}", s["id"], s["state"], s["attempt"], s["failure"]))
                    .collect();
                format!(
                    "{}\n{:#}\n{}",
                    u["metadata"],
                    u["status"]["conditions"],
                    steps.join("\n")
                )
            })
            .collect();
        format!("{}\n{}", told.join("\n"), self.world.told())
    }

    pub fn upgrade(&self) -> Value {
        self.world.get("ClusterUpgrade", &self.name).unwrap_or_default()
    }

    pub fn phase(&self) -> String {
        self.upgrade()["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn state(&self, phase: &str) -> Option<String> {
        let upgrade = self.upgrade();
        let steps = upgrade["status"]["steps"].as_array()?;
        let states = steps.iter().filter(|step| step["phase"] == phase);
        let mut states = states.map(|step| step["state"].as_str().unwrap_or_default().to_owned());
        // The last one of several: whatever comes before it is through.
        states.next_back()
    }

    pub fn address(&self) -> Ipv4Addr {
        let cluster = self.world.get("DevCluster", "demo").unwrap();
        let endpoint = cluster["status"]["endpoint"].as_str().unwrap();
        let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
        address.parse().unwrap()
    }

    pub fn child(&self) -> ApiServer {
        self.world
            .host()
            .machines
            .api(self.address())
            .expect("an API that answers")
    }

    pub fn keep(&self, name: &str) {
        let now = self.world.now();
        self.child().with(|store| {
            let kind = store.kinds().of_plural("configmaps").cloned().unwrap();
            store
                .create(&kind, "default", json!({"metadata": {"name": name}}), now)
                .unwrap();
        });
    }

    pub fn is_kept(&self, name: &str) -> bool {
        self.child().with(|store| {
            let kind = store.kinds().of_plural("configmaps").cloned().unwrap();
            store.get(&kind, "default", name).is_ok()
        })
    }

    pub fn machines(&self) -> Vec<String> {
        let all = self.world.all("DevMachine");
        all.iter()
            .map(|m| format!("default.{}", m["metadata"]["name"].as_str().unwrap()))
            .collect()
    }

    /// Has it happen.
    pub async fn happen(&mut self, fault: Fault) {
        let host = self.world.host();
        let fail = |times, failure| {
            for domain in self.machines() {
                host.machines.fail_jobs(&domain, times, failure);
            }
        };
        match fault {
            Fault::FailsOnce => fail(1, Failure::Preflight),
            Fault::FailsLate => fail(1, Failure::Late),
            Fault::Hangs => fail(1, Failure::Hang),
            Fault::FailsForGood => fail(1000, Failure::Preflight),
            Fault::Restores | Fault::RestoresWhileKilled => {
                fail(1000, Failure::Preflight);
                // The one that runs already fails, too.
                host.simulated.lose_power("default.demo-cp-0");
            }
            Fault::OperatorKilled => {
                if let Some(operator) = self.operator.take() {
                    operator.kill();
                }
                sleep(Duration::from_secs(7)).await;
                self.operator = Some(self.world.operator());
            }
            Fault::PowerCut => {
                for domain in self.machines() {
                    host.simulated.lose_power(&domain);
                }
            }
            Fault::ControlPlaneKilled => host.simulated.lose_power("default.demo-cp-0"),
            Fault::WorkerKilled => host.simulated.lose_power("default.demo-w0-0"),
            Fault::HostAway => {
                let name = self.world.hosts().keys().next().unwrap().clone();
                self.world.set_connection(&name, true);
                sleep(Duration::from_secs(40)).await;
                self.world.set_connection(&name, false);
            }
            Fault::ChildCut => {
                let address = self.address();
                self.world.set_cut(address, true);
                sleep(Duration::from_secs(90)).await;
                self.world.set_cut(address, false);
            }
            Fault::Cancelled => {
                self.world
                    .change("ClusterUpgrade", &self.name, &json!({"cancel": true}))
                    .unwrap();
            }
            Fault::Deleted => _ = self.world.delete("ClusterUpgrade", &self.name).unwrap(),
            Fault::Second => _ = self.world.create(carried_out("second", "demo", NEW)).unwrap(),
            Fault::StatusLost => self.lose_status(),
            Fault::JournalLost => _ = self.world.delete("ConfigMap", "demo-upgrade"),
            Fault::BothLost => self.lose_both().await,
            Fault::BothLostAndCancelled => {
                self.lose_both().await;
                Box::pin(self.happen(Fault::Cancelled)).await;
            }
        }
    }

    /// With nobody there who could write the one from the other in between.
    pub async fn lose_both(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.kill();
        }
        self.lose_status();
        let _ = self.world.delete("ConfigMap", "demo-upgrade");
        sleep(Duration::from_secs(7)).await;
        self.operator = Some(self.world.operator());
    }

    pub fn lose_status(&self) {
        let kind = self.world.kind("ClusterUpgrade");
        let none = json!({"status": null});
        self.world.api().with(|store| {
            store
                .merge(
                    &kind,
                    seedbed_simulation::NAMESPACE,
                    &self.name,
                    &none,
                    seedbed_simulated_api::Subresource::Status,
                )
                .unwrap();
        });
    }

    /// The cluster is of one version, with all that it had, and nothing is left of the upgrade in the seed, on the host or on a node.
    pub async fn is_of_one_version(&self, version: &str, kept: &[&str]) {
        let nodes = 1 + self.pools * usize::try_from(self.workers).unwrap();
        // One that has just lost its power is missed after a while.
        self.until("the cluster is Ready, and all of its kubelets run", |run| {
            run.is_ready() && run.world.host().machines.kubelets(run.address()).len() == nodes
        })
        .await;
        let machines = &self.world.host().machines;
        let minor = version.trim_start_matches("v1.").split('.').next().unwrap();
        let (found, emulated) = machines.control_plane_version(self.address()).unwrap();
        assert_eq!(found, version);
        assert!(
            emulated.as_deref().is_none_or(|e| e == format!("1.{minor}")),
            "still emulating {emulated:?}"
        );
        for (node, kubelet) in machines.kubelets(self.address()) {
            assert_eq!(kubelet, version, "{node}");
        }
        self.child().with(|store| {
            let kind = store.kinds().of_plural("nodes").cloned().unwrap();
            for node in store.list(&kind, "", &seedbed_simulated_api::Selector::default()) {
                assert_ne!(node["spec"]["unschedulable"], true, "{node}");
                assert!(
                    node["metadata"]["annotations"]["seedbed.dev/closed-by"].is_null(),
                    "{node}"
                );
            }
        });
        for domain in self.machines() {
            assert!(
                self.world.host().simulated.attached(&domain).is_empty(),
                "{domain}"
            );
        }
        assert!(
            self.world.get("ConfigMap", "demo-upgrade").is_none(),
            "the journal is left"
        );
        for name in kept {
            assert!(self.is_kept(name), "what was written {name} is lost");
        }
    }

    /// An upgrade whose step has been begun, and that is restored where it fails, if that is said at first.
    pub async fn begun(phase: &str, workers: u64, pools: usize, restores: bool) -> Self {
        let run = Self::ready(workers, pools).await;
        run.begin(phase, restores).await;
        run
    }

    /// Its upgrade has come to that step.
    pub async fn begin(&self, phase: &str, restores: bool) {
        self.keep("before");
        let mut upgrade = carried_out("next", "demo", NEW);
        if restores {
            upgrade["spec"]["onFailureAfterCommit"] = "RestoreSnapshot".into();
        }
        self.world.create(upgrade).unwrap();
        self.until(phase, |run| {
            run.state(phase)
                .is_some_and(|state| state == "Running" || state == "Succeeded")
        })
        .await;
    }

    /// Whether nothing is left to do for it.
    pub fn has_ended(&self) -> bool {
        let upgrade = self.upgrade();
        let holds_nothing = upgrade["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty);
        ["Done", "Cancelled", "RolledBack"].contains(&self.phase().as_str()) && holds_nothing
    }

    pub fn said(&self, type_: &str) -> (String, String, String) {
        let upgrade = self.upgrade();
        let conditions = upgrade["status"]["conditions"].as_array().cloned();
        let found = conditions
            .unwrap_or_default()
            .into_iter()
            .find(|c| c["type"] == type_);
        let found = found.unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }
}

/// In virtual time.
pub fn in_time(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work);
}
