//! Where a release's files are on a host.

use std::fmt::Write as _;

use seedbed_crds::{Artefact, HypervisorHost, KubernetesRelease};
use seedbed_hypervisor::{Fault, Hypervisor, VolumeFormat};
use seedbed_planner::{Observed, names};

use super::owned;

/// What the name of an upgrade disk's volume ends in.
const UPGRADE: &str = "upgrade";

/// One file of a release and the volume that holds it on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Where it comes from and its digest.
    pub artefact: Artefact,
    /// Name of its volume.
    pub volume: String,
    /// Its format.
    pub format: VolumeFormat,
}

/// All files of a release. Small files first: an unreadable one is told before minutes are spent on a large one. The upgrade disk last:
/// a machine's creation does not wait for it.
pub fn files(release: &KubernetesRelease) -> Vec<ReleaseFile> {
    let mut files = guest_image(release);
    files.extend(
        release
            .spec
            .upgrade_disk
            .as_ref()
            .map(|disk| file(disk, UPGRADE, VolumeFormat::Qcow2)),
    );
    files
}

/// The files that a machine is created from.
fn guest_image(release: &KubernetesRelease) -> Vec<ReleaseFile> {
    let image = &release.spec.guest_image;
    let small = [(&image.kernel, "kernel"), (&image.initrd, "initrd")];
    small
        .into_iter()
        .filter_map(|(artefact, extension)| {
            let artefact = artefact.as_ref()?;
            Some(file(artefact, extension, VolumeFormat::Raw))
        })
        .chain([file(&image.disk, "qcow2", VolumeFormat::Qcow2)])
        .collect()
}

fn file(artefact: &Artefact, extension: &str, format: VolumeFormat) -> ReleaseFile {
    ReleaseFile {
        volume: names::artefact_volume(&artefact.sha256, extension),
        artefact: artefact.clone(),
        format,
    }
}

/// Name of the volume that machines' root volumes stand on.
pub fn disk_volume(release: &KubernetesRelease) -> String {
    names::artefact_volume(&release.spec.guest_image.disk.sha256, "qcow2")
}

/// Kernel, initrd and kernel arguments, where the host loads them.
pub fn boot_volumes(release: &KubernetesRelease) -> Option<(String, String, String)> {
    let image = &release.spec.guest_image;
    let (kernel, initrd) = image.kernel.as_ref().zip(image.initrd.as_ref())?;
    Some((
        names::artefact_volume(&kernel.sha256, "kernel"),
        names::artefact_volume(&initrd.sha256, "initrd"),
        image.kernel_arguments.clone().unwrap_or_default(),
    ))
}

/// Name of the volume that is attached to a node that is upgraded to the release; none where running nodes cannot be.
pub fn upgrade_volume(release: &KubernetesRelease) -> Option<String> {
    let disk = release.spec.upgrade_disk.as_ref()?;
    Some(names::artefact_volume(&disk.sha256, UPGRADE))
}

/// Whether what a machine of the release is created from is complete on the host; if not, what is missing.
pub async fn on_host(
    release: &KubernetesRelease,
    host: &HypervisorHost,
    hypervisor: &dyn Hypervisor,
) -> Observed<Result<(), String>> {
    told(release, host, missing(guest_image(release), hypervisor).await)
}

/// Whether all that an upgrade of running nodes to the release needs is complete on the host; if not, what is missing.
pub async fn on_host_for_upgrade(
    release: &KubernetesRelease,
    host: &HypervisorHost,
    hypervisor: &dyn Hypervisor,
) -> Observed<Result<(), String>> {
    if release.spec.upgrade_disk.is_none() {
        return Observed::Known(Err(format!(
            "release {} has no upgradeDisk: running nodes cannot be upgraded to it; name one in its spec, or upgrade to a release that has one",
            owned::name(release)
        )));
    }
    told(release, host, missing(files(release), hypervisor).await)
}

fn told(
    release: &KubernetesRelease,
    host: &HypervisorHost,
    missing: Result<Vec<ReleaseFile>, Fault>,
) -> Observed<Result<(), String>> {
    match missing {
        Err(fault) => Observed::Unknown(fault.to_string()),
        Ok(missing) if missing.is_empty() => Observed::Known(Ok(())),
        Ok(missing) => {
            let mut message = format!(
                "release {} is not complete on host {}",
                owned::name(release),
                owned::name(host)
            );
            let told = release
                .status
                .iter()
                .flat_map(|s| &s.hosts)
                .find(|h| h.name == owned::name(host));
            match told.and_then(|h| h.message.as_ref()) {
                Some(why) => _ = write!(message, ": {why}"),
                None => _ = write!(message, ": {} of its files are still to come", missing.len()),
            }
            Observed::Known(Err(message))
        }
    }
}

