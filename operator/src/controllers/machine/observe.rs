//! Looks at everything that decides what is done with a machine, and only as far as it decides anything.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use seedbed_crds::{
    BootstrapPhase, DevCluster, DevMachine, HypervisorHost, KubernetesRelease, MachineRole, NodePool,
};
use seedbed_guest::Guest;
use seedbed_hypervisor::{DomainFacts, Hypervisor, Owner, PowerState};
use seedbed_planner::capacity::{self, Demand};
use seedbed_planner::machine::{
    Attempt, Domain, Drain, Job, Leaving, Network, Node as NodeView, Power, Seen,
};
use seedbed_planner::{Observed, names};
use seedbed_planted::planted;

use super::join;
use crate::child::{ChildApi, NodeShape};
use crate::controllers::allocations::Stored;
use crate::controllers::guest_jobs::{Progress, progress};
use crate::controllers::world::World;
use crate::controllers::{cluster, nodes, owned, pool, releases, room};
use crate::render::ClusterPlan;

/// Pause before a failed attempt is followed by the next, per attempt.
const RETRY_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// What is said of a machine that has to join again.
const LEFT_BEHIND: &str = "the machine had joined, and its node is not in the cluster (any more): somebody removed it, or the control plane was begun anew";

/// A machine with all that it refers to.
pub struct Subject {
    /// The machine itself, as the API server has it.
    pub machine: DevMachine,
    /// Its cluster.
    pub cluster: DevCluster,
    /// Its pool; none for a control plane, and for a worker whose pool is gone.
    pub pool: Option<NodePool>,
    /// Its host's object.
    pub host: HypervisorHost,
    /// Its host.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// Its release.
    pub release: Option<KubernetesRelease>,
    /// The cluster's allocations.
    pub stored: Option<Stored>,
    /// The cluster's plan.
    pub plan: ClusterPlan,
    /// The way into the child cluster; none before its address is known.
    pub child: Option<Arc<dyn ChildApi>>,
    /// Its guest.
    pub guest: Guest,
    /// Whose the domain has to be.
    pub owner: Owner,
}

/// What was seen beside what decides: for the status.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The domain.
    pub domain: Option<DomainFacts>,
    /// Whether the host could be asked.
    pub host_answered: bool,
    /// The node.
    pub node: Option<Node>,
    /// Why the cluster's API does not say whether there is one.
    pub node_unknown: Option<String>,
    /// Why the attempt failed: the last lines of the job's log, or what became of the cluster that it joined.
    pub job_log: Option<String>,
    /// What holds up a drain.
    pub drain: Option<Drain>,
}

impl Subject {
    /// Name of the machine.
    pub fn name(&self) -> String {
        owned::name(&self.machine)
    }

    /// Name of its domain.
    pub fn domain_name(&self) -> String {
        names::domain(&owned::namespace(&self.machine), &self.name())
    }

    /// What was allotted to it.
    pub fn allocation(&self) -> Option<&seedbed_planner::allocation::MachineAllocation> {
        self.stored
            .as_ref()?
            .allocations
            .machine(&self.name(), &owned::uid(&self.machine))
    }

    /// Names of its volumes: root, cloud-init.
    pub fn volumes(&self) -> [String; 2] {
        let (namespace, name, uid) = (
            owned::namespace(&self.machine),
            self.name(),
            owned::uid(&self.machine),
        );
        [
            names::root_volume(&namespace, &name, &uid),
            names::cidata_volume(&namespace, &name, &uid),
        ]
    }

    /// Name of its job in the guest, for that attempt.
    pub fn token(&self, attempt: i32) -> String {
        let version = self.machine.metadata.resource_version.clone();
        let machine = version.filter(|_| planted!(TokenOfVersion));
        names::job_token(
            &owned::uid(&self.cluster),
            &machine.unwrap_or_else(|| owned::uid(&self.machine)),
            "bootstrap",
            attempt,
        )
    }

    async fn domain(&self, facts: &mut Facts) -> Observed<Option<Domain>> {
        let found = self.hypervisor.domain(&self.domain_name()).await;
        let found = found.or_else(|fault| planted!(UnknownIsAbsent).then_some(None).ok_or(fault));
        facts.host_answered = found.is_ok();
        Observed::from(found).map(|found| {
            let seen = found.as_ref().map(|d| Domain {
                power: match d.power {
                    PowerState::Running => Power::Running,
                    PowerState::Paused => Power::Paused,
                    PowerState::Off => Power::Off,
                    PowerState::Crashed => Power::Crashed,
                },
                foreign: foreign(d, &self.owner),
            });
            facts.domain = found;
            seen
        })
    }

