//! One seed: a world, a script that is drawn from the seed, an oracle, and an end.

mod act;
mod allocations;
mod calls;
mod conductor;
mod drain;
mod finale;
mod oracle;
mod order;
mod picture;
mod script;
mod secrets;
mod truth;
mod weather;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use seedbed_simulated_api::ApiServer;
use serde_json::Value;
use tokio::time::Instant;

use crate::logs::Logs;
use crate::{Chance, Operator, Settings, World};
use act::Undo;
use conductor::Conductor;
use oracle::Oracle;
pub use script::Script;
use truth::path;

const VERSION: &str = "v1.35.4";
/// The version that clusters are upgraded to.
const NEWER: &str = "v1.36.3";

/// A world to which a script is done.
pub(crate) struct Sim {
    world: World,
    conductor: Arc<Conductor>,
    oracle: Arc<Oracle>,
    operators: Vec<Operator>,
    /// When instances of the operator are started again.
    restarts: Vec<Instant>,
    undos: Vec<(Instant, Undo)>,
    /// What users wrote into child clusters.
    kept: Vec<KeptByUser>,
    /// Clusters that the user makes again once they are gone.
    again: Vec<(String, Value)>,
    chance: Chance,
}

/// Something that a user wrote into a child cluster.
struct KeptByUser {
    /// UID of the cluster.
    cluster: String,
    name: String,
    at: jiff::Timestamp,
}

/// How a seed went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was not as it should be.
    pub problem: Option<String>,
    /// All that happened, a line each.
    pub log: String,
    /// How much virtual time went by.
    pub elapsed: Duration,
}

/// Runs the script in this thread, whose randomness has to follow from the seed ([`crate::entropy::follow`]).
pub fn run(seed: u64, script: &Script, logs: &Logs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let begun = Instant::now();
        let (problem, log) = Box::pin(simulate(seed, script, logs)).await;
        Outcome {
            problem,
            log,
            elapsed: begun.elapsed(),
        }
    })
}

async fn simulate(seed: u64, script: &Script, logs: &Logs) -> (Option<String>, String) {
    let chance = Chance::new(seed);
    let conductor = Conductor::new(chance.of("calls"), script.weather.clone());
    let hosts = [("h1", "10.64.0.0/16"), ("h2", "10.65.0.0/16")];
    let settings = Settings {
        seed,
        hosts: hosts[..script.hosts]
            .iter()
            .map(|(name, range)| ((*name).to_owned(), (*range).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        election: script.election,
        collects_garbage: script.collects_garbage,
        ..Settings::new(VERSION)
    };
    let world = World::new(settings, conductor.clone());
    let oracle = Oracle::new(&world);
    conductor.set_oracle(oracle.clone());
    let operator = world.operator();
    let mut sim = Sim {
        world,
        conductor,
        oracle,
        operators: vec![operator],
        restarts: Vec::new(),
        undos: Vec::new(),
        kept: Vec::new(),
        again: Vec::new(),
        chance: chance.of("restarts"),
    };
    let problem = match sim.perform(script).await {
        Some(problem) => Some(problem),
        None => sim.finish().await.err(),
    };
    let leaked = sim.oracle.secret_in(&logs.text());
    let panicked = logs.panics();
    let problem = problem
        .or_else(|| panicked.map(|panic| format!("a panic: {panic}")))
        .or_else(|| leaked.map(|secret| format!("a secret is in the operator's logs: {secret}")));
    (problem, sim.world.log())
}

impl Sim {
    async fn perform(&mut self, script: &Script) -> Option<String> {
        if script.upgrades {
            // There is none of that name yet.
            let _ = self.world.create(crate::objects::release(NEWER));
        }
        let begun = Instant::now();
        for event in &script.events {
            let wait = (begun + event.at).saturating_duration_since(Instant::now());
            self.let_go_by(wait).await;
            if let Some(problem) = self.oracle.violation() {
                return Some(problem);
            }
            self.act(&event.what);
        }
        let rest = (begun + script.length).saturating_duration_since(Instant::now());
        self.let_go_by(rest).await;
        self.oracle.violation()
    }

    fn child_of(&self, cluster: &Value) -> Option<ApiServer> {
        child_of(&self.world, cluster)
    }
}

/// The address of a cluster's API.
fn address(cluster: &Value) -> Option<Ipv4Addr> {
    let endpoint = path(cluster, &["status", "endpoint"])?;
    let host = endpoint.trim_start_matches("https://").trim_end_matches(":6443");
    host.parse().ok()
}

/// The API of a cluster, if it answers.
fn child_of(world: &World, cluster: &Value) -> Option<ApiServer> {
    api_at(world, address(cluster)?)
}

/// The API at that address, if it answers.
fn api_at(world: &World, address: Ipv4Addr) -> Option<ApiServer> {
    world.hosts().values().find_map(|host| host.machines.api(address))
}
