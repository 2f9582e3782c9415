//! An upgrade that was begun, with all that it is done to.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;
use seedbed_crds::{
    ClusterUpgrade, DevCluster, DevMachine, MachineRole, NodePool, UpgradePhase, UpgradeStep,
    UpgradeStepState, UpgradeTargetKind,
};
use seedbed_guest::Guest;
use seedbed_hypervisor::{Hypervisor, Owner};
use seedbed_planner::names;
use seedbed_planner::pool::Rollout;
use seedbed_planner::upgrade::Version;

use super::journal::Entry;
use crate::child::ChildApi;
use crate::controllers::world::World;
use crate::controllers::{access, machine, owned};
use crate::errors::Error;

/// How many machines of a pool are given what is new at once: enough to use a host, and not so many that its guests wait for each other.
const PRELOADS: usize = 4;

/// An upgrade that was begun, with all that it is done to.
pub struct Subject {
    /// Its object.
    pub upgrade: ClusterUpgrade,
    /// What was written down of it.
    pub entry: Entry,
    /// Its cluster.
    pub cluster: DevCluster,
    /// The cluster's host.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// The way into the child cluster.
    pub child: Arc<dyn ChildApi>,
    /// The version of before.
    pub from: Version,
    /// The new one.
    pub to: Version,
}

/// A machine that a step is done to, and the ways to it.
pub struct Reached {
    /// Its object.
    pub machine: DevMachine,
    /// Name of its domain.
    pub domain: String,
    /// Whose the domain has to be.
    pub owner: Owner,
    /// Its guest.
    pub guest: Guest,
}

impl Subject {
    /// The subject; why there is none, where what it needs is not to be had now.
    pub async fn find(
        upgrade: ClusterUpgrade,
        entry: Entry,
        cluster: DevCluster,
        world: &World,
    ) -> Result<Result<Self, String>, Error> {
        let missing = |what: &str| Ok(Err(what.to_owned()));
        let name = &cluster.spec.host_ref.name;
        let Some(host) = world.host(name) else {
            return Ok(Err(format!("there is no HypervisorHost named {name}")));
        };
        let stored = world.allocations(&cluster).await?;
        let Some(child) = access::child(world, &cluster, stored.as_ref()).await? else {
            return missing("the address of the cluster's API server is not known");
        };
        let Some((from, to)) = Version::parse(&entry.from).zip(Version::parse(&entry.to)) else {
            return missing("its versions cannot be read");
        };
        Ok(Ok(Self {
            hypervisor: world.context.hosts.hypervisor(&host),
            upgrade,
            entry,
            cluster,
            child,
            from,
            to,
        }))
    }

    /// The minor version that the new control plane behaves like until `Commit`, where there is something to emulate.
    pub fn emulated(&self) -> Option<String> {
        (self.from.series() != self.to.series()).then(|| self.from.series())
    }

    /// The machines that the step is done to, in their order; none where one of them cannot be found, or goes, and how many at once.
    pub fn machines(&self, step: &UpgradeStep, world: &World) -> Option<(Vec<Reached>, usize)> {
        let mut all = world.machines_of_cluster(&self.cluster);
        // Nothing of one that somebody removes is begun, put back or started.
        all.retain(|machine| machine.metadata.deletion_timestamp.is_none());
        let target = &step.target;
        let undo = step.state == UpgradeStepState::Undoing;
        let (found, width) = match target.kind {
            UpgradeTargetKind::DevMachine => {
                (vec![all.into_iter().find(|m| m.name_any() == target.name)?], 1)
            }
            UpgradeTargetKind::DevCluster => match step.phase {
                UpgradePhase::Commit | UpgradePhase::Verify => {
                    (some(control_planes(&self.cluster, &all))?, 1)
                }
                UpgradePhase::Addons => {
                    let all = some(control_planes(&self.cluster, &all))?;
                    (all.into_iter().take(1).collect(), 1)
                }
                _ => (Vec::new(), 1),
            },
            UpgradeTargetKind::NodePool => {
                let Some(pool) = world.pool(&owned::namespace(&self.cluster), &target.name) else {
                    return Some((Vec::new(), 1));
                };
                // One that goes, or was never a node, is not upgraded. One that is about to join is waited for, before anything changes;
                // and so is one whose status was lost, until it is known what it is.
                let waits = !undo;
                let mut machines = world.machines_of_pool(&pool);
                machines.retain(|m| machine::is_node(m) || waits && machine::may_join(m));
                machines.sort_by_key(|m| (names::index_of(&m.name_any(), &target.name), m.name_any()));
                let strategy = &pool.spec.strategy;
                let replicas = u32::try_from(pool.spec.replicas).unwrap_or(0);
                let rollout = Rollout::resolve(&strategy.max_surge, &strategy.max_unavailable, replicas);
                let width = match step.phase {
                    // In place there is no surge: at least one has to be missing for a while.
                    UpgradePhase::Nodes if !undo => rollout.max_unavailable.max(1) as usize,
                    _ => PRELOADS,
                };
                (machines, width)
            }
        };
        Some((found.into_iter().map(|m| self.reached(m, world)).collect(), width))
    }

    /// Names of the machines that are nodes of the cluster. What else is a node of it has nothing to do with its upgrade.
    pub fn joined(&self, world: &World) -> Vec<String> {
        let machines = world.machines_of_cluster(&self.cluster).into_iter();
        machines.filter(machine::is_node).map(|m| m.name_any()).collect()
    }

    /// Names of the machines whose kubelets need not follow: their pools were held back when the upgrade was planned, or their machines are
    /// replaced when it is done.
    pub fn left_behind(&self, world: &World) -> BTreeSet<String> {
        let stays = |pool: &NodePool| {
            let mut steps = self.entry.steps.iter();
            !steps.any(|step| step.phase == UpgradePhase::Nodes && step.target.name == pool.name_any())
        };
        world.machines_by_pool(&self.cluster, stays).into_keys().collect()
    }

    fn reached(&self, machine: DevMachine, world: &World) -> Reached {
        let (domain, owner, guest) =
            machine::guest(&machine, &self.cluster, self.hypervisor.clone(), &world.context);
        Reached {
            machine,
            domain,
            owner,
            guest,
        }
    }
}

/// The control planes among the machines of the cluster, in the order in which they are upgraded.
pub fn control_planes(cluster: &DevCluster, machines: &[DevMachine]) -> Vec<DevMachine> {
    let prefix = names::control_plane_prefix(&owned::name(cluster));
    let is_control_plane = |m: &&DevMachine| m.spec.role == MachineRole::ControlPlane;
    let mut found: Vec<_> = machines.iter().filter(is_control_plane).cloned().collect();
    found.sort_by_key(|m| (names::index_of(&m.name_any(), &prefix), m.name_any()));
    found
}

fn some(machines: Vec<DevMachine>) -> Option<Vec<DevMachine>> {
    (!machines.is_empty()).then_some(machines)
}
