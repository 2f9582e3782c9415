//! Carries out one effect on a machine. Each can be carried out again: what is done already is left as it is.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use seedbed_crds::{BootstrapPhase, BootstrapStatus, DevMachineStatus, MachineRole, quantity};
use seedbed_hypervisor::{Boot, DiskSpec, DomainSpec, DomainType, NicSpec, VolumeFormat, VolumeSpec};
use seedbed_planner::machine::Effect;
use seedbed_planner::names;
use seedbed_planted::planted;
use sha2::{Digest, Sha256};

use super::join;
use super::observe::{Facts, Subject};
use crate::controllers::bytes::Bytes;
use crate::controllers::current::let_go;
use crate::controllers::world::World;
use crate::controllers::{access, allocations, cluster, drain, guest_jobs, owned, releases};
use crate::errors::Error;
use crate::render::{FileContents, MachinePlan};
use crate::status::describe;

/// How long the transfer of a machine's own small volume may take.
const CIDATA_LIMIT: std::time::Duration = std::time::Duration::from_mins(2);

/// What an effect left to be written into the status.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The bootstrap as it is now, where the effect was to write it down.
    pub bootstrap: Option<BootstrapStatus>,
    /// Whether the drain began.
    pub drain_began: bool,
    /// Whether the object is gone.
    pub gone: bool,
    /// What holds up a drain.
    pub blocked: Option<String>,
}

/// Carries the effect out.
#[allow(clippy::too_many_lines, reason = "one arm for each effect")]
pub async fn apply(
    effect: Effect,
    subject: &Subject,
    facts: &Facts,
    world: &World,
) -> Result<Outcome, Error> {
    let host = &subject.hypervisor;
    let (domain, owner) = (subject.domain_name(), &subject.owner);
    let network = names::network(&owner.namespace, &owner.cluster);
    let [root, cidata] = subject.volumes();
    let mut outcome = Outcome::default();
    match effect {
        Effect::Allocate => allocate(subject, world).await?,
        Effect::ReserveAddress => {
            let wanted = allocations::reservation(&subject.name(), allocated(subject)?);
            host.reserve_address(&network, owner, &wanted).await?;
        }
        Effect::CreateRootVolume => host.create_volume(&root_volume(subject, root)?).await?,
        Effect::CreateCidata => {
            let bytes = plan(subject)?.cidata().map_err(|e| Error::step("render", e))?;
            let digest = hex(&Sha256::digest(&bytes));
            let source = Bytes::source(format!("cloud-init volume of {}", subject.name()), bytes);
            host.upload_volume(&cidata, VolumeFormat::Raw, source, Some(&digest), CIDATA_LIMIT)
                .await?;
        }
        Effect::DefineDomain => host.define_domain(&domain_spec(subject)?).await?,
        Effect::StartDomain => host.start_domain(&domain, owner).await?,
        Effect::BeginAttempt(attempt) => {
            if planted!(JobBeforeWriteAhead) {
                start_job(subject, world).await?;
            }
            if subject.machine.spec.role == MachineRole::ControlPlane {
                // What was seen at its address was another API.
                world.context.children.forget(&access::key(&subject.cluster));
            }
            outcome.bootstrap = Some(BootstrapStatus {
                phase: BootstrapPhase::Started,
                attempt,
                token: subject.token(attempt),
                control_plane_token: join::control_plane(subject, world).map(|b| b.token),
                started_at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.context.clock.now()),
                finished_at: None,
                message: None,
            });
        }
        Effect::StartJob => start_job(subject, world).await?,
        Effect::RenewToken => join::make(subject, &join::token(subject, world).await?, world).await?,
        Effect::RecordSuccess => {
            if let Some(child) = &subject.child {
                child.look_again();
                if !planted!(KeepToken) {
                    let token = join::token(subject, world).await?;
                    child.delete_token(token.id()).await?;
                }
            }
            outcome.bootstrap = finished(
                subject.machine.status.as_ref(),
                BootstrapPhase::Succeeded,
                None,
                world,
            );
        }
        Effect::RecordFailure => {
            // Where its API does not answer the token ends by itself; the next attempt makes it again.
            if subject.machine.spec.role == MachineRole::Worker
                && let (Some(child), Ok(token)) = (&subject.child, join::token(subject, world).await)
                && let Err(error) = child.delete_token(token.id()).await
            {
                tracing::debug!("{}: {error}", describe(&subject.machine));
            }
            outcome.bootstrap = finished(
                subject.machine.status.as_ref(),
                BootstrapPhase::Failed,
                facts.job_log.clone(),
                world,
            );
        }
        Effect::ApplyNodeSettings => {
            if let Some(child) = &subject.child {
                child.shape_node(&subject.name(), &subject.shape()).await?;
            }
        }
        Effect::Cordon => {
            if let Some(child) = &subject.child {
                child.cordon(&subject.name()).await?;
            }
            outcome.drain_began = true;
        }
        Effect::Evict => {
            if let Some(child) = &subject.child {
                outcome.blocked = drain::evict(child.as_ref(), &subject.name()).await?;
            }
        }
        Effect::DeleteNode => {
            if let (Some(child), Some(node)) = (&subject.child, &facts.node) {
                child
                    .delete_node(&subject.name(), node.metadata.uid.as_deref().unwrap_or_default())
                    .await?;
            }
        }
        Effect::PowerOff => host.destroy_domain(&domain, owner).await?,
        Effect::UndefineDomain => host.undefine_domain(&domain, owner).await?,
        Effect::DeleteVolumes => {
            for name in [&root, &cidata] {
                host.delete_volume(name).await?;
            }
        }
        Effect::ReleaseAddress => {
            host.release_address(&network, owner, &allocated(subject)?.mac)
                .await?;
        }
        Effect::Deallocate => {
            if let Some(stored) = &subject.stored {
                let without = stored
                    .allocations
                    .without_machine(&subject.name(), &owned::uid(&subject.machine));
                world
                    .write_allocations(&subject.cluster, stored, &without)
                    .await?;
            }
        }
        Effect::Disown => host.disown_domain(&domain, owner).await?,
        Effect::RemoveFinalizer => {
            let_go(world, &subject.machine).await?;
            outcome.gone = true;
        }
    }
    Ok(outcome)
}

