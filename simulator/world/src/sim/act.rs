//! Doing what a script says.

use std::time::Duration;

use jiff::SignedDuration;
use seedbed_hypervisor::{Boot, DomainSpec, DomainType, Owner};
use seedbed_simulated_api::Kind;
use seedbed_simulator::Machines;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::finale::has_ended;
use super::script::{CLUSTERS, POOLS, What};
use super::truth::path;
use super::{KeptByUser, NEWER, Sim, VERSION};
use crate::{Chance, Host, NAMESPACE, Operator, objects};

/// The version that upgrades lead to: a version of which there is no release, which every plan has to say.
const UPGRADE: &str = "v1.36.0";

impl Sim {
    /// Does it, and notes it.
    pub(crate) fn act(&mut self, what: &What) {
        self.world.note(&format!("--- {what:?}"));
        self.user(what);
        self.on_operator(what);
        self.on_calls(what);
        self.on_host(what);
        self.oracle.user_did();
    }

    /// What was refused was refused: a user sees that, too.
    fn user(&mut self, what: &What) {
        let world = &self.world;
        match what {
            What::MakeCluster(cluster, host) => {
                let names: Vec<_> = world.hosts().keys().collect();
                let host = Chance::new(*host).pick(&names).map(|name| (*name).clone());
                let object = objects::cluster(
                    CLUSTERS[*cluster],
                    &host.unwrap_or_default(),
                    &world.settings().version,
                );
                let _ = world.create(object);
            }
            What::MakePool(pool, replicas) => {
                let (name, cluster) = POOLS[*pool];
                let _ = world.create(objects::pool(name, cluster, *replicas));
            }
            What::Scale(pool, replicas) => {
                let _ = world.change("NodePool", POOLS[*pool].0, &json!({"replicas": replicas}));
            }
            What::ResizePool(pool, gib) => {
                let spec = json!({"machine": {"memory": format!("{gib}Gi")}});
                let _ = world.change("NodePool", POOLS[*pool].0, &spec);
            }
            What::ReplaceWorkers(pool, replace) => {
                let strategy = if *replace { "Replace" } else { "InPlace" };
                let _ = world.change("NodePool", POOLS[*pool].0, &json!({"upgradeStrategy": strategy}));
            }
            What::ResizeControlPlane(cluster, gib) if !self.came_up(CLUSTERS[*cluster]) => {
                let spec = json!({"controlPlane": {"machine": {"memory": format!("{gib}Gi")}}});
                let _ = world.change("DevCluster", CLUSTERS[*cluster], &spec);
            }
            What::Pause(cluster, paused) => {
                let _ = world.change("DevCluster", CLUSTERS[*cluster], &json!({"paused": paused}));
            }
            What::Retain(cluster, retain) => {
                let policy = if *retain { "Retain" } else { "Delete" };
                let _ = world.change(
                    "DevCluster",
                    CLUSTERS[*cluster],
                    &json!({"deletionPolicy": policy}),
                );
            }
            What::DeleteCluster(cluster) => {
                let _ = world.delete("DevCluster", CLUSTERS[*cluster]);
            }
            What::DeletePool(pool) => {
                let _ = world.delete("NodePool", POOLS[*pool].0);
            }
            What::PlanUpgrade(cluster) => {
                let name = CLUSTERS[*cluster];
                let _ = world.create(objects::upgrade(&format!("{name}-next"), name, UPGRADE));
            }
            What::DeleteUpgrade(cluster) => {
                let _ = world.delete("ClusterUpgrade", &format!("{}-next", CLUSTERS[*cluster]));
            }
            What::EditVersion(cluster, newer) => {
                let version = if *newer { NEWER } else { VERSION };
                let _ = world.change("DevCluster", CLUSTERS[*cluster], &json!({"version": version}));
            }
            What::Upgrade(cluster, soak) => {
                let name = CLUSTERS[*cluster];
                let mut object = objects::carried_out(&format!("{name}-by-hand"), name, NEWER);
                object["spec"]["soak"] = format!("{soak}s").into();
                let _ = world.create(object);
            }
            What::CancelUpgrade(cluster, which) => {
                if let Some(name) = self.nth_upgrade(CLUSTERS[*cluster], *which) {
                    let _ = world.change("ClusterUpgrade", &name, &json!({"cancel": true}));
                }
            }
            What::RestoreOnFailure(cluster, which) => self.restore_on_failure(CLUSTERS[*cluster], *which),
            What::FailUpgrade(cluster) => self.fail_upgrade(CLUSTERS[*cluster]),
            What::DamageSnapshot(cluster) => self.damage_snapshot(CLUSTERS[*cluster]),
            What::DropUpgrade(cluster, which) => {
                if let Some(name) = self.nth_upgrade(CLUSTERS[*cluster], *which) {
                    let _ = world.delete("ClusterUpgrade", &name);
                }
            }
            What::LoseStatus(cluster, which) => {
                if let Some(name) = self.nth_upgrade(CLUSTERS[*cluster], *which) {
                    let _ = world.lose_status("ClusterUpgrade", &name);
                }
            }
            What::LoseStatuses(cluster) => self.lose_statuses(CLUSTERS[*cluster]),
            What::LoseJournal(cluster) => {
                let _ = world.delete("ConfigMap", &format!("{}-upgrade", CLUSTERS[*cluster]));
            }
            What::DeleteMachine(which) => {
                if let Some(name) = self.nth_machine(*which) {
                    let _ = self.world.delete("DevMachine", &name);
                }
            }
            What::DeleteSecret(cluster, suffix) => {
                let _ = world.delete("Secret", &format!("{}-{suffix}", CLUSTERS[*cluster]));
            }
            What::WriteChild(cluster, number) => self.write_child(CLUSTERS[*cluster], *number),
            What::RunPods(cluster, number) => self.run_pods(CLUSTERS[*cluster], *number),
            _ => {}
        }
    }

