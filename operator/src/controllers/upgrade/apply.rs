//! Carries out one effect of an upgrade on a machine. Each can be carried out again: what is done already is left as it is.

use seedbed_crds::{UpgradePhase, UpgradeStep, UpgradeStepState};
use seedbed_hypervisor::{AttachedDisk, VolumeFormat};
use seedbed_kubeadm::upgrade::{self as jobs, DISK_SERIAL};
use seedbed_planner::upgrade::Effect;
use seedbed_planner::upgrade::saga::Saga;

use super::subject::{Reached, Subject};
use crate::controllers::world::World;
use crate::controllers::{drain, guest_jobs, owned, releases};
use crate::errors::Error;

/// Carries the effect out; what holds it up, if something does.
pub async fn apply(
    effect: Effect,
    subject: &Subject,
    saga: &Saga,
    step: &UpgradeStep,
    one: &Reached,
    world: &World,
) -> Result<Option<String>, Error> {
    let (child, upgrade) = (&subject.child, owned::uid(&subject.upgrade));
    let node = owned::name(&one.machine);
    match effect {
        Effect::AttachDisk => {
            let disk = AttachedDisk {
                volume: volume(subject, world)?,
                format: VolumeFormat::Qcow2,
                serial: DISK_SERIAL.to_owned(),
            };
            subject
                .hypervisor
                .attach_disk(&one.domain, &one.owner, &disk)
                .await?;
        }
        Effect::DetachDisk => {
            subject
                .hypervisor
                .detach_disk(&one.domain, &one.owner, DISK_SERIAL)
                .await?;
        }
        Effect::KeepDisk => subject.hypervisor.keep_disk(&one.domain, &one.owner).await?,
        Effect::MergeDisk => subject.hypervisor.merge_disk(&one.domain, &one.owner).await?,
        Effect::RevertDisk => {
            let (host, domain, owner) = (&subject.hypervisor, &one.domain, &one.owner);
            host.destroy_domain(domain, owner).await?;
            host.revert_disk(domain, owner).await?;
            host.start_domain(domain, owner).await?;
        }
        Effect::StartJob => start(subject, saga, step, one).await?,
        Effect::Cordon => _ = child.close_node(&node, &upgrade).await?,
        Effect::Evict => return drain::evict(child.as_ref(), &node).await,
        Effect::Uncordon => _ = child.open_node(&node, &upgrade).await?,
        // These are done to the upgrade itself, or to its cluster as a whole.
        Effect::Begin
        | Effect::StartCheck
        | Effect::RemoveChecks
        | Effect::Finish
        | Effect::RemoveFinalizer => {}
    }
    Ok(None)
}

fn volume(subject: &Subject, world: &World) -> Result<String, Error> {
    let version = subject.to.to_string();
    let release = world.release(&version).ok_or_else(|| {
        Error::step(
            "release",
            format!("no KubernetesRelease named {version} exists: create it, the upgrade to it is under way"),
        )
    })?;
    releases::upgrade_volume(&release).ok_or_else(|| {
        Error::step(
            "release",
            format!("KubernetesRelease {version} has no spec.upgradeDisk"),
        )
    })
}

async fn start(subject: &Subject, saga: &Saga, step: &UpgradeStep, one: &Reached) -> Result<(), Error> {
    let undo = step.state == UpgradeStepState::Undoing;
    let Some(job) = job(step.phase, undo) else {
        return Ok(());
    };
    let configuration = if job.changes_configuration() {
        let found = subject.child.cluster_configuration().await?;
        let emulated = subject.emulated().filter(|_| job == jobs::Job::ControlPlane);
        Some(
            jobs::emulating(&found, emulated.as_deref())
                .map_err(|error| Error::step("configuration", error))?,
        )
    } else {
        None
    };
    let token = saga.token(step, undo, step.attempt);
    let files = jobs::render(&jobs::Input {
        job,
        token: token.clone(),
        upgrade: owned::uid(&subject.upgrade),
        from: subject.from.to_string(),
        to: subject.to.to_string(),
        emulated: subject.emulated(),
        stop: saga.earlier_tokens(step),
        configuration,
    })
    .map_err(|error| Error::step("render", error))?;
    one.guest.start(&guest_jobs::job(token, files)).await?;
    Ok(())
}

/// The job by which a step of that phase is done, or undone.
fn job(phase: UpgradePhase, undo: bool) -> Option<jobs::Job> {
    Some(match (phase, undo) {
        (UpgradePhase::Snapshot, false) => jobs::Job::Snapshot,
        (UpgradePhase::Snapshot, true) => jobs::Job::UndoSnapshot,
        (UpgradePhase::Preload, false) => jobs::Job::Preload,
        (UpgradePhase::Preload, true) => jobs::Job::UndoPreload,
        (UpgradePhase::ControlPlane, false) => jobs::Job::ControlPlane,
        (UpgradePhase::ControlPlane, true) => jobs::Job::UndoControlPlane,
        (UpgradePhase::Commit, false) => jobs::Job::Commit,
        (UpgradePhase::Commit, true) => jobs::Job::Restore,
        (UpgradePhase::Etcd, false) => jobs::Job::Etcd,
        (UpgradePhase::Nodes, false) => jobs::Job::Kubelet,
        (UpgradePhase::Nodes, true) => jobs::Job::UndoKubelet,
        (UpgradePhase::Addons, false) => jobs::Job::Addons,
        (UpgradePhase::Verify, true) => jobs::Job::PrepareRestore,
        (UpgradePhase::Preflight | UpgradePhase::Soak, _)
        | (UpgradePhase::Etcd | UpgradePhase::Addons, true)
        | (UpgradePhase::Verify, false) => return None,
    })
}
