//! The end: everything is mended, and then it has to be as if nothing had ever gone wrong.

use std::sync::Arc;
use std::time::Duration;

use seedbed_hypervisor::Owner;
use seedbed_simulated_api::Preconditions;
use seedbed_simulator::Restored;
use serde_json::{Value, json};

use super::script::CLUSTERS;
use super::truth::{path, uid};
use super::{KeptByUser, NEWER, Sim, picture};
use crate::world::condition;
use crate::{NAMESPACE, Undisturbed, World};

/// How long it may take until all is well, and has been quiet.
const REST: Duration = Duration::from_mins(280);
/// Between two looks of the user who does what the messages say.
const LOOK: Duration = Duration::from_mins(1);
/// How long a problem has to last before the user does something about it.
const PATIENCE: u64 = 4;
/// For how many looks, while all is well, something may still be changed: a Secret that somebody deleted may be noticed only when it is
/// read again, which is after ten minutes, and at the next look at its cluster, five minutes later.
const CHANGING: u64 = 25;
/// At which of them somebody removes what came late.
const CLEANED: [u64; 2] = [5, 15];
/// For how many looks nothing has to be changed then.
const QUIET: u64 = 60;

impl Sim {
    /// Mends everything, and tells what is not then as it should be.
    pub(crate) async fn finish(&mut self) -> Result<(), String> {
        self.mend();
        self.until_quiet().await?;
        // One that was made while the clock was ahead lasts longer than any other.
        if let Some(end) = picture::last_token(&self.world) {
            let left = end.duration_since(self.world.now());
            self.let_go_by(Duration::try_from(left).unwrap_or_default() + LOOK)
                .await;
        }
        for cluster in self.world.all("DevCluster") {
            for restore in self.restores_of(&cluster) {
                self.world.note(&format!("    it was restored: {restore:?}"));
            }
        }
        self.kept_is_there()?;
        self.still()?;
        let found = picture::of(&self.world);
        let expected = self.undisturbed().await?;
        let difference = picture::difference(&found, &expected);
        if !difference.is_empty() {
            return Err(format!(
                "the end is not that of an undisturbed run:\n{difference}"
            ));
        }
        self.take_away().await
    }

    fn still(&self) -> Result<(), String> {
        self.oracle.violation().map_or(Ok(()), Err)
    }

    /// Nothing goes wrong any more, and the user wants clusters that are worked on.
    fn mend(&mut self) {
        self.world.note("=== everything is mended");
        self.conductor.calm();
        self.undo_due(true);
        for host in self.world.hosts().values() {
            host.machines.fail_no_jobs();
        }
        for cluster in CLUSTERS {
            let mut spec = json!({"paused": false, "deletionPolicy": "Delete"});
            if self.has_newer() {
                spec["version"] = NEWER.into();
            }
            // One that is not there need not be changed.
            let _ = self.world.change("DevCluster", cluster, &spec);
        }
        self.oracle.user_did();
        self.remove_foreign();
    }

    /// Somebody removes what is not ours and in our way, and what a call made when its object was gone: the host's status lists it.
    fn remove_foreign(&self) {
        for host in self.world.hosts().values() {
            let contents = host.simulated.contents();
            let is_there = |kind: &str, uid: &str| {
                self.world
                    .all(kind)
                    .iter()
                    .any(|object| super::truth::uid(object) == uid)
            };
            let foreign = |name: &str, owner: &Option<Owner>| {
                owner.as_ref().is_none_or(|o| {
                    let stays = match &o.machine_uid {
                        Some(machine) => is_there("DevMachine", machine),
                        None => is_there("DevCluster", &o.cluster_uid),
                    };
                    o.namespace != NAMESPACE || self.oracle.is_late(name) && !stays
                })
            };
            for domain in contents.domains.iter().filter(|d| foreign(&d.name, &d.owner)) {
                host.simulated.remove_domain(&domain.name);
            }
            for network in contents.networks.iter().filter(|n| foreign(&n.name, &n.owner)) {
                host.simulated.remove_network(&network.name);
            }
            for volume in &contents.volumes {
                let ours = volume.name.starts_with("seedbed-base-") || Self::is_of_a_machine(&volume.name);
                let came_late = Self::is_of_a_machine(&volume.name)
                    && self.oracle.is_late(&volume.name)
                    && !self.is_of_a_present_machine(&volume.name);
                if !ours || came_late || self.oracle.is_retained(&volume.name) {
                    host.simulated.remove_volume(&volume.name);
                }
            }
        }
        if !self.world.settings().collects_garbage {
            self.world.remove_garbage();
        }
        for secret in self.world.all("Secret") {
            let owners = secret["metadata"]["ownerReferences"]
                .as_array()
                .map_or(0, Vec::len);
            if owners == 0 {
                let name = path(&secret, &["metadata", "name"]).unwrap_or_default();
                // Gone already is as good.
                let _ = self.world.delete("Secret", name);
            }
        }
    }

