//! What must never happen, checked at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seedbed_hypervisor::Inventory;
use seedbed_simulated_api::{Change, Event, Store, is_ready};
use serde_json::Value;

use super::secrets::Secrets;
use super::truth::{Objects, owner, path, uid};
use super::{allocations, drain, order};
use crate::step::{Boundary, Step};
use crate::{NAMESPACE, World};

/// How long after a user's change the operator may still act by what it had read before.
const GRACE: Duration = Duration::from_secs(150);

/// Between two looks at what objects claim.
const LOOK: Duration = Duration::from_secs(10);
/// How long an object may claim what is not so: longer than anything lasts that keeps the operator from seeing it.
const LAG: Duration = Duration::from_mins(8);

/// What must never happen.
pub(crate) struct Oracle {
    world: World,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Up to where the seed's changes were looked at.
    revision: u64,
    /// UIDs of the clusters that were told as initialised, whatever became of their statuses.
    initialized: BTreeSet<String>,
    /// When an object's spec or deletion was last written by a user, by its UID.
    changed: BTreeMap<String, Duration>,
    /// All machines that there ever were: their cluster's UID, by their own.
    machines: BTreeMap<String, String>,
    /// When a cluster's machines were last to be let go as they are.
    retaining: BTreeMap<String, Duration>,
    /// Clusters and machines that were let go with what they had.
    retained: BTreeSet<String>,
    /// The domain's UUID of each machine.
    uuids: BTreeMap<String, String>,
    /// Names of what calls were about that are done when nobody waits for them any more: they may make what nobody wants by then.
    late: BTreeSet<String>,
    secrets: Secrets,
    /// Tokens of the jobs that were begun.
    jobs: BTreeSet<String>,
    /// The token that each machine's status had last, by the machine's UID.
    of_machines: BTreeMap<String, String>,
    /// Tokens of jobs that upgrades have written down.
    of_upgrades: BTreeSet<String>,
    /// Domains whose disks upgrades have written down to be taken back.
    reverted: BTreeSet<String>,
    /// What is somebody else's and what the present call would change.
    somebody_elses: Option<String>,
    /// Whether an operator's clock was ever set: what it takes for the time does not count then.
    clocks_differ: bool,
    /// When it was last looked at what objects claim.
    looked: Duration,
    /// Since when objects claim what is not so, by their UIDs.
    wrong: BTreeMap<String, Duration>,
    violation: Option<String>,
}