    /// Name of one of the cluster's upgrades that are carried out, meant by its place among them.
    fn nth_upgrade(&self, cluster: &str, which: u64) -> Option<String> {
        let mut names: Vec<String> = self
            .world
            .all("ClusterUpgrade")
            .iter()
            .filter(|upgrade| {
                upgrade["spec"]["clusterRef"]["name"] == cluster && upgrade["spec"]["dryRun"] != true
            })
            .filter_map(|upgrade| path(upgrade, &["metadata", "name"]).map(str::to_owned))
            .collect();
        names.sort();
        Chance::new(which).pick(&names).cloned()
    }

    /// Whether a cluster's control plane has come up: who knows that does not ask for another one, also where nothing refuses it because a
    /// status was lost.
    fn came_up(&self, cluster: &str) -> bool {
        let allocations = self.world.get("ConfigMap", &format!("{cluster}-allocations"));
        let is_noted = allocations.is_some_and(|found| found.to_string().contains("initialized"));
        let machine = self.world.get("DevMachine", &format!("{cluster}-cp-0"));
        is_noted || machine.is_some_and(|found| found["status"]["bootstrap"]["phase"] == "Succeeded")
    }

    /// The statuses of a cluster and of all that belongs to it are lost.
    fn lose_statuses(&self, cluster: &str) {
        for kind in ["ClusterUpgrade", "NodePool", "DevMachine", "DevCluster"] {
            for object in self.world.all(kind) {
                let name = path(&object, &["metadata", "name"]).unwrap_or_default();
                let is_its = object["spec"]["clusterRef"]["name"] == cluster || name == cluster;
                if is_its {
                    let _ = self.world.lose_status(kind, name);
                }
            }
        }
    }

    /// A user wants an upgrade of the cluster restored where it fails.
    fn restore_on_failure(&self, cluster: &str, which: u64) {
        if let Some(name) = self.nth_upgrade(cluster, which) {
            let spec = json!({"onFailureAfterCommit": "RestoreSnapshot"});
            let _ = self.world.change("ClusterUpgrade", &name, &spec);
        }
    }

    /// From now on no job succeeds in the machines of a cluster whose upgrade has passed its point of no return.
    fn fail_upgrade(&self, cluster: &str) {
        if self.passed(cluster).next().is_some() {
            self.on_machines(cluster, |machines, domain| {
                machines.fail_jobs(domain, 4, seedbed_simulator::Failure::Preflight);
            });
        }
    }

