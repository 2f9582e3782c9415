//! What upgrades leave on a machine's disk.

use std::collections::BTreeMap;

use jiff::Timestamp;
use seedbed_simulated_api::Snapshot;

use crate::control_plane::Manifests;

/// What upgrades left on a disk, by their UIDs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(BTreeMap<String, Folder>);

/// What one upgrade left.
#[derive(Debug, Clone, Default)]
struct Folder {
    saved: Option<Saved>,
    /// Whether the control plane was restored from it.
    restored: bool,
    /// The version of the kubelet that there was before.
    before: Option<String>,
    /// The version of the programs that are there, which are not what runs.
    programs: Option<String>,
    undone: bool,
}

/// What a control plane is restored from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    pub(super) manifests: Manifests,
    /// All objects.
    pub(super) etcd: Snapshot,
    pub(super) taken: Timestamp,
    pub(super) is_damaged: bool,
    /// kubeadm's `ClusterConfiguration`.
    pub(super) configuration: String,
}

/// What an upgrade left in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The upgrade's UID.
    pub upgrade: String,
    /// Whether there is what the control plane is restored from.
    pub snapshot: bool,
    /// The version of the programs and images that are there and not in use.
    pub programs: Option<String>,
    /// The version of the kubelet that is kept, because there was that one before.
    pub before: Option<String>,
    /// Whether the guest knows that the upgrade was undone.
    pub undone: bool,
}

impl Kept {
    /// What other upgrades left goes.
    pub(super) fn forget_others(&mut self, upgrade: &str) {
        self.0.retain(|other, _| other == upgrade);
    }

    /// All that is left of that upgrade goes, but that it was undone.
    pub(super) fn forget(&mut self, upgrade: &str) {
        if let Some(folder) = self.0.get_mut(upgrade) {
            *folder = Folder {
                undone: folder.undone,
                ..Folder::default()
            };
        }
    }

    pub(super) fn is_undone(&self, upgrade: &str) -> bool {
        self.0.get(upgrade).is_some_and(|folder| folder.undone)
    }

    pub(super) fn set_undone(&mut self, upgrade: &str) {
        self.folder(upgrade).undone = true;
    }

    pub(super) fn saved(&self, upgrade: &str) -> Option<&Saved> {
        self.0.get(upgrade)?.saved.as_ref()
    }

    pub(super) fn save(&mut self, upgrade: &str, saved: Saved) {
        self.folder(upgrade).saved = Some(saved);
    }

    pub(super) fn damage(&mut self) {
        let saved = self.0.values_mut().filter_map(|folder| folder.saved.as_mut());
        saved.for_each(|saved| saved.is_damaged = true);
    }

    pub(super) fn is_restored(&self, upgrade: &str) -> bool {
        self.0.get(upgrade).is_some_and(|folder| folder.restored)
    }

    pub(super) fn set_restored(&mut self, upgrade: &str) {
        self.folder(upgrade).restored = true;
    }

    pub(super) fn before(&self, upgrade: &str) -> Option<&String> {
        self.0.get(upgrade)?.before.as_ref()
    }

    /// Keeps what there was before the first attempt.
    pub(super) fn keep_before(&mut self, upgrade: &str, kubelet: Option<String>) {
        let kept = &mut self.folder(upgrade).before;
        if kept.is_none() {
            *kept = kubelet;
        }
    }

    /// What was put there, or kept of what there was before, goes.
    pub(super) fn forget_programs(&mut self, upgrade: &str) {
        if let Some(folder) = self.0.get_mut(upgrade) {
            folder.programs = None;
            folder.before = None;
        }
    }

    pub(super) fn programs(&self, upgrade: &str) -> Option<&str> {
        self.0.get(upgrade)?.programs.as_deref()
    }

    pub(super) fn set_programs(&mut self, upgrade: &str, version: Option<&str>) {
        self.folder(upgrade).programs = version.map(str::to_owned);
    }

    /// What there is, of every upgrade that left something.
    pub(super) fn all(&self) -> Vec<Leftover> {
        let there_is = |folder: &&Folder| {
            folder.saved.is_some() || folder.programs.is_some() || folder.before.is_some() || folder.undone
        };
        let kept = self.0.iter().filter(|(_, folder)| there_is(folder));
        kept.map(|(upgrade, folder)| Leftover {
            upgrade: upgrade.clone(),
            snapshot: folder.saved.is_some(),
            programs: folder.programs.clone(),
            before: folder.before.clone(),
            undone: folder.undone,
        })
        .collect()
    }

    fn folder(&mut self, upgrade: &str) -> &mut Folder {
        self.0.entry(upgrade.to_owned()).or_default()
    }
}