impl Oracle {
    pub(crate) fn new(world: &World) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            state: Mutex::default(),
        })
    }

    /// What was violated first.
    pub(crate) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// Notes that something happened that must not.
    pub(crate) fn violated(&self, what: &str) {
        let mut state = self.lock();
        if state.violation.is_none() {
            self.world.note(&format!("VIOLATION {what}"));
            state.violation = Some(what.to_owned());
        }
    }

    /// Notes that the call will be done when its caller has given up.
    pub(crate) fn comes_late(&self, step: &Step) {
        self.lock().late.insert(step.object.clone());
    }

    /// Whether a call about what has that name was done late.
    pub(crate) fn is_late(&self, name: &str) -> bool {
        self.lock().late.contains(name)
    }

    /// Whether what has that UID in its name or metadata was let go with its cluster.
    pub(crate) fn is_retained(&self, name_or_uid: &str) -> bool {
        let state = self.lock();
        let of_machine = state.machines.iter().any(|(machine, cluster)| {
            name_or_uid.contains(machine.as_str()) && state.retained.contains(cluster)
        });
        of_machine
            || state
                .retained
                .iter()
                .any(|uid| name_or_uid.contains(uid.as_str()))
    }

    /// A secret that stands in the text, if one does.
    pub(crate) fn secret_in(&self, text: &str) -> Option<String> {
        self.lock().secrets.found_in(text)
    }

    /// Looks at what a user did, or anybody else but the operator.
    pub(crate) fn user_did(&self) {
        self.look(None);
    }

    /// Looks, every now and then, whether what says that it is Ready is so.
    pub(crate) fn claims(&self) {
        let now = self.world.elapsed();
        if now.saturating_sub(self.lock().looked) < LOOK {
            return;
        }
        let wrong = self.wrong_claims();
        let mut state = self.lock();
        state.looked = now;
        state.wrong.retain(|uid, _| wrong.contains_key(uid));
        let mut lasting = None;
        for (uid, what) in wrong {
            let since = *state.wrong.entry(uid).or_insert(now);
            if now.saturating_sub(since) > LAG {
                lasting = Some(what);
            }
        }
        drop(state);
        if let Some(what) = lasting {
            self.violated(&format!(
                "for {} min it was told what is not so: {what}",
                LAG.as_secs() / 60
            ));
        }
    }

    /// What is on each host.
    fn on_hosts(&self) -> Vec<Inventory> {
        let hosts = self.world.hosts().values();
        hosts.map(|host| host.simulated.contents()).collect()
    }

    /// What says that it is Ready and is not, by its UID.
    fn wrong_claims(&self) -> BTreeMap<String, String> {
        let hosts = self.on_hosts();
        self.world.api().with(|store| {
            let objects = Objects(store);
            let machines = objects
                .all("DevMachine")
                .filter(|object| is_ready(object) && order::running(&hosts, uid(object)).is_none())
                .map(|object| (object, "it does not run"));
            let clusters = objects
                .all("DevCluster")
                .filter(|object| is_ready(object) && super::child_of(&self.world, object).is_none())
                .map(|object| (object, "its API does not answer"));
            machines
                .chain(clusters)
                .map(|(object, why)| {
                    let name = path(object, &["metadata", "name"]).unwrap_or_default();
                    (
                        uid(object).to_owned(),
                        format!("{name} says that it is Ready, and {why}"),
                    )
                })
                .collect()
        })
    }

    /// Notes that an operator's clock was set.
    pub(crate) fn clocks_differ(&self) {
        self.lock().clocks_differ = true;
    }

    /// Looks at what is about to be done.
    pub(crate) fn doing(&self, step: &Step) {
        if !step.changes {
            return;
        }
        let host = match &step.boundary {
            Boundary::Seed => return,
            Boundary::Host(host) => host,
            Boundary::Child(address) => {
                let problem = self.before_child_change(step, address);
                if let Some(problem) = problem {
                    self.violated(&format!("{problem}: {step}"));
                }
                return;
            }
        };
        let contents = self.world.hosts().get(host).map(|host| host.simulated.contents());
        let contents = contents.unwrap_or_default();
        let problem = self.world.api().with(|store| {
            let objects = Objects(store);
            let mut state = self.lock();
            state.somebody_elses = order::somebody_elses(step, &contents);
            order::too_early(step, &contents)
                .or_else(|| self.before_host_change(step, &objects, &contents, &mut state))
        });
        if let Some(problem) = problem {
            self.violated(&format!("{problem}: {step}"));
        }
    }

    /// Looks at what was done.
    pub(crate) fn done(&self, step: &Step, answer: &str) {
        if !step.changes {
            return;
        }
        let changed = self.lock().somebody_elses.take().filter(|_| answer == "ok");
        if let Some(what) = changed {
            self.violated(&format!("{what}: {step}"));
        }
        if let Boundary::Host(host) = &step.boundary
            && step.verb == "agent"
            && let Some(host) = self.world.hosts().get(host)
        {
            let begun = host.machines.begun();
            let problem = self.world.api().with(|store| {
                let mut state = self.lock();
                let state = &mut *state;
                order::job_ahead(
                    &Objects(store),
                    NAMESPACE,
                    &begun,
                    &mut state.jobs,
                    (&state.of_machines, &state.of_upgrades),
                )
            });
            if let Some(problem) = problem {
                self.violated(&problem);
            }
        }
        match &step.boundary {
            Boundary::Seed => self.look(Some(step)),
            Boundary::Host(host) if step.verb != "agent" => {
                if let Some(host) = self.world.hosts().get(host) {
                    let contents = host.simulated.contents();
                    let problem = after_host_change(&contents, &mut self.lock());
                    if let Some(problem) = problem {
                        self.violated(&format!("{problem}: {step}"));
                    }
                }
            }
            Boundary::Child(address) if step.object.contains("/secrets") => self.learn_tokens(address),
            Boundary::Host(_) | Boundary::Child(_) => {}
        }
    }

    fn before_child_change(&self, step: &Step, address: &str) -> Option<String> {
        let api = super::api_at(&self.world, address.parse().ok()?)?;
        let now = self.world.now();
        self.world.api().with(|seed| {
            let seed = Objects(seed);
            let limit = |machine: &Value| (!self.lock().clocks_differ).then(|| drain::limit(&seed, machine));
            api.with(|child| drain::undrained(step, &seed, &Objects(child), now, limit))
        })
    }

    fn learn_tokens(&self, address: &str) {
        let Some(api) = address
            .parse()
            .ok()
            .and_then(|address| super::api_at(&self.world, address))
        else {
            return;
        };
        api.with(|store| {
            let mut state = self.lock();
            for secret in Objects(store).of_plural("secrets") {
                state.secrets.learn_token(secret);
            }
        });
    }

    /// Looks at all changes in the seed since the last look, which that step made, or a user.
    fn look(&self, author: Option<&Step>) {
        let hosts = self.on_hosts();
        let now = self.world.elapsed();
        let problem = self.world.api().with(|store| {
            let mut state = self.lock();
            let from = state.revision;
            state.revision = store.revision();
            let events = store.after(from).ok()?;
            let mut first = None;
            for event in events {
                if event.kind.kind == "ClusterUpgrade" {
                    state.of_upgrades.extend(order::tokens(&event.object));
                    state.reverted.extend(order::reverted(&event.object));
                }
                let problem = examine(event, author, store, &hosts, now, &mut state);
                first = first.or(problem);
            }
            first
        });
        if let Some(problem) = problem {
            let author = author.map_or_else(|| "a user".to_owned(), ToString::to_string);
            self.violated(&format!("{problem}: {author}"));
        }
    }

    fn before_host_change(
        &self,
        step: &Step,
        objects: &Objects<'_>,
        contents: &Inventory,
        state: &mut State,
    ) -> Option<String> {
        let now = self.world.elapsed();
        let recently = |uid: &str| {
            state
                .changed
                .get(uid)
                .is_some_and(|at| now.saturating_sub(*at) < GRACE)
        };
        let machine = step
            .owner
            .as_ref()
            .and_then(|o| o.machine_uid.as_deref())
            .unwrap_or_default();
        let cluster = step
            .owner
            .as_ref()
            .map(|o| o.cluster_uid.as_str())
            .unwrap_or_default();
        let stays = |kind: &str, uid: &str| objects.by_uid(kind, uid).is_some_and(|found| !is_going(found));
        let reverts = state.reverted.contains(&step.object);
        match step.verb.as_str() {
            "revert_disk" => (!reverts).then(|| "a disk is taken back that is not to be".to_owned()),
            // For that it is switched off.
            "destroy_domain" if reverts => None,
            "destroy_domain" | "undefine_domain" => {
                if stays("DevMachine", machine) {
                    return Some("a machine that nobody deletes is removed".to_owned());
                }
                (!state.machines.contains_key(machine))
                    .then(|| "a domain of no machine is removed".to_owned())
            }
            "delete_volume" => {
                let of = state
                    .machines
                    .keys()
                    .find(|uid| step.object.contains(uid.as_str()));
                match of {
                    None => Some("a volume that is no machine's is deleted".to_owned()),
                    Some(uid) if stays("DevMachine", uid) => {
                        Some("a volume of a machine that nobody deletes is deleted".to_owned())
                    }
                    Some(_) => None,
                }
            }
            "delete_network" => {
                if stays("DevCluster", cluster) {
                    return Some("the network of a cluster that nobody deletes is deleted".to_owned());
                }
                let used = |d: &seedbed_hypervisor::DomainFacts| {
                    let of_cluster = d.owner.as_ref().is_some_and(|o| o.cluster_uid == cluster);
                    // One that was made when its machine was gone is nobody's any more.
                    of_cluster && !state.late.contains(&d.name)
                };
                contents.domains.iter().find(|d| used(d)).map(|d| {
                    format!(
                        "a network is deleted while domain {} of its cluster is there",
                        d.name
                    )
                })
            }
            "disown_domain" | "disown_network" => {
                let found = objects.by_uid("DevCluster", cluster)?;
                let retains = path(found, &["spec", "deletionPolicy"]) == Some("Retain");
                (!(recently(cluster) || is_going(found) && retains))
                    .then(|| "something is let go whose cluster does not want that".to_owned())
            }
            "start_domain" | "define_domain" | "create_volume" | "reserve_address" => {
                let found = objects.by_uid("DevMachine", machine)?;
                (is_going(found) && !recently(machine))
                    .then(|| "something is made for a machine that goes".to_owned())
            }
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_going(object: &Value) -> bool {
    path(object, &["metadata", "deletionTimestamp"]).is_some()
}

fn is_initialized(cluster: &Value) -> bool {
    cluster["status"]["initialized"] == Value::Bool(true)
}

impl State {
    /// Remembers what counts later on, whatever becomes of the object.
    fn remember(&mut self, kind: &str, object: &Value, before: Option<&Value>, now: Duration) {
        let id = uid(object).to_owned();
        match kind {
            "DevCluster" => {
                if is_initialized(object) {
                    self.initialized.insert(id.clone());
                }
                let retained = |before| path(before, &["spec", "deletionPolicy"]) == Some("Retain");
                if before.is_some_and(retained) {
                    self.retaining.insert(id, now);
                }
            }
            "DevMachine" => {
                let cluster = owner(object, "DevCluster").unwrap_or_default();
                if let Some(token) = path(object, &["status", "bootstrap", "token"]) {
                    self.of_machines.insert(id.clone(), token.to_owned());
                }
                self.machines.insert(id, cluster);
            }
            _ => {}
        }
    }
}

fn examine(
    event: &Event,
    author: Option<&Step>,
    store: &Store,
    hosts: &[Inventory],
    now: Duration,
    state: &mut State,
) -> Option<String> {
    let kind = event.kind.kind;
    let object = &event.object;
    let before = event.before.as_ref();
    let id = uid(object);
    if kind == "Secret" {
        state.secrets.learn(object);
        return None;
    }
    let name = path(object, &["metadata", "name"]).unwrap_or_default();
    if let Some(found) = state.secrets.found_in(&object.to_string()) {
        return Some(format!("{kind} {name} holds a secret: {found}"));
    }
    if kind == "ConfigMap" {
        return allocations::check(store, object, before);
    }
    if event.kind.group != "seedbed.dev" {
        return None;
    }
    let spec_changed = before.is_some_and(|before| before["spec"] != object["spec"]);
    let deleted = is_going(object) && before.is_some_and(|before| !is_going(before));
    if author.is_none() && spec_changed || deleted || before.is_none() {
        state.changed.insert(id.to_owned(), now);
    }
    state.remember(kind, object, before, now);
    let is_lost = author.is_none() && before.is_some_and(is_initialized) && !is_initialized(object);
    if is_lost && !allocations::tell_initialized(store, name) {
        // Nobody can know it any more.
        state.initialized.remove(id);
    }
    if author.is_some() && spec_changed {
        return Some(format!("the spec of {kind} {name} is written"));
    }
    if author.is_some()
        && let Some(before) = before
        && kind != "DevMachine"
        && ["labels", "annotations", "ownerReferences"]
            .iter()
            .any(|field| before["metadata"][field] != object["metadata"][field])
    {
        return Some(format!(
            "metadata of {kind} {name}, which a user made, are written"
        ));
    }
    if let Some(problem) = author.and_then(|author| wrongly_said(event, author, hosts, state)) {
        return Some(format!("{kind} {name}: {problem}"));
    }
    if kind == "DevMachine"
        && author.is_some()
        && let Some(problem) = order::one_too_many(event.change, object, &Objects(store))
        && owner(object, "NodePool")
            .and_then(|pool| state.changed.get(&pool).copied())
            .is_none_or(|at| now.saturating_sub(at) >= GRACE)
    {
        return Some(problem);
    }
    match (kind, event.change) {
        ("DevMachine", Change::Modified) => {
            author?;
            if let Some(problem) = before.and_then(|before| identity(before, object)) {
                return Some(format!("DevMachine {name}: {problem}"));
            }
            deleted
                .then(|| wrongly_deleted(object, &Objects(store), now, state))
                .flatten()
        }
        ("DevMachine", Change::Deleted) => {
            if state
                .retained
                .contains(state.machines.get(id).map(String::as_str).unwrap_or_default())
                || Objects(store).retains(object)
                || owner(object, "DevCluster")
                    .and_then(|cluster| state.retaining.get(&cluster).copied())
                    .is_some_and(|at| now.saturating_sub(at) < GRACE)
            {
                // Its cluster may want something else by the time that it goes itself.
                state.retained.insert(id.to_owned());
                return None;
            }
            left_of_machine(id, hosts, &state.late)
                .map(|left| format!("DevMachine {name} is let go and {left} is still there"))
        }
        ("DevCluster", Change::Deleted) => {
            if path(object, &["spec", "deletionPolicy"]) == Some("Retain") {
                state.retained.insert(id.to_owned());
                return None;
            }
            let network = hosts.iter().flat_map(|host| &host.networks).find(|n| {
                n.owner.as_ref().is_some_and(|o| o.cluster_uid == id) && !state.late.contains(&n.name)
            });
            network.map(|n| {
                format!(
                    "DevCluster {name} is let go and network {} is still there",
                    n.name
                )
            })
        }
        _ => None,
    }
}

/// What a status says that cannot be so.
fn wrongly_said(event: &Event, author: &Step, hosts: &[Inventory], state: &State) -> Option<String> {
    let (before, object) = (event.before.as_ref(), &event.object);
    let was_initialized = state.initialized.contains(uid(object)) && !is_going(object);
    if was_initialized && !object["status"].is_null() && !is_initialized(object) {
        return Some("it is not initialised any more".to_owned());
    }
    let back = before.and_then(|before| order::back(event.kind.kind, before, object));
    if back.is_some() || !author.object.ends_with("/status") {
        return back;
    }
    // What was said when the call was made may not be so any more when it is carried out.
    let is_late = state.late.contains(&author.object);
    order::blind(object).or_else(|| order::unmade(object, hosts, &state.late).filter(|_| !is_late))
}

/// What a machine got once stays its own.
fn identity(before: &Value, after: &Value) -> Option<String> {
    ["macAddress", "domainName", "providerID"]
        .iter()
        .find_map(|field| {
            let (was, is) = (&before["status"][field], &after["status"][field]);
            // While it is removed, what it had is given back.
            let given_back = is.is_null() && is_going(after);
            (!was.is_null() && was != is && !given_back).then(|| format!("{field} was {was} and is {is}"))
        })
}

/// Why a machine that the operator deletes should have stayed.
fn wrongly_deleted(machine: &Value, objects: &Objects<'_>, now: Duration, state: &State) -> Option<String> {
    let recently = |uid: &str| {
        state
            .changed
            .get(uid)
            .is_some_and(|at| now.saturating_sub(*at) < GRACE)
    };
    let name = path(machine, &["metadata", "name"]).unwrap_or_default();
    let cluster = objects.by_uid("DevCluster", &owner(machine, "DevCluster")?)?;
    if is_going(cluster) || recently(uid(cluster)) {
        return None;
    }
    if path(machine, &["spec", "role"]) == Some("ControlPlane") {
        let initialized = state.initialized.contains(uid(cluster));
        return initialized.then(|| format!("the control plane {name} of an initialised cluster is deleted"));
    }
    let pool = objects.by_uid("NodePool", &owner(machine, "NodePool")?)?;
    if is_going(pool) || recently(uid(pool)) {
        return None;
    }
    let wanted = pool["spec"]["replicas"].as_u64().unwrap_or_default();
    let current = machine["spec"]["machine"] == pool["spec"]["machine"];
    let left = objects
        .all("DevMachine")
        .filter(|m| owner(m, "NodePool").as_deref() == Some(uid(pool)) && !is_going(m))
        .count() as u64;
    (current && left < wanted)
        .then(|| format!("worker {name} is deleted, and of {wanted} that are wanted {left} are left"))
}

fn left_of_machine(uid: &str, hosts: &[Inventory], late: &BTreeSet<String>) -> Option<String> {
    hosts.iter().find_map(|host| {
        let domain = host.domains.iter().find(|d| {
            d.owner
                .as_ref()
                .is_some_and(|o| o.machine_uid.as_deref() == Some(uid))
                && !late.contains(&d.name)
        });
        if let Some(domain) = domain {
            return Some(format!("domain {}", domain.name));
        }
        let is_left = |name: &String| name.contains(uid) && !late.contains(name);
        let volume = host.volumes.iter().find(|v| is_left(&v.name))?;
        Some(format!("volume {}", volume.name))
    })
}

fn after_host_change(contents: &Inventory, state: &mut State) -> Option<String> {
    let mut seen = BTreeMap::new();
    for domain in &contents.domains {
        let Some(uid) = domain.owner.as_ref().and_then(|o| o.machine_uid.clone()) else {
            continue;
        };
        if let Some(other) = seen.insert(uid.clone(), &domain.name) {
            return Some(format!("domains {other} and {} are one machine's", domain.name));
        }
        let found = domain.uuid.to_string();
        let known = state.uuids.entry(uid).or_insert_with(|| found.clone());
        if *known != found {
            return Some(format!("domain {} had UUID {known} and has {found}", domain.name));
        }
    }
    for network in &contents.networks {
        let mut taken = BTreeSet::new();
        for reservation in &network.reservations {
            for what in [reservation.mac.clone(), reservation.ip.to_string()] {
                if !taken.insert(what.clone()) {
                    return Some(format!("network {} gives {what} twice", network.name));
                }
            }
        }
    }
    None
}