    /// Whether a machine that is there has its UID in that name.
    fn is_of_a_present_machine(&self, name: &str) -> bool {
        self.world
            .all("DevMachine")
            .iter()
            .any(|machine| name.contains(uid(machine)))
    }

    /// Whether a machine that there ever was has its UID in that name.
    fn is_of_a_machine(name: &str) -> bool {
        name.split('.').nth(2).is_some_and(|word| word.len() == 36)
    }

    /// Waits until all is well, and has been for an hour in which the operator changed nothing.
    async fn until_quiet(&mut self) -> Result<(), String> {
        let (mut good, mut bad, mut quiet) = (0, 0, 0);
        let mut changes = self.conductor.changes();
        for _ in 0..REST.as_secs() / LOOK.as_secs() {
            self.let_go_by(LOOK).await;
            self.still()?;
            let before = std::mem::replace(&mut changes, self.conductor.changes());
            if !self.is_well() {
                (good, quiet) = (0, 0);
                bad += 1;
                if bad % PATIENCE == 0 {
                    self.do_as_told();
                }
                continue;
            }
            good += 1;
            quiet = if changes == before { quiet + 1 } else { 0 };
            if quiet == QUIET {
                return Ok(());
            }
            if quiet == 0 && good > CHANGING {
                return Err(format!(
                    "an idle operator changed something: {} times within a minute, when all had been well for {good}",
                    changes - before
                ));
            }
            if CLEANED.contains(&good) {
                self.remove_foreign();
            }
        }
        Err(format!(
            "not well for an hour without a change {} min after everything was mended:\n{}",
            REST.as_secs() / 60,
            self.world.told()
        ))
    }

    fn is_well(&self) -> bool {
        let ready = |object: &Value| {
            condition(object, "Ready") == Some("True")
                && object["metadata"]["generation"] == object["status"]["observedGeneration"]
        };
        let stays = |object: &Value| object["metadata"]["deletionTimestamp"].is_null();
        let up = ["HypervisorHost", "KubernetesRelease", "DevCluster", "DevMachine"];
        self.again.is_empty()
            && up
                .into_iter()
                .all(|kind| self.world.every(kind, |object| stays(object) && ready(object)))
            // Copied: whether one is without a cluster is asked of the same store.
            && self
                .world
                .all("NodePool")
                .iter()
                .all(|pool| stays(pool) && (ready(pool) || self.has_no_cluster(pool)))
            && self
                .world
                .every("ClusterUpgrade", |upgrade| is_told(upgrade) || has_ended(upgrade))
            && self.world.every("DevCluster", |cluster| {
                condition(cluster, "VersionDrift") == Some("False")
            })
    }

    /// Whether there is a newer version, which all clusters run in the end.
    fn has_newer(&self) -> bool {
        self.world.get("KubernetesRelease", NEWER).is_some()
    }

    fn has_no_cluster(&self, pool: &Value) -> bool {
        let cluster = path(pool, &["spec", "clusterRef", "name"]).unwrap_or_default();
        self.world.get("DevCluster", cluster).is_none()
    }