    /// What a cluster whose upgrade has passed its point of no return would be restored from cannot be read any more. Once its disk was
    /// taken back there would be nothing left.
    fn damage_snapshot(&self, cluster: &str) {
        let goes_on = |upgrade: &Value| upgrade["status"]["undo"].is_null() && !has_ended(upgrade);
        if self.passed(cluster).any(|upgrade| goes_on(&upgrade)) {
            self.on_machines(cluster, Machines::damage_snapshots);
        }
    }

    /// The cluster's upgrades that have passed their point of no return.
    fn passed(&self, cluster: &str) -> impl Iterator<Item = Value> {
        let has_passed = move |upgrade: &Value| {
            upgrade["spec"]["clusterRef"]["name"] == cluster && upgrade["status"]["undoable"] == "No"
        };
        self.world.all("ClusterUpgrade").into_iter().filter(has_passed)
    }

    /// Does something to all machines of a cluster.
    fn on_machines(&self, cluster: &str, work: impl Fn(&Machines, &str)) {
        for host in self.world.hosts().values() {
            for domain in host.simulated.contents().domains {
                if domain.owner.is_some_and(|owner| owner.cluster == cluster) {
                    work(&host.machines, &domain.name);
                }
            }
        }
    }

    /// A user runs pods in a child cluster that answers, and says how many have to stay.
    fn run_pods(&self, cluster: &str, number: u64) {
        let object = self.world.get("DevCluster", cluster);
        let Some(api) = object.and_then(|object| self.child_of(&object)) else {
            return;
        };
        let (now, app) = (self.world.now(), format!("app-{number}"));
        let (pods, stay) = (1 + number % 3, number / 3 % 3);
        let labels = json!({"app": app});
        api.with(|store| {
            let mut make = |plural: &str, object: Value| {
                let kind = store.kinds().of_plural(plural).cloned();
                // One of that name is as good.
                kind.map(|kind| store.create(&kind, "default", object, now).is_ok())
            };
            for index in 0..pods {
                let metadata = json!({"name": format!("{app}-{index}"), "labels": labels});
                make("pods", json!({"metadata": metadata, "spec": {}}));
            }
            if stay > 0 {
                let spec = json!({"minAvailable": pods + 1 - stay, "selector": {"matchLabels": labels}});
                make(
                    "poddisruptionbudgets",
                    json!({"metadata": {"name": app}, "spec": spec}),
                );
            }
        });
    }

    /// A user keeps something in a child cluster that is Ready.
    fn write_child(&mut self, cluster: &str, number: u64) {
        let Some(object) = self.world.get("DevCluster", cluster) else {
            return;
        };
        if self.world.condition("DevCluster", cluster, "Ready").as_deref() != Some("True") {
            return;
        }
        let Some(api) = self.child_of(&object) else { return };
        let now = self.world.now();
        let name = format!("kept-{number}");
        let object_to_keep = json!({"metadata": {"name": name}, "data": {"kept": "yes"}});
        let made = api.with(|store| {
            let kind: Kind = store.kinds().of_plural("configmaps").cloned()?;
            store.create(&kind, "default", object_to_keep, now).ok()
        });
        if made.is_some() {
            let uid = path(&object, &["metadata", "uid"]).unwrap_or_default().to_owned();
            self.kept.push(KeptByUser {
                cluster: uid,
                name,
                at: now,
            });
        }
    }

    fn on_operator(&mut self, what: &What) {
        match what {
            What::Kill => {
                if let Some(operator) = self.operators.first() {
                    operator.kill();
                }
            }
            What::StartAnother if self.world.settings().election && self.operators.len() < 3 => {
                let another = self.world.operator();
                self.operators.push(another);
            }
            What::AskToStop => {
                if let Some(operator) = self.operators.first() {
                    operator.ask_to_stop();
                }
            }
            What::SuspendOperator(time) => {
                if let Some(operator) = self.operators.first() {
                    operator.suspend();
                    self.undo(*time, Undo::Resume(operator.name().to_owned()));
                }
            }
            What::SetClock(seconds) => {
                self.oracle.clocks_differ();
                for operator in &self.operators {
                    operator.set_clock_ahead(SignedDuration::from_secs(*seconds));
                }
            }
            _ => {}
        }
    }

