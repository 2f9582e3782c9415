//! Asks guests what a preflight wants to know of them. They are only looked at.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use seedbed_crds::{DevCluster, DevMachine};
use seedbed_guest::{Exec, Guest, GuestError};
use seedbed_hypervisor::Hypervisor;
use seedbed_kubeadm::upgrade::{FACTS, FACTS_NAME};
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::GuestFacts;

use super::facts;
use crate::controllers::world::World;
use crate::controllers::{machine, owned};

/// How many guests are asked at once.
const WIDTH: usize = 16;
/// How long a guest may take to answer: an emulated one that is busy takes seconds to start each program.
const LIMIT: Duration = Duration::from_mins(1);
/// For how long it is kept what a guest said.
pub const KEPT: Duration = Duration::from_mins(2);
/// How much of what a failed look wrote is told.
const TOLD: usize = 300;

/// What the machines that are nodes say of themselves, by their names. A machine that is made, or goes, is not asked.
pub async fn ask(
    cluster: &DevCluster,
    machines: &[DevMachine],
    hypervisor: Observed<Arc<dyn Hypervisor>>,
    world: &World,
) -> Vec<(String, Observed<GuestFacts>)> {
    let nodes: Vec<_> = machines
        .iter()
        .filter(|m| m.metadata.deletion_timestamp.is_none() && machine::is_bootstrapped(m))
        .cloned()
        .collect();
    let hypervisor = match hypervisor {
        Observed::Known(hypervisor) => hypervisor,
        Observed::Unknown(why) => {
            let unknown = |m: &DevMachine| (owned::name(m), Observed::Unknown(why.clone()));
            return nodes.iter().map(unknown).collect();
        }
    };
    stream::iter(nodes)
        .map(|node| {
            let (_, _, guest) = machine::guest(&node, cluster, hypervisor.clone(), &world.context);
            async move { (owned::name(&node), facts(&owned::uid(&node), &guest, world).await) }
        })
        .buffered(WIDTH)
        .collect()
        .await
}

/// What the guest says, or said a short time ago.
async fn facts(uid: &str, guest: &Guest, world: &World) -> Observed<GuestFacts> {
    let clock = &world.context.clock;
    if let Some(facts) = world.guest_facts.get(uid, clock.elapsed()) {
        return Observed::Known(facts);
    }
    match look(guest).await {
        Ok(text) => match facts::read(&text) {
            Ok(facts) => {
                world.guest_facts.put(uid, facts.clone(), clock.elapsed());
                Observed::Known(facts)
            }
            Err(why) => Observed::Unknown(format!("what its guest says is not understood: {why}")),
        },
        Err(error) => Observed::Unknown(error.to_string()),
    }
}

async fn look(guest: &Guest) -> Result<String, GuestError> {
    let what = "look at memory, disks, certificates and etcd".to_owned();
    let exec = Exec {
        what: what.clone(),
        path: "/bin/bash".to_owned(),
        arguments: vec!["-c".to_owned(), FACTS.to_owned(), FACTS_NAME.to_owned()],
        input: Vec::new(),
        limit: LIMIT,
    };
    let output = guest.exec(&exec).await?;
    if output.exit_code == 0 {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(GuestError::Failed {
        domain: guest.domain().to_owned(),
        what,
        exit_code: output.exit_code,
        message: words.trim().chars().take(TOLD).collect(),
    })
}