    /// The user does what the messages of what is stalled say.
    fn do_as_told(&mut self) {
        self.remove_foreign();
        for machine in self.world.all("DevMachine") {
            if reason(&machine, "Stalled") == Some("BootstrapGaveUp") {
                self.remove("DevMachine", &machine);
            }
        }
        for cluster in self.world.all("DevCluster") {
            let lost = ["NotInitialized", "KeysLost"];
            if reason(&cluster, "Stalled").is_some_and(|reason| lost.contains(&reason)) {
                self.remove("DevCluster", &cluster);
                let spec = cluster["spec"].clone();
                self.again.push((
                    path(&cluster, &["metadata", "name"])
                        .unwrap_or_default()
                        .to_owned(),
                    spec,
                ));
            }
        }
        self.get_upgrades_on();
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.again)
            .into_iter()
            .partition(|(name, _)| self.world.get("DevCluster", name).is_none());
        self.again = later;
        for (name, spec) in now {
            self.world
                .note(&format!("--- the user makes cluster {name} again"));
            let object = json!({"kind": "DevCluster", "metadata": {"name": name}, "spec": spec});
            // It was found not to be there.
            let _ = self.world.create(object);
        }
        self.oracle.user_did();
    }

    /// What an upgrade's message says: one that failed is deleted to try again, and a budget that lets no pod go is made wider.
    fn get_upgrades_on(&self) {
        for cluster in self.world.all("DevCluster") {
            let name = path(&cluster, &["metadata", "name"]).unwrap_or_default();
            let is_its =
                |upgrade: &&Value| upgrade["spec"]["clusterRef"]["name"] == name && has_ended(upgrade);
            if reason(&cluster, "VersionDrift") == Some("UpgradeFailed") {
                for upgrade in self.world.all("ClusterUpgrade").iter().filter(is_its) {
                    self.remove("ClusterUpgrade", upgrade);
                }
            }
        }
        for upgrade in self.world.all("ClusterUpgrade") {
            if reason(&upgrade, "Stalled") != Some("DrainBlocked") {
                continue;
            }
            let cluster = path(&upgrade, &["spec", "clusterRef", "name"]).unwrap_or_default();
            let object = self.world.get("DevCluster", cluster).unwrap_or_default();
            let Some(api) = self.child_of(&object) else {
                continue;
            };
            let now = self.world.now();
            api.with(|store| {
                let Some(kind) = store.kinds().of_plural("poddisruptionbudgets").cloned() else {
                    return;
                };
                let all = seedbed_simulated_api::Selector::default();
                let names: Vec<String> = store
                    .list(&kind, "default", &all)
                    .filter_map(|budget| path(budget, &["metadata", "name"]).map(str::to_owned))
                    .collect();
                for name in names {
                    // Gone already is as good.
                    let _ = store.delete(&kind, "default", &name, &Preconditions::default(), now);
                }
            });
        }
    }

    fn remove(&self, kind: &str, object: &Value) {
        let name = path(object, &["metadata", "name"]).unwrap_or_default();
        self.world.note(&format!("--- the user deletes {kind} {name}"));
        // Gone already is as good.
        let _ = self.world.delete(kind, name);
    }

    /// What users wrote into child clusters is there as long as the cluster is the same, and was not restored from a snapshot of before
    /// that.
    fn kept_is_there(&self) -> Result<(), String> {
        let clusters = self.world.all("DevCluster");
        for KeptByUser { cluster, name, at } in &self.kept {
            let Some(object) = clusters.iter().find(|object| uid(object) == cluster) else {
                continue;
            };
            let mut restores = self.restores_of(object);
            if restores.any(|restore| restore.taken <= *at && *at <= restore.restored) {
                continue;
            }
            let there = self.child_of(object).is_some_and(|api| {
                api.with(|store| {
                    let kind = store.kinds().of_plural("configmaps").cloned();
                    kind.is_some_and(|kind| store.get(&kind, "default", name).is_ok())
                })
            });
            if !there {
                return Err(format!(
                    "what a user wrote into a child cluster is lost: ConfigMap {name}"
                ));
            }
        }
        Ok(())
    }

    /// The restores of the cluster that has the address of this one.
    fn restores_of(&self, cluster: &Value) -> impl Iterator<Item = Restored> {
        let address = super::address(cluster);
        let hosts = self.world.hosts().values();
        hosts
            .flat_map(|host| host.machines.restores())
            .filter(move |restore| Some(restore.address) == address)
    }

    /// What the same objects come to where nothing goes wrong.
    async fn undisturbed(&self) -> Result<Vec<String>, String> {
        let mut settings = self.world.settings().clone();
        settings.election = false;
        let other = World::new(settings, Arc::new(Undisturbed));
        if self.has_newer() {
            other
                .create(crate::objects::release(NEWER))
                .map_err(|refusal| refusal.message)?;
        }
        let _operator = other.operator();
        for kind in ["DevCluster", "NodePool"] {
            for object in self.world.all(kind) {
                let new = json!({
                    "kind": kind, "metadata": {"name": object["metadata"]["name"]}, "spec": object["spec"],
                });
                other.create(new).map_err(|refusal| refusal.message)?;
            }
        }
        let settled = other
            .within(Duration::from_hours(1), async |world| {
                ["DevCluster", "NodePool"].iter().all(|kind| {
                    world.all(kind).iter().all(|object| {
                        condition(object, "Ready") == Some("True")
                            || *kind == "NodePool" && reason(object, "Stalled") == Some("ClusterNotFound")
                    })
                })
            })
            .await;
        if !settled {
            return Err(format!("even undisturbed it is not Ready:\n{}", other.told()));
        }
        tokio::time::sleep(Duration::from_mins(10)).await;
        Ok(picture::of(&other))
    }

    /// The user deletes everything, and then nothing is left.
    async fn take_away(&mut self) -> Result<(), String> {
        self.world.note("=== everything is deleted");
        for kind in ["ClusterUpgrade", "NodePool", "DevCluster"] {
            for object in self.world.all(kind) {
                self.remove(kind, &object);
            }
        }
        self.oracle.user_did();
        for _ in 0..60 {
            self.let_go_by(LOOK).await;
            self.still()?;
            if self.left().is_empty() {
                return Ok(());
            }
        }
        Err(format!("left when everything was deleted:\n{}", self.left()))
    }

    fn left(&self) -> String {
        let mut text = String::new();
        for kind in [
            "ClusterUpgrade",
            "DevCluster",
            "NodePool",
            "DevMachine",
            "Secret",
            "ConfigMap",
        ] {
            for object in self.world.all(kind) {
                text += &format!("  {kind} {}\n", object["metadata"]["name"]);
            }
        }
        for (name, host) in self.world.hosts() {
            let contents = host.simulated.contents();
            let domains = contents.domains.iter().map(|d| &d.name);
            let networks = contents.networks.iter().map(|n| &n.name);
            let volumes = contents.volumes.iter().map(|v| &v.name);
            for thing in domains.chain(networks).chain(volumes) {
                if !thing.starts_with("seedbed-base-") {
                    text += &format!("  on host {name}: {thing}\n");
                }
            }
        }
        text
    }
}