/// Those of the files that are not complete on the host.
pub async fn missing(
    files: Vec<ReleaseFile>,
    hypervisor: &dyn Hypervisor,
) -> Result<Vec<ReleaseFile>, Fault> {
    let mut missing = Vec::new();
    for file in files {
        if !hypervisor.volume(&file.volume).await?.is_some_and(|v| v.complete) {
            missing.push(file);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use seedbed_hypervisor::simulated::{Guests, Simulated};
    use seedbed_hypervisor::{DomainSpec, HostFacts, VolumeFacts};
    use serde_json::json;

    use super::*;

    struct Nobody;

    impl Guests for Nobody {
        fn switched_on(&self, _: &DomainSpec) {}

        fn switched_off(&self, _: &str) {}

        fn agent_runs(&self, _: &str) -> bool {
            false
        }

        fn ask(&self, _: &str, _: &str) -> Result<String, String> {
            Err("nobody is here".to_owned())
        }
    }

    fn empty_host() -> Simulated {
        let facts = HostFacts {
            hostname: "local".to_owned(),
            hypervisor_version: String::new(),
            manager_version: String::new(),
            cpus: 1,
            memory_bytes: 1,
            pool_capacity_bytes: 1 << 40,
            pool_available_bytes: 1 << 40,
        };
        Simulated::new(facts, Arc::new(Nobody))
    }

    fn put(host: &Simulated, files: &[ReleaseFile]) {
        for file in files {
            let complete = VolumeFacts {
                name: file.volume.clone(),
                capacity_bytes: 1,
                allocation_bytes: 1,
                complete: true,
            };
            host.put_volume(&file.volume, Some(complete)).unwrap();
        }
    }

    fn release(upgrade_disk: bool) -> KubernetesRelease {
        let artefact =
            |name: &str, digit: &str| json!({"url": format!("file:///{name}"), "sha256": digit.repeat(64)});
        let mut release = json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "KubernetesRelease", "metadata": {"name": "v1.36.3"},
            "spec": {
                "version": "v1.36.3",
                "guestImage": {"disk": artefact("disk", "1"), "kernel": artefact("kernel", "2"), "initrd": artefact("initrd", "3")},
                "components": {"containerd": "v2.3.7", "etcd": "v3.6.8", "coredns": "v1.14.2"},
            },
        });
        if upgrade_disk {
            release["spec"]["upgradeDisk"] = artefact("upgrade", "4");
        }
        serde_json::from_value(release).unwrap()
    }

    fn local() -> HypervisorHost {
        HypervisorHost::new(
            "local",
            serde_json::from_value(json!({"nodeAddressRange": "10.64.0.0/16"})).unwrap(),
        )
    }

    #[test]
    fn small_files_come_first_and_the_upgrade_disk_last() {
        let files = files(&release(true));
        let urls: Vec<_> = files.iter().map(|file| file.artefact.url.as_str()).collect();
        assert_eq!(
            urls,
            [
                "file:///kernel",
                "file:///initrd",
                "file:///disk",
                "file:///upgrade"
            ]
        );
        let last = files.last().map(|file| file.volume.clone());
        assert_eq!(upgrade_volume(&release(true)), last);
        assert_eq!(upgrade_volume(&release(false)), None);
    }

    #[tokio::test]
    async fn machines_wait_for_the_guest_image_and_upgrades_for_everything() {
        let (host, release) = (empty_host(), release(true));
        let files = files(&release);
        assert!(matches!(
            on_host(&release, &local(), &host).await,
            Observed::Known(Err(_))
        ));
        put(&host, &files[..3]);
        assert_eq!(on_host(&release, &local(), &host).await, Observed::Known(Ok(())));
        let Observed::Known(Err(message)) = on_host_for_upgrade(&release, &local(), &host).await else {
            panic!("its upgrade disk is missing");
        };
        assert!(message.contains("1 of its files"), "{message}");
        put(&host, &files);
        assert_eq!(
            on_host_for_upgrade(&release, &local(), &host).await,
            Observed::Known(Ok(()))
        );
    }

    #[tokio::test]
    async fn without_an_upgrade_disk_machines_are_created_and_none_is_upgraded() {
        let (host, release) = (empty_host(), release(false));
        put(&host, &files(&release));
        assert_eq!(on_host(&release, &local(), &host).await, Observed::Known(Ok(())));
        let Observed::Known(Err(message)) = on_host_for_upgrade(&release, &local(), &host).await else {
            panic!("it has no upgrade disk");
        };
        assert!(
            message.starts_with("release v1.36.3 has no upgradeDisk"),
            "{message}"
        );
    }
}