async fn allocate(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some(stored) = &subject.stored else {
        return Ok(());
    };
    let (cluster, host) = (&subject.cluster, &subject.host);
    if cluster::is_contested(cluster, stored, host, subject.hypervisor.as_ref(), world).await? {
        // The cluster gives it back.
        return Err(Error::Conflict {
            object: format!("{}: its range", describe(cluster)),
        });
    }
    let (name, uid) = (subject.name(), owned::uid(&subject.machine));
    let with = stored
        .allocations
        .with_machine(&owned::uid(&subject.cluster), &name, &uid, &subject.plan.pod_cidr)
        .map_err(|e| Error::step("allocation", e))?;
    world.write_allocations(&subject.cluster, stored, &with).await
}

fn allocated(subject: &Subject) -> Result<&seedbed_planner::allocation::MachineAllocation, Error> {
    subject.allocation().ok_or_else(|| Error::Conflict {
        object: format!(
            "DevMachine {}/{}: its allocation",
            subject.owner.namespace,
            subject.name()
        ),
    })
}

fn plan(subject: &Subject) -> Result<MachinePlan<'_>, Error> {
    let allocation = allocated(subject)?;
    let node_cidr = subject
        .stored
        .as_ref()
        .map(|s| s.allocations.node_cidr)
        .ok_or_else(|| Error::Conflict {
            object: format!("allocations of DevCluster {}", subject.owner.cluster),
        })?;
    Ok(MachinePlan {
        cluster: &subject.plan,
        object: &subject.cluster,
        pool: subject.pool.as_ref(),
        name: subject.machine.metadata.name.as_deref().unwrap_or_default(),
        host: &subject.machine.spec.host_ref.name,
        allocation,
        node_cidr,
    })
}

fn root_volume(subject: &Subject, name: String) -> Result<VolumeSpec, Error> {
    Ok(VolumeSpec {
        name,
        capacity_bytes: quantity::bytes(&subject.machine.spec.machine.disk).unwrap_or_default(),
        format: VolumeFormat::Qcow2,
        backing: Some(releases::disk_volume(release(subject)?)),
    })
}

