//! Where a release's files are on a host.

use std::fmt::Write as _;

use seedbed_crds::{Artefact, HypervisorHost, KubernetesRelease};
use seedbed_hypervisor::{Fault, Hypervisor, VolumeFormat};
use seedbed_planner::{Observed, names};

use super::owned;

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

/// All files of a release.
pub fn files(release: &KubernetesRelease) -> Vec<ReleaseFile> {
    let image = &release.spec.guest_image;
    let file = |artefact: &Artefact, extension: &str, format| ReleaseFile {
        volume: names::artefact_volume(&artefact.sha256, extension),
        artefact: artefact.clone(),
        format,
    };
    let mut files = Vec::with_capacity(3);
    // Small files first: an unreadable one is told before minutes are spent on the large one.
    files.extend(
        image
            .kernel
            .as_ref()
            .map(|a| file(a, "kernel", VolumeFormat::Raw)),
    );
    files.extend(
        image
            .initrd
            .as_ref()
            .map(|a| file(a, "initrd", VolumeFormat::Raw)),
    );
    files.push(file(&image.disk, "qcow2", VolumeFormat::Qcow2));
    files
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

/// Whether all of the release's files are complete on the host; if not, what is missing.
pub async fn on_host(
    release: &KubernetesRelease,
    host: &HypervisorHost,
    hypervisor: &dyn Hypervisor,
) -> Observed<Result<(), String>> {
    match missing(release, hypervisor).await {
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

/// The files that are not complete on the host.
pub async fn missing(
    release: &KubernetesRelease,
    hypervisor: &dyn Hypervisor,
) -> Result<Vec<ReleaseFile>, Fault> {
    let mut missing = Vec::new();
    for file in files(release) {
        if !hypervisor.volume(&file.volume).await?.is_some_and(|v| v.complete) {
            missing.push(file);
        }
    }
    Ok(missing)
}