    async fn reserved(&self) -> Observed<bool> {
        let network = names::network(&self.owner.namespace, &self.owner.cluster);
        let Some(mac) = self.allocation().map(|a| a.mac.clone()) else {
            return Observed::Known(false);
        };
        Observed::from(self.hypervisor.network(&network).await)
            .map(|n| n.is_some_and(|n| n.reservations.iter().any(|r| r.mac == mac)))
    }

    fn node(&self, facts: &mut Facts) -> Observed<Option<NodeView>> {
        let Some(child) = &self.child else {
            return Observed::Unknown("the address of the cluster's API server is not known yet".to_owned());
        };
        self.seen(child.node(&self.name()), facts)
    }

    /// The node as it is now: one that registered since the watch told anything would outlast its machine.
    async fn node_now(&self, facts: &mut Facts) -> Observed<Option<NodeView>> {
        let Some(child) = &self.child else {
            return Observed::Unknown("the address of the cluster's API server is not known yet".to_owned());
        };
        let found = Observed::from(child.node_now(&self.name()).await);
        self.seen(found, facts)
    }

    fn seen(&self, found: Observed<Option<Node>>, facts: &mut Facts) -> Observed<Option<NodeView>> {
        let shape = self.shape();
        if let Observed::Unknown(why) = &found {
            facts.node_unknown = Some(why.clone());
        }
        found.map(|found| {
            let view = found.as_ref().map(|n| NodeView {
                ready: nodes::is_ready(n),
                message: nodes::not_ready_message(n),
                settings_applied: shape.fits(n),
                cordoned: nodes::is_cordoned(n),
            });
            facts.node = found;
            view
        })
    }

    /// Labels and pod range that the node should have.
    pub fn shape(&self) -> NodeShape {
        let labels = match self.machine.spec.role {
            MachineRole::ControlPlane => self.cluster.spec.control_plane.node_labels.clone(),
            MachineRole::Worker => self
                .pool
                .as_ref()
                .map(|p| p.spec.node_labels.clone())
                .unwrap_or_default(),
        };
        let pod_cidr = self
            .stored
            .as_ref()
            .zip(self.allocation())
            .and_then(|(stored, allocation)| {
                self.plan
                    .bridge(stored.allocations.node_cidr)
                    .ok()
                    .flatten()?
                    .pods_of(allocation.ip)
                    .ok()
            });
        NodeShape {
            labels,
            pod_cidr: pod_cidr.map(|c| c.to_string()),
        }
    }
}

/// What the domain's metadata says, where that is not that it is the owner's.
fn foreign(domain: &DomainFacts, owner: &Owner) -> Option<String> {
    match &domain.owner {
        Some(found) if found.cluster_uid == owner.cluster_uid && found.machine_uid == owner.machine_uid => {
            None
        }
        Some(_) if planted!(SkipUidCheck) => None,
        None if planted!(AdoptUnowned) => None,
        Some(found) => Some(format!(
            "its metadata names machine UID {} of cluster {}/{}, expected {}",
            found.machine_uid.as_deref().unwrap_or("none"),
            found.namespace,
            found.cluster,
            owner.machine_uid.as_deref().unwrap_or("none"),
        )),
        None => Some("it has no metadata of Seedbed's".to_owned()),
    }
}

/// Looks at a machine that should exist.
pub async fn present(subject: &Subject, world: &World, now: Timestamp) -> (Seen, Facts) {
    let mut facts = Facts::default();
    let not_looked = || "not looked at".to_owned();
    let status = subject.machine.status.clone().unwrap_or_default();
    let attempt = status.bootstrap.as_ref().map(|b| Attempt {
        phase: b.phase,
        number: b.attempt,
    });
    let mut seen = Seen {
        role: subject.machine.spec.role,
        paused: subject.cluster.spec.paused,
        capacity: Observed::Unknown(not_looked()),
        release: Observed::Unknown(not_looked()),
        network: if subject.stored.is_some() {
            Network::Down
        } else {
            Network::NoRange
        },
        address: subject.allocation().map(|a| a.ip),
        reserved: Observed::Unknown(not_looked()),
        root_volume: Observed::Unknown(not_looked()),
        cidata_volume: Observed::Unknown(not_looked()),
        domain: subject.domain(&mut facts).await,
        agent: Observed::Unknown(not_looked()),
        attempt,
        job: Observed::Unknown(not_looked()),
        retry_due: retry_due(&status, now),
        keys: subject.child.is_some(),
        joinable: Observed::Unknown(not_looked()),
        superseded: None,
        token_lost: Observed::Unknown(not_looked()),
        left_behind: false,
        was_node: status.node.is_some(),
        node: Observed::Unknown(not_looked()),
    };
    match &seen.domain {
        Observed::Known(None) => provision(subject, world, &mut seen).await,
        Observed::Known(Some(Domain {
            power: Power::Running,
            foreign: None,
        })) => {
            running(subject, world, now, &mut seen, &mut facts).await;
        }
        _ => {}
    }
    if super::is_bootstrapped(&subject.machine) && seen.node == Observed::Unknown(not_looked()) {
        // A node outlives what is under it: what its cluster's API says of it is told, whatever the host says.
        subject.node(&mut facts);
    }
    (seen, facts)
}

