//! One run of a scenario, with at most one kill.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seedbed_simulation::{Operator, Settings, World};
use serde_json::Value;
use tokio::time::sleep;

use crate::followed;
use crate::ledger::{of_api, plain, standing};
use crate::saboteur::{Point, Saboteur};
use crate::scenarios::{Scenario, VERSION};

/// How long anything may take, in virtual time.
const LIMIT: Duration = Duration::from_mins(20);
/// How long an operator that was killed is away.
const AWAY: Duration = Duration::from_secs(1);

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What was not so in time.
    pub problem: Option<String>,
    /// Whether the operator was killed.
    pub killed: bool,
    /// The effects that were done.
    pub reached: BTreeSet<String>,
    /// How many steps of each can change something.
    pub steps: BTreeMap<String, usize>,
    /// How everything stands in the end.
    pub end: Lines,
    /// What was done, each as often as it was.
    pub done: Lines,
}

/// Lines, each as often as it is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Those that the other has not, or not as often.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let of = |line: &String| other.0.get(line).copied().unwrap_or_default();
        let more = self.0.iter().filter(|(line, count)| **count > of(line));
        more.map(|(line, count)| format!("{}x {line}", count - of(line)))
            .collect()
    }
}

impl Extend<String> for Lines {
    fn extend<T: IntoIterator<Item = String>>(&mut self, lines: T) {
        for line in lines {
            *self.0.entry(line).or_default() += 1;
        }
    }
}

/// A world and the operator that is kept running in it.
pub struct Stage {
    /// The world.
    pub world: World,
    operator: Option<Operator>,
    /// What was not so in time.
    pub problem: Option<String>,
}

impl Stage {
    /// Lets that much time go by.
    pub async fn pass(&mut self, time: Duration) {
        let step = Duration::from_millis(500);
        let mut left = time;
        while !left.is_zero() {
            let next = left.min(step);
            sleep(next).await;
            left = left.saturating_sub(next);
            self.supervise().await;
        }
    }

    /// Waits until it is so. What is not so in time is the problem of this run, and nothing is waited for any more.
    pub async fn until(&mut self, what: &str, is_so: impl AsyncFn(&World) -> bool) {
        let mut left = LIMIT;
        let step = Duration::from_millis(500);
        while self.problem.is_none() && !is_so(&self.world).await {
            if left.is_zero() {
                self.problem = Some(format!("{what}: not so; found\n{}", self.world.told()));
            }
            left = left.saturating_sub(step);
            self.pass(step).await;
        }
    }

    /// Starts the operator again where it was killed.
    async fn supervise(&mut self) {
        if self.operator.as_ref().is_none_or(Operator::has_ended) {
            self.operator = None;
            sleep(AWAY).await;
            self.operator = Some(self.world.operator());
        }
    }
}

/// Runs the scenario.
pub fn run(scenario: &Scenario, point: Option<Point>) -> Report {
    let _followed = followed::follow();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(perform(scenario, point))
}

async fn perform(scenario: &Scenario, point: Option<Point>) -> Report {
    let saboteur = Saboteur::new(point);
    let mut settings = Settings::new(VERSION);
    (scenario.prepare)(&mut settings);
    let world = World::new(settings, saboteur.clone());
    saboteur.watch(&world);
    let mut stage = Stage {
        operator: Some(world.operator()),
        world,
        problem: None,
    };
    (scenario.perform)(&mut stage).await;
    // What follows from the last change is done soon.
    stage.pass(Duration::from_mins(5)).await;
    let mut done = Lines::default();
    done.extend(saboteur.ledger());
    done.extend(of_seed(&stage.world));
    done.extend(of_children(&stage.world));
    done.extend([
        format!("{} machines were switched on", stage.world.boots()),
        format!("{} jobs were begun", stage.world.host().machines.begun().len()),
    ]);
    Report {
        problem: stage.problem.clone(),
        killed: saboteur.killed(),
        reached: saboteur.reached(),
        steps: saboteur.steps(),
        end: end(&stage.world).await,
        done,
    }
}

fn of_seed(world: &World) -> Vec<String> {
    let kinds = [
        "devclusters",
        "nodepools",
        "devmachines",
        "hypervisorhosts",
        "kubernetesreleases",
        "configmaps",
        "secrets",
    ];
    world.api().with(|store| of_api("seed", store, &kinds))
}

/// What was done in the clusters that are there still.
fn of_children(world: &World) -> Vec<String> {
    let kinds = ["nodes", "secrets", "pods", "jobs"];
    let apis = world.all("DevCluster").into_iter().filter_map(|cluster| {
        let endpoint = cluster["status"]["endpoint"].as_str()?;
        let address = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
        world.host().machines.api(address.parse().ok()?)
    });
    apis.flat_map(|api| api.with(|store| of_api("child", store, &kinds)))
        .collect()
}

async fn end(world: &World) -> Lines {
    let mut lines = Lines::default();
    for kind in [
        "DevCluster",
        "NodePool",
        "ClusterUpgrade",
        "DevMachine",
        "HypervisorHost",
        "KubernetesRelease",
    ] {
        lines.extend(world.all(kind).iter().map(standing));
    }
    for kind in ["ConfigMap", "Secret"] {
        let named = |object: &Value| plain(&format!("{kind} {}", object["metadata"]["name"]));
        lines.extend(world.all(kind).iter().map(named));
    }
    let inventory = world.inventory().await;
    lines.extend(inventory.domains.iter().map(|d| {
        let ours = d.owner.is_some();
        plain(&format!("domain {} {:?}, ours {ours}", d.name, d.power))
    }));
    lines.extend(inventory.networks.iter().map(|n| {
        let (count, ours) = (n.reservations.len(), n.owner.is_some());
        format!(
            "network {} active {}, {count} reservations, ours {ours}",
            n.name, n.active
        )
    }));
    lines.extend(inventory.volumes.iter().map(|v| {
        let complete = v.complete;
        plain(&format!("volume {} complete {complete}", v.name))
    }));
    lines
}