    fn on_calls(&mut self, what: &What) {
        match what {
            What::Arm(arm) => self.conductor.arm(arm.clone()),
            What::Hold(kind, time) => self.conductor.hold(kind, *time),
            What::Break(kind) => self.conductor.break_watches(kind),
            What::Compact => self.world.api().with(seedbed_simulated_api::Store::compact),
            _ => {}
        }
    }

    fn on_host(&mut self, what: &What) {
        match what {
            What::Foreign(which, cluster) => self.make_foreign(*which, CLUSTERS[*cluster]),
            What::Disconnect(which, time) => {
                let name = self.nth_host(*which).0.clone();
                self.world.set_connection(&name, true);
                self.undo(*time, Undo::Connect(name));
            }
            What::Reboot(which, networks) => self.nth_host(*which).1.simulated.reboot(*networks),
            What::CutPower(which) => self.on_domain(*which, |host, domain| host.simulated.lose_power(domain)),
            What::Crash(which) => self.on_domain(*which, |host, domain| host.simulated.crash(domain)),
            What::SuspendMachine(which, time) => {
                self.on_domain(*which, |host, domain| host.simulated.set_suspended(domain, true));
                self.undo_domain(*which, *time, Undo::ResumeMachine);
            }
            What::Mute(which, time) => {
                self.on_domain(*which, |host, domain| host.machines.set_mute(domain, true));
                self.undo_domain(*which, *time, Undo::Unmute);
            }
            What::Isolate(which, time) => {
                self.on_domain(*which, |host, domain| host.machines.set_isolated(domain, true));
                self.undo_domain(*which, *time, Undo::Reach);
            }
            What::CutOff(cluster, time) => {
                let found = self.world.get("DevCluster", CLUSTERS[*cluster]);
                if let Some(address) = found.as_ref().and_then(super::address) {
                    self.world.set_cut(address, true);
                    self.undo(*time, Undo::ReachChild(address));
                }
            }
            What::FillPool(which, time) => {
                let (name, host) = self.nth_host(*which);
                host.simulated.set_pool_full(true);
                let name = name.clone();
                self.undo(*time, Undo::Empty(name));
            }
            What::FailJobs(which, times, failure) => {
                self.on_domain(*which, |host, domain| {
                    host.machines.fail_jobs(domain, *times, *failure);
                });
            }
            _ => {}
        }
    }

    fn make_foreign(&self, which: u64, cluster: &str) {
        let host = self.nth_host(which).1;
        match which % 4 {
            0 => host
                .simulated
                .make_foreign_network(&format!("{NAMESPACE}.{cluster}")),
            1 => host
                .simulated
                .make_foreign_volume(&format!("{NAMESPACE}.{cluster}-w-0.root.qcow2")),
            kind => {
                let name = format!("{NAMESPACE}.{cluster}-w-{}", which / 4 % 2);
                host.simulated
                    .make_foreign_domain(foreign_domain(&name), kind == 2);
            }
        }
    }

    fn nth_host(&self, which: u64) -> (&String, &Host) {
        let hosts = self.world.hosts();
        let index = usize::try_from(which % hosts.len().max(1) as u64).unwrap_or_default();
        hosts.iter().nth(index).expect("a world has a host")
    }

    fn nth_machine(&self, which: u64) -> Option<String> {
        let all = self.world.all("DevMachine");
        let index = usize::try_from(which.checked_rem(all.len() as u64)?).ok()?;
        path(&all[index], &["metadata", "name"]).map(str::to_owned)
    }

    fn nth_domain(&self, which: u64) -> Option<(String, String)> {
        let all: Vec<(String, String)> = self
            .world
            .hosts()
            .iter()
            .flat_map(|(name, host)| {
                let domains = host.simulated.contents().domains;
                domains.into_iter().map(|domain| (name.clone(), domain.name))
            })
            .collect();
        let index = usize::try_from(which.checked_rem(all.len() as u64)?).ok()?;
        all.into_iter().nth(index)
    }