async fn provision(subject: &Subject, world: &World, seen: &mut Seen) {
    let network = names::network(&subject.owner.namespace, &subject.owner.cluster);
    let mac = subject.allocation().map(|a| a.mac.clone());
    let found = subject.hypervisor.network(&network).await;
    let is_up = found.as_ref().is_ok_and(|n| {
        n.as_ref()
            .is_some_and(|n| n.active && n.is_of(&subject.owner.cluster_uid))
    });
    if seen.network == Network::Down && is_up {
        seen.network = Network::Up;
    }
    seen.reserved = Observed::from(found)
        .map(|n| n.is_some_and(|n| n.reservations.iter().any(|r| Some(&r.mac) == mac.as_ref())));
    seen.capacity = room(subject, world).await;
    let [root, cidata] = subject.volumes();
    seen.root_volume = Observed::from(subject.hypervisor.volume(&root).await).map(|v| v.is_some());
    seen.cidata_volume =
        Observed::from(subject.hypervisor.volume(&cidata).await).map(|v| v.is_some_and(|v| v.complete));
    seen.release = match &subject.release {
        None => Observed::Known(Err(format!(
            "no KubernetesRelease named {} exists",
            subject.machine.spec.version
        ))),
        Some(release) => releases::on_host(release, &subject.host, subject.hypervisor.as_ref()).await,
    };
}

async fn running(subject: &Subject, world: &World, now: Timestamp, seen: &mut Seen, facts: &mut Facts) {
    match &seen.attempt {
        Some(Attempt {
            phase: BootstrapPhase::Succeeded,
            ..
        }) => {
            seen.node = subject.node(facts);
            if seen.node == Observed::Known(None) && join::is_overdue(subject, now) {
                seen.node = subject.node_now(facts).await;
                seen.left_behind = seen.node == Observed::Known(None);
                facts.job_log = seen.left_behind.then(|| LEFT_BEHIND.to_owned());
            }
        }
        Some(Attempt {
            phase: BootstrapPhase::Started,
            number,
        }) => {
            seen.job = job(subject, *number, facts).await;
            if seen.job == Observed::Known(Job::Running) {
                seen.token_lost = join::token_lost(subject, world).await;
            }
        }
        None
        | Some(Attempt {
            phase: BootstrapPhase::Failed,
            ..
        }) => {
            let connected = facts.domain.as_ref().and_then(|d| d.agent_connected);
            seen.agent = match connected {
                Some(false) => Observed::Known(false),
                _ => match subject.guest.ping().await {
                    Ok(()) => Observed::Known(true),
                    Err(error) if error.agent_silent() => Observed::Known(false),
                    Err(error) => Observed::Unknown(error.to_string()),
                },
            };
            if subject.machine.spec.role == MachineRole::Worker {
                if seen.agent == Observed::Known(true) {
                    let was_tried = seen.attempt.is_some();
                    seen.superseded = superseded(subject, was_tried, world, facts).await;
                }
                seen.joinable = match &subject.child {
                    None => Observed::Known(false),
                    Some(child) => Observed::from(child.cluster_info_ready().await),
                };
            }
        }
    }
}

/// The version that new workers of the machine's pool are made of, where that is another one and the machine is no node: its attempt
/// failed, or none was ever begun in its guest, not even one of which nothing is written down any more.
async fn superseded(subject: &Subject, was_tried: bool, world: &World, facts: &mut Facts) -> Option<String> {
    let machine = &subject.machine;
    let name = &machine.spec.pool_ref.as_ref()?.name;
    let pool = world.pool(&owned::namespace(machine), name)?;
    let present = world.machines_of_pool(&pool);
    let version = pool::version(&pool, &subject.cluster, &present, world);
    // An upgrade in place leaves what it was made of as it is.
    if version == pool::kubelet(machine).unwrap_or(&machine.spec.version) {
        return None;
    }
    let is_none = was_tried || job(subject, 1, facts).await == Observed::Known(Job::NotStarted);
    is_none.then_some(version)
}

