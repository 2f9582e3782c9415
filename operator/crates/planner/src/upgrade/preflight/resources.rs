//! Whether the machines have the disk space and the memory that an upgrade takes.

use seedbed_crds::PreflightCheck;
use seedbed_crds::quantity::display;

use super::guests::{Filesystem, GuestFacts, Use};
use super::{Findings, Seen};

/// A kubelet removes images that no container uses where less than this share of the disk is free, in percent: its default
/// `imageGCHighThresholdPercent` is 85. <https://kubernetes.io/docs/concepts/architecture/garbage-collection/#container-image-lifecycle>
const KUBELET_WANTS: u128 = 15;
/// Memory that kubeadm and the import of images take, above what a kubelet wants to be left (100Mi, below which it evicts pods), in bytes.
const MEMORY: u64 = 300 << 20;
/// What is left changes all the time: it is told in these steps.
const DISK_STEP: u64 = 100 << 20;
const MEMORY_STEP: u64 = 50 << 20;

pub(super) fn enough(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::GuestResources;
    for (name, facts) in &seen.guests {
        let object = format!("DevMachine {name}");
        let what = "how much memory and disk space it has left";
        let Some(facts) = findings.known(check, &object, what, facts) else {
            continue;
        };
        if facts.available_memory < MEMORY {
            let message = format!(
                "it has less than {} of memory left: kubeadm and the import of images may take some 200Mi, and with less than 100Mi left its kubelet evicts pods; move pods away from it",
                display(up(facts.available_memory, MEMORY_STEP))
            );
            findings.warning(check, object.clone(), message);
        }
        for filesystem in &facts.filesystems {
            disk(seen, facts, filesystem, &object, findings);
        }
    }
}

fn disk(seen: &Seen, facts: &GuestFacts, filesystem: &Filesystem, object: &str, findings: &mut Findings) {
    let check = PreflightCheck::GuestResources;
    let Some(wanted) = wanted(seen, facts, filesystem) else {
        return;
    };
    let mount = &filesystem.mount;
    let left = display(up(filesystem.available, DISK_STEP));
    if filesystem.available < wanted {
        let message = format!(
            "less than {left} of its file system {mount} is left, and the upgrade puts up to {} there: free some",
            display(wanted)
        );
        findings.error(check, object, message);
        return;
    }
    let then = u128::from(filesystem.available - wanted) * 100;
    if filesystem.uses.contains(&Use::Images) && then < u128::from(filesystem.size) * KUBELET_WANTS {
        let message = format!(
            "less than {left} of its file system {mount} is left, and with up to {} of the upgrade there less than {KUBELET_WANTS} % of it is free: the kubelet then removes images that nothing uses yet, those of the new version among them; free some",
            display(wanted)
        );
        findings.warning(check, object, message);
    }
}

/// What an upgrade puts on a file system at most, in bytes; none where that is not known.
fn wanted(seen: &Seen, facts: &GuestFacts, filesystem: &Filesystem) -> Option<u64> {
    let disk = seen.upgrade_disk?;
    let has = |what| filesystem.uses.contains(&what);
    // Images are there twice: as they come, and unpacked. Programs are the rest of the disk.
    let release = if has(Use::Images) {
        disk.saturating_mul(2)
    } else if has(Use::Kept) {
        disk
    } else {
        0
    };
    let etcd = facts
        .control_plane
        .as_ref()
        .map(|control_plane| &control_plane.etcd);
    let etcd = etcd.map_or(0, |etcd| {
        // A snapshot is about as large as the database, which is a part of etcd's data.
        let snapshot = etcd.database.known().map_or(etcd.data, |database| *database);
        let part = |what, bytes| if has(what) { bytes } else { 0 };
        part(Use::Kept, snapshot).saturating_add(part(Use::Backups, etcd.data))
    });
    Some(release.saturating_add(etcd))
}

/// The next multiple of a step above it.
fn up(bytes: u64, step: u64) -> u64 {
    (bytes / step).saturating_add(1).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use seedbed_crds::PreflightSeverity;

    use super::super::guests::tests::{GI, with_guest};
    use super::super::seen::tests::{has, only};
    use super::*;

    const MI: u64 = 1 << 20;

    #[test]
    fn a_disk_without_room_for_the_upgrade_is_an_error() {
        let (severity, object, message) = only(&with_guest(1, |facts| {
            facts.filesystems[0].available = 1599 * MI;
        }));
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "DevMachine demo-w-0")
        );
        has(
            &message,
            &[
                "less than 1.5Gi of its file system / is left",
                "up to 1.5Gi there",
                "free some",
            ],
        );
    }

    #[test]
    fn a_control_plane_needs_room_for_etcds_snapshot_and_copy_too() {
        // Twice the upgrade disk of 800Mi, 20Mi of snapshot, and a copy of 200Mi.
        let left = |bytes| with_guest(0, |facts| facts.filesystems[0].available = bytes);
        assert_eq!(only(&left(1819 * MI)).0, PreflightSeverity::Error);
        assert_eq!(only(&left(1820 * MI)).0, PreflightSeverity::Warning);
    }

    #[test]
    fn a_disk_that_the_upgrade_fills_so_far_that_the_kubelet_removes_images_is_a_warning() {
        // 3Gi of 20Gi have to be left beside 1.6Gi.
        let left = |bytes| with_guest(1, |facts| facts.filesystems[0].available = bytes);
        let (severity, _, message) = only(&left(3 * GI + 1599 * MI));
        assert_eq!(severity, PreflightSeverity::Warning);
        has(&message, &["less than 15 % of it is free", "removes images"]);
        assert_eq!(super::super::check(&left(3 * GI + 1600 * MI), &[]), []);
    }

    #[test]
    fn each_file_system_needs_room_for_what_is_put_there() {
        let seen = with_guest(1, |facts| {
            let kept = Filesystem {
                mount: "/var/lib/seedbed".into(),
                size: 20 * GI,
                available: 799 * MI,
                uses: [Use::Kept].into(),
            };
            facts.filesystems[0].uses = [Use::Images].into();
            facts.filesystems.push(kept);
        });
        let (severity, _, message) = only(&seen);
        assert_eq!(severity, PreflightSeverity::Error);
        has(
            &message,
            &["its file system /var/lib/seedbed", "up to 800Mi there"],
        );
    }

    #[test]
    fn without_a_release_there_is_nothing_to_make_room_for() {
        let mut seen = with_guest(1, |facts| facts.filesystems[0].available = 0);
        seen.upgrade_disk = None;
        assert_eq!(super::super::check(&seen, &[]), []);
    }

    #[test]
    fn a_machine_that_is_short_of_memory_is_a_warning() {
        let (severity, object, message) = only(&with_guest(0, |facts| facts.available_memory = 210 * MI));
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Warning, "DevMachine demo-cp-0")
        );
        has(&message, &["less than 250Mi of memory left", "evicts pods"]);
    }
}
