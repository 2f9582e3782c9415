//! `KubernetesRelease`: its guest image and its upgrade disk on every host.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use seedbed_crds::reasons::{Reason, condition};
use seedbed_crds::{HypervisorHost, KubernetesRelease, KubernetesReleaseStatus, ReleaseOnHost};
use seedbed_hypervisor::Hypervisor;
use seedbed_planner::conditions::{self, Finding, Status, Summary};

use super::world::World;
use super::{releases, transitions};
use crate::context::jittered;
use crate::errors::Error;
use crate::status::describe;
use crate::uploads::{Upload, UploadState};

/// How soon to look again at a transfer, if its end is not told earlier.
const TRANSFERRING: Duration = Duration::from_secs(10);
/// How soon to look again where nothing is expected.
const LATER: Duration = Duration::from_mins(5);

/// How a release stands on a host.
enum OnHost {
    Present,
    Transferring(String),
    Broken(String),
    Unknown(String),
}

/// One pass over a release: what is missing on a host is put there.
pub async fn reconcile(cached: &KubernetesRelease, world: &World) -> Result<Action, Error> {
    let context = &world.context;
    let api = Api::<KubernetesRelease>::all(context.client.clone());
    let found = api
        .get_opt(&cached.name_any())
        .await
        .map_err(|e| Error::api(describe(cached), e))?;
    let Some(release) = found.filter(|r| r.metadata.deletion_timestamp.is_none()) else {
        return Ok(Action::await_change());
    };
    let mut hosts = world.all_hosts();
    hosts.sort_by_key(ResourceExt::name_any);
    // At the same time: one that hangs holds the others up no longer than itself.
    let looks = hosts.iter().map(async |host| {
        let found = ensure(&release, host, &context.hosts.hypervisor(host), world).await;
        (host.name_any(), found)
    });
    let hosts = futures::future::join_all(looks).await;
    let wait = if hosts.iter().all(|(_, s)| matches!(s, OnHost::Present)) {
        LATER
    } else {
        TRANSFERRING
    };
    let status = status(&release, &hosts, context.clock.now());
    transitions::save(context, &api, &release, status).await?;
    Ok(Action::requeue(jittered(&*context.random, wait)))
}

/// Starts the transfer of what is missing, one file after another.
async fn ensure(
    release: &KubernetesRelease,
    host: &HypervisorHost,
    hypervisor: &Arc<dyn Hypervisor>,
    world: &World,
) -> OnHost {
    let missing = match releases::missing(releases::files(release), hypervisor.as_ref()).await {
        Ok(missing) => missing,
        Err(fault) => return OnHost::Unknown(fault.to_string()),
    };
    let Some(file) = missing.first() else {
        return OnHost::Present;
    };
    let state = world.context.uploads.ensure(&Upload {
        host: host.name_any(),
        hypervisor: hypervisor.clone(),
        volume: file.volume.clone(),
        format: file.format,
        url: file.artefact.url.clone(),
        sha256: file.artefact.sha256.clone(),
    });
    let transferring = format!(
        "{} is being put on the host, {} files are still to come",
        file.artefact.url,
        missing.len()
    );
    // Tried again, it stays broken until an attempt succeeds: or each attempt would be told twice.
    let broken = broken(release, host).filter(|told| *told != transferring);
    match (state, broken) {
        (UploadState::Failed { message, .. }, _) | (UploadState::Running { .. }, Some(message)) => {
            OnHost::Broken(message)
        }
        (UploadState::Running { .. } | UploadState::Done, _) => OnHost::Transferring(transferring),
    }
}

/// What was wrong with this generation of the release on the host when it was last looked at; none where nothing was.
fn broken(release: &KubernetesRelease, host: &HypervisorHost) -> Option<String> {
    let status = release.status.as_ref()?;
    let ready = status.conditions.iter().find(|c| c.type_ == condition::READY)?;
    let same = status.observed_generation == release.metadata.generation;
    let told = status
        .hosts
        .iter()
        .find(|h| h.name == host.name_any() && !h.present)?;
    (same && ready.reason == Reason::ReleaseBroken.as_str()).then(|| told.message.clone())?
}

fn status(
    release: &KubernetesRelease,
    hosts: &[(String, OnHost)],
    now: jiff::Timestamp,
) -> KubernetesReleaseStatus {
    let old = release.status.clone().unwrap_or_default();
    let summary = summary(hosts);
    let mut findings = summary.findings();
    findings.push(match &summary {
        Summary::Ready => Finding::new(condition::RELEASE_AVAILABLE, true, Reason::ReleasePresent, ""),
        Summary::Unknown(reason, message) => Finding::new(
            condition::RELEASE_AVAILABLE,
            Status::Unknown,
            *reason,
            message.clone(),
        ),
        Summary::Progressing(reason, message)
        | Summary::Degraded(reason, message)
        | Summary::Stalled(reason, message) => {
            Finding::new(condition::RELEASE_AVAILABLE, false, *reason, message.clone())
        }
    });
    let generation = release.metadata.generation;
    KubernetesReleaseStatus {
        observed_generation: generation,
        conditions: conditions::merge(&old.conditions, findings, generation, now),
        hosts: hosts
            .iter()
            .map(|(name, state)| ReleaseOnHost {
                name: name.clone(),
                present: matches!(state, OnHost::Present),
                message: match state {
                    OnHost::Present => None,
                    OnHost::Transferring(m) | OnHost::Broken(m) | OnHost::Unknown(m) => Some(m.clone()),
                },
            })
            .collect(),
    }
}

fn summary(hosts: &[(String, OnHost)]) -> Summary {
    let first = |pick: fn(&OnHost) -> Option<&String>| {
        hosts
            .iter()
            .find_map(|(host, state)| pick(state).map(|m| format!("host {host}: {m}")))
    };
    // A file that cannot be read, or is another one than promised, stays so until somebody mends it; it is still tried again,
    // with growing pauses, since a server may have been down.
    if let Some(message) = first(|s| if let OnHost::Broken(m) = s { Some(m) } else { None }) {
        return Summary::Stalled(Reason::ReleaseBroken, message);
    }
    if let Some(message) = first(|s| {
        if let OnHost::Transferring(m) = s {
            Some(m)
        } else {
            None
        }
    }) {
        return Summary::Progressing(Reason::ReleaseTransferring, message);
    }
    if let Some(message) = first(|s| if let OnHost::Unknown(m) = s { Some(m) } else { None }) {
        return Summary::Unknown(Reason::HostUnreachable, message);
    }
    Summary::Ready
}
