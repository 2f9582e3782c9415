//! What was written down of an upgrade that was begun: in its status, and in its cluster's journal.

use jiff::Timestamp;
use kube::ResourceExt;
use seedbed_crds::ClusterUpgrade;
use seedbed_crds::reasons::{Reason, condition};
use seedbed_planner::names::GENERATION_ANNOTATION;
use seedbed_planner::upgrade::saga::End;

use super::journal::{self, Entry, Turn};
use super::observe::of_type;
use crate::controllers::owned;
use crate::controllers::world::World;
use crate::errors::Error;

/// What was written down of an upgrade.
pub enum Recorded {
    /// Nothing: it was not begun. Whose turn it is in its cluster.
    Nothing(Turn),
    /// It came to its end.
    Ended(Entry),
    /// It is under way.
    UnderWay(UnderWay),
}

/// An upgrade that is under way.
pub struct UnderWay {
    /// The later one of the two copies.
    pub entry: Entry,
    /// What the journal holds.
    pub journal: Journal,
}

/// What a cluster's journal holds for one that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journal {
    /// This upgrade, in that version of the journal, and whether that is the later copy.
    Ours {
        /// The object's version.
        version: Option<String>,
        /// Whether the status holds nothing later.
        is_latest: bool,
    },
    /// Nothing: somebody removed it.
    Missing,
    /// Another upgrade, of that name.
    Theirs(String),
}

/// The entry that the status speaks of; none where nothing was begun.
pub fn in_status(upgrade: &ClusterUpgrade) -> Option<Entry> {
    let status = upgrade.status.as_ref()?;
    let entry = Entry {
        name: owned::name(upgrade),
        uid: owned::uid(upgrade),
        cluster_uid: status.cluster_uid.clone()?,
        from: status.from.clone()?,
        to: status.to.clone()?,
        steps: status.steps.clone(),
        undo: status.undo.clone(),
        transitions: status.transitions,
    };
    entry.saga().has_begun().then_some(entry)
}

/// What was written down of the upgrade. The one of the two copies that is later counts: a status may have been restored from a backup, or
/// lost, and a journal deleted.
pub async fn recorded(upgrade: &ClusterUpgrade, world: &World) -> Result<Recorded, Error> {
    let status = in_status(upgrade);
    if let Some(entry) = status.clone().filter(|entry| entry.saga().end().is_some()) {
        return Ok(Recorded::Ended(entry));
    }
    let turn = journal::turn(&world.context.client, upgrade).await?;
    let (entry, journal) = match (status, turn) {
        (status, Turn::Of(entry, version)) if entry.uid == owned::uid(upgrade) => {
            let later = status.filter(|status| status.transitions > entry.transitions);
            let is_latest = later.is_none();
            (later.unwrap_or(*entry), Journal::Ours { version, is_latest })
        }
        (None, turn) => return Ok(Recorded::Nothing(turn)),
        (Some(status), Turn::Free) => (status, Journal::Missing),
        (Some(status), Turn::Of(other, _)) => (status, Journal::Theirs(other.name)),
    };
    Ok(Recorded::UnderWay(UnderWay { entry, journal }))
}

/// Whether the upgrade of the cluster with that UID was begun and has not come to its end, as its status says.
pub fn is_under_way(upgrade: &ClusterUpgrade, cluster_uid: &str) -> bool {
    let status = upgrade.status.as_ref();
    status.is_some_and(|status| status.cluster_uid.as_deref() == Some(cluster_uid))
        && progress_of(upgrade) == (true, None)
}

/// Whether the upgrade was begun, and how it ended, if it has, as its status says.
pub fn progress_of(upgrade: &ClusterUpgrade) -> (bool, Option<End>) {
    if let Some(entry) = in_status(upgrade) {
        return (true, entry.saga().end());
    }
    // There was nothing to do, or a person took it back before anything was done.
    let conditions = upgrade.status.as_ref().map(|status| status.conditions.as_slice());
    let succeeded = of_type(conditions.unwrap_or_default(), condition::SUCCEEDED);
    let end = succeeded.and_then(|succeeded| match succeeded.status.as_str() {
        "True" if !upgrade.spec.dry_run => Some(End::Done),
        "False" if succeeded.reason == Reason::Cancelled.as_str() => Some(End::Cancelled),
        _ => None,
    });
    (false, end)
}

/// UID of the cluster that it was begun on, as its status says.
pub fn begun_on(upgrade: &ClusterUpgrade) -> Option<String> {
    in_status(upgrade).map(|entry| entry.cluster_uid)
}

/// When it came to its end, or to where it is.
pub fn ended_at(upgrade: &ClusterUpgrade) -> Option<Timestamp> {
    let steps = upgrade.status.iter().flat_map(|status| &status.steps);
    steps
        .filter_map(|step| step.finished_at.as_ref().map(|at| at.0))
        .max()
}

/// The generation of the cluster's spec that the upgrade was made for; none where a person made it.
pub fn generation(upgrade: &ClusterUpgrade) -> Option<i64> {
    upgrade.annotations().get(GENERATION_ANNOTATION)?.parse().ok()
}