fn release(subject: &Subject) -> Result<&seedbed_crds::KubernetesRelease, Error> {
    subject.release.as_ref().ok_or_else(|| {
        Error::step(
            "release",
            format!(
                "no KubernetesRelease named {} exists",
                subject.machine.spec.version
            ),
        )
    })
}

fn domain_spec(subject: &Subject) -> Result<DomainSpec, Error> {
    let [root, cidata] = subject.volumes();
    let machine = &subject.machine.spec.machine;
    let emulated = subject.host.spec.is_emulated();
    let boot = match releases::boot_volumes(release(subject)?) {
        Some((kernel, initrd, arguments)) => Boot::Direct {
            kernel,
            initrd,
            arguments: arguments + extra(emulated),
        },
        None => Boot::Disk,
    };
    Ok(DomainSpec {
        name: subject.domain_name(),
        uuid: allocated(subject)?.domain_uuid,
        owner: subject.owner.clone(),
        spec_hash: subject.machine.spec.template_hash.clone(),
        cpus: u32::try_from(machine.cpus).unwrap_or(1),
        memory_bytes: quantity::bytes(&machine.memory).unwrap_or_default(),
        domain_type: if emulated {
            DomainType::Qemu
        } else {
            DomainType::Kvm
        },
        boot,
        disks: vec![
            DiskSpec {
                volume: root,
                format: VolumeFormat::Qcow2,
                read_only: false,
            },
            DiskSpec {
                volume: cidata,
                format: VolumeFormat::Raw,
                read_only: true,
            },
        ],
        nics: vec![NicSpec {
            network: names::network(&subject.owner.namespace, &subject.owner.cluster),
            mac: allocated(subject)?.mac.clone(),
        }],
    })
}

/// An emulated processor does not speculate, so that the kernel's mitigations only cost time there.
fn extra(emulated: bool) -> &'static str {
    if emulated { " mitigations=off" } else { "" }
}

/// Makes the join token where the machine joins, and starts the job. The intent was written down before.
async fn start_job(subject: &Subject, world: &World) -> Result<(), Error> {
    let keys = world
        .present_keys(&subject.cluster)
        .await?
        .ok_or_else(|| join::no_keys(subject))?;
    let token = join::derive(subject, &keys)?;
    let plan = plan(subject)?;
    let contents = contents(&world.context.client, &subject.owner.namespace, &plan).await?;
    let files = match subject.machine.spec.role {
        MachineRole::ControlPlane => plan.init(&keys, token, &contents),
        MachineRole::Worker => {
            let Some(address) = access::api_server(&subject.owner.cluster, subject.stored.as_ref()) else {
                return Err(join::no_address());
            };
            join::make(subject, &token, world).await?;
            plan.join(address, &keys.ca.cert_pem, token, &contents)
        }
    }
    .map_err(|e| Error::step("render", e))?;
    if planted!(LogSecret) {
        for file in &files.files {
            tracing::info!("{}", String::from_utf8_lossy(&file.content));
        }
    }
    let attempt = super::bootstrap(&subject.machine).map_or(1, |bootstrap| bootstrap.attempt);
    let job = guest_jobs::job(subject.token(attempt), files);
    subject.guest.start(&job).await?;
    Ok(())
}

async fn contents(
    client: &kube::Client,
    namespace: &str,
    plan: &MachinePlan<'_>,
) -> Result<FileContents, Error> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let mut contents = FileContents::new();
    for (name, key) in plan.wanted_contents() {
        let found = api
            .get_opt(&name)
            .await
            .map_err(|e| Error::api(format!("Secret {namespace}/{name}: get"), e))?;
        if let Some(bytes) = found.and_then(|s| s.data).and_then(|mut d| d.remove(&key)) {
            contents.insert((name, key), bytes.0);
        }
    }
    Ok(contents)
}

fn finished(
    status: Option<&DevMachineStatus>,
    phase: BootstrapPhase,
    message: Option<String>,
    world: &World,
) -> Option<BootstrapStatus> {
    let bootstrap = status?.bootstrap.clone()?;
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.context.clock.now());
    Some(BootstrapStatus {
        phase,
        finished_at: Some(now),
        message,
        ..bootstrap
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