/// How the job is.
async fn job(subject: &Subject, attempt: i32, facts: &mut Facts) -> Observed<Job> {
    let found = match progress(&subject.guest, &subject.token(attempt)).await {
        Ok(found) => found,
        Err(error) => {
            let why = format!("the guest could not be asked how far kubeadm is: {error}");
            return Observed::Unknown(why);
        }
    };
    Observed::Known(match found {
        Progress::NotStarted => Job::NotStarted,
        Progress::Running => Job::Running,
        Progress::Succeeded => Job::Succeeded,
        Progress::Failed(how) => {
            facts.job_log = Some(how);
            Job::Failed
        }
        Progress::Interrupted(how) => {
            facts.job_log = Some(how);
            Job::Interrupted
        }
    })
}

fn retry_due(status: &seedbed_crds::DevMachineStatus, now: Timestamp) -> bool {
    status
        .bootstrap
        .as_ref()
        .and_then(|b| Some((b.finished_at.as_ref()?, b.attempt)))
        .is_none_or(|(at, attempt)| {
            now.duration_since(at.0) >= SignedDuration::from_secs(RETRY_PAUSE.as_secs() * i64::from(attempt))
        })
}

/// Whether the host has room, counting every machine that is older than this one: so no two count on the same memory.
async fn room(subject: &Subject, world: &World) -> Observed<Result<(), String>> {
    let facts = match subject.hypervisor.host().await {
        Ok(facts) => facts,
        Err(fault) => return Observed::Unknown(fault.to_string()),
    };
    let limits = room::limits(&facts, &subject.host.spec);
    let turn = |m: &DevMachine| {
        (
            m.metadata.creation_timestamp.clone(),
            owned::namespace(m),
            owned::name(m),
        )
    };
    let own_turn = turn(&subject.machine);
    let older: Vec<Demand> = world
        .machines_on_host(&subject.machine.spec.host_ref.name)
        .filter(|m| turn(m) < own_turn)
        .map(|m| room::demand(&m.spec.machine))
        .collect();
    let host = owned::name(&subject.host);
    Observed::Known(capacity::admit(
        &host,
        &limits,
        &older,
        room::demand(&subject.machine.spec.machine),
    ))
}

/// Looks at a machine that should go.
pub async fn leaving(subject: &Subject, now: Timestamp) -> (Leaving, Facts) {
    let mut facts = Facts::default();
    let cluster_leaving = subject.cluster.metadata.deletion_timestamp.is_some();
    let retain =
        cluster_leaving && subject.cluster.spec.deletion_policy == seedbed_crds::DeletionPolicy::Retain;
    let initialized = cluster::is_initialized(&subject.cluster, subject.stored.as_ref());
    // A worker may have become a node before the cluster's status says that there is a cluster.
    let began = subject
        .machine
        .status
        .as_ref()
        .is_some_and(|s| s.bootstrap.is_some());
    let may_be_node = initialized || subject.machine.spec.role == MachineRole::Worker && began;
    let domain = subject.domain(&mut facts).await;
    let mut volumes = Observed::Known(0);
    for name in subject.volumes() {
        volumes = match (volumes, subject.hypervisor.volume(&name).await) {
            (Observed::Known(n), Ok(found)) => Observed::Known(n + usize::from(found.is_some())),
            (_, Err(fault)) => Observed::Unknown(fault.to_string()),
            (unknown, _) => unknown,
        };
    }
    let (node, drain) = if cluster_leaving || !may_be_node {
        (
            Observed::Known(None),
            Observed::Known(Drain {
                remaining: 0,
                blocked: None,
            }),
        )
    } else {
        let node = subject.node_now(&mut facts).await;
        let drain = match (&node, &subject.child) {
            (Observed::Known(Some(_)), Some(child)) => {
                Observed::from(child.evictable_pods(&subject.name()).await).map(|pods| Drain {
                    remaining: pods.len(),
                    blocked: None,
                })
            }
            _ => Observed::Known(Drain {
                remaining: 0,
                blocked: None,
            }),
        };
        (node, drain)
    };
    facts.drain = drain.known().cloned();
    let status = subject.machine.status.clone().unwrap_or_default();
    let limit = subject
        .pool
        .as_ref()
        .map_or(300, |p| p.spec.drain_timeout_seconds);
    // Without a mark of when the drain began, the deletion's own time counts: it never comes later.
    let began = status
        .drain_started_at
        .or_else(|| subject.machine.metadata.deletion_timestamp.clone());
    let seen = Leaving {
        paused: subject.cluster.spec.paused,
        cluster_leaving,
        retain,
        node,
        may_be_node,
        drain,
        drain_overdue: began.is_some_and(|at| now.duration_since(at.0) >= SignedDuration::from_secs(limit)),
        domain,
        volumes,
        reserved: subject.reserved().await,
        allocated: subject.allocation().is_some(),
    };
    (seen, facts)
}