    fn on_domain(&self, which: u64, work: impl FnOnce(&Host, &str)) {
        if let Some((host, domain)) = self.nth_domain(which)
            && let Some(host) = self.world.hosts().get(&host)
        {
            self.world.note(&format!("    it is {domain}"));
            work(host, &domain);
        }
    }

    fn undo_domain(&mut self, which: u64, time: Duration, undo: fn(String, String) -> Undo) {
        if let Some((host, domain)) = self.nth_domain(which) {
            self.undo(time, undo(host, domain));
        }
    }

    fn undo(&mut self, after: Duration, what: Undo) {
        self.undos.push((Instant::now() + after, what));
    }

    /// Undoes what has lasted its time; all of it, where everything is mended.
    pub(crate) fn undo_due(&mut self, everything: bool) {
        let now = Instant::now();
        let (due, rest) = std::mem::take(&mut self.undos)
            .into_iter()
            .partition(|(at, _)| everything || *at <= now);
        self.undos = rest;
        for (_, undo) in due {
            self.world.note(&format!("--- over: {undo:?}"));
            self.carry_out(&undo);
        }
    }

    fn carry_out(&self, undo: &Undo) {
        let host = |name: &String| self.world.hosts().get(name).expect("a host that is there");
        match undo {
            Undo::Resume(name) => {
                let stopped = self.operators.iter().find(|operator| operator.name() == name);
                if let Some(operator) = stopped {
                    operator.resume();
                }
            }
            Undo::Connect(name) => self.world.set_connection(name, false),
            Undo::ResumeMachine(of, domain) => host(of).simulated.set_suspended(domain, false),
            Undo::Unmute(of, domain) => host(of).machines.set_mute(domain, false),
            Undo::Reach(of, domain) => host(of).machines.set_isolated(domain, false),
            Undo::ReachChild(address) => self.world.set_cut(*address, false),
            Undo::Empty(name) => host(name).simulated.set_pool_full(false),
        }
    }

    /// Starts the operator again where it ended, as what looks after it does.
    pub(crate) fn supervise(&mut self) {
        let ended = self.operators.iter().position(Operator::has_ended);
        if let Some(index) = ended {
            self.operators.remove(index);
            let pause = self
                .chance
                .between(Duration::from_millis(50), Duration::from_secs(20));
            self.restarts.push(Instant::now() + pause);
        }
        let now = Instant::now();
        let due = self.restarts.iter().filter(|at| **at <= now).count();
        self.restarts.retain(|at| *at > now);
        for _ in 0..due {
            let next = self.world.operator();
            self.operators.push(next);
        }
    }

    /// Lets so much time go by, and looks after what has its time meanwhile.
    pub(crate) async fn let_go_by(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && self.oracle.violation().is_none() {
            let next = self
                .undos
                .iter()
                .map(|(at, _)| *at)
                .chain(self.restarts.iter().copied());
            let soon = Instant::now() + Duration::from_millis(500);
            let at = next.min().unwrap_or(until).min(until).min(soon);
            sleep(
                at.saturating_duration_since(Instant::now())
                    .max(Duration::from_millis(1)),
            )
            .await;
            self.undo_due(false);
            self.supervise();
            self.oracle.claims();
        }
    }
}

/// What ends something that lasts for a time.
#[derive(Debug, Clone)]
pub(crate) enum Undo {
    Resume(String),
    Connect(String),
    ResumeMachine(String, String),
    Unmute(String, String),
    Reach(String, String),
    ReachChild(std::net::Ipv4Addr),
    Empty(String),
}

fn foreign_domain(name: &str) -> DomainSpec {
    let text = |text: &str| text.to_owned();
    DomainSpec {
        name: name.to_owned(),
        uuid: Value::from("00000000-0000-4000-8000-000000000001")
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a UUID"),
        owner: Owner {
            namespace: text("somebody"),
            cluster: text("else"),
            cluster_uid: text("0"),
            machine: Some(text("else-w-0")),
            machine_uid: Some(name.to_owned()),
        },
        spec_hash: text("0"),
        cpus: 1,
        memory_bytes: 1 << 30,
        domain_type: DomainType::Kvm,
        boot: Boot::Disk,
        disks: Vec::new(),
        nics: Vec::new(),
    }
}
