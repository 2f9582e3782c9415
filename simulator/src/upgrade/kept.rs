//! What upgrades leave on a machine's disk.

use std::collections::BTreeMap;

use crate::control_plane::Manifests;

/// What upgrades left on a disk, by their UIDs.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<String, Folder>);

/// What one upgrade left.
#[derive(Debug, Default)]
struct Folder {
    saved: Option<Saved>,
    /// The version of the programs that are there, which are not what runs.
    programs: Option<String>,
    undone: bool,
}

/// What a control plane is restored from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) manifests: Manifests,
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
            folder.saved = None;
            folder.programs = None;
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

    pub(super) fn programs(&self, upgrade: &str) -> Option<&str> {
        self.0.get(upgrade)?.programs.as_deref()
    }

    pub(super) fn set_programs(&mut self, upgrade: &str, version: Option<&str>) {
        self.folder(upgrade).programs = version.map(str::to_owned);
    }

    /// What there is, of every upgrade that left something.
    pub(super) fn all(&self) -> Vec<Leftover> {
        let there_is =
            |folder: &&Folder| folder.saved.is_some() || folder.programs.is_some() || folder.undone;
        let kept = self.0.iter().filter(|(_, folder)| there_is(folder));
        kept.map(|(upgrade, folder)| Leftover {
            upgrade: upgrade.clone(),
            snapshot: folder.saved.is_some(),
            programs: folder.programs.clone(),
            undone: folder.undone,
        })
        .collect()
    }

    fn folder(&mut self, upgrade: &str) -> &mut Folder {
        self.0.entry(upgrade.to_owned()).or_default()
    }
}