/// Whether an upgrade says what is in its way: its cluster is gone, or there is no release of its target and nothing that could not
/// be seen.
fn is_told(upgrade: &Value) -> bool {
    let findings = upgrade["status"]["findings"].as_array();
    let of_release = findings.is_some_and(|all| {
        all.iter().all(|f| f["severity"] != "Unknown")
            && all
                .iter()
                .any(|f| f["check"] == "Release" && f["severity"] == "Error")
    });
    upgrade["metadata"]["generation"] == upgrade["status"]["observedGeneration"]
        && match reason(upgrade, "Stalled") {
            Some("ClusterNotFound") => true,
            Some("PreflightFailed") => of_release,
            _ => false,
        }
}

/// Whether an upgrade has come to its end, and holds nothing any more.
pub(super) fn has_ended(upgrade: &Value) -> bool {
    let conditions = upgrade["status"]["conditions"].as_array();
    let ended = conditions.into_iter().flatten().any(|c| {
        c["type"] == "Succeeded"
            && (c["status"] == "True"
                || ["RolledBack", "RestoredFromSnapshot", "Cancelled"]
                    .contains(&c["reason"].as_str().unwrap_or_default()))
    });
    ended
        && upgrade["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
        && upgrade["metadata"]["generation"] == upgrade["status"]["observedGeneration"]
}

/// Why that condition is true, if it is.
fn reason<'a>(object: &'a Value, type_: &str) -> Option<&'a str> {
    let conditions = object["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|c| c["type"] == type_ && c["status"] == "True")?;
    condition["reason"].as_str()
}
