//! The token with which a machine joins its cluster.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use seedbed_crds::{BootstrapStatus, MachineRole};
use seedbed_kubeadm::pki::ClusterPki;
use seedbed_kubeadm::token::BootstrapToken;
use seedbed_planner::Observed;
use sha2::{Digest, Sha256};

use super::bootstrap;
use super::observe::Subject;
use crate::controllers::owned;
use crate::controllers::world::World;
use crate::errors::Error;
use crate::render::TOKEN_TTL_SECONDS;

/// How long a kubelet may take to register its node once kubeadm is through.
const REGISTERS_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// The machine's join token.
pub async fn token(subject: &Subject, world: &World) -> Result<BootstrapToken, Error> {
    derive(subject, &*keys(subject, world).await?)
}

/// The machine's join token. It is made from the CA's key, which nobody who could not make tokens anyway has, and from the
/// machine's UID: so it need not be kept anywhere, and is the same after a restart of the operator.
pub fn derive(subject: &Subject, keys: &ClusterPki) -> Result<BootstrapToken, Error> {
    let mut bytes = Vec::with_capacity(64);
    for part in [b"token-0", b"token-1"] {
        let mut hash = Sha256::new();
        hash.update(keys.ca.key_pem.as_bytes());
        hash.update([0]);
        hash.update(owned::uid(&subject.machine).as_bytes());
        hash.update(part);
        bytes.extend_from_slice(&hash.finalize());
    }
    bytes.truncate(BootstrapToken::RANDOM_BYTES);
    let bytes: [u8; BootstrapToken::RANDOM_BYTES] = bytes
        .try_into()
        .map_err(|_| Error::step("token", "a join token could not be made".to_owned()))?;
    Ok(BootstrapToken::from_random(&bytes))
}

/// Makes the token where the machine joins, with all of its time before it.
pub async fn make(subject: &Subject, token: &BootstrapToken, world: &World) -> Result<(), Error> {
    let Some(child) = &subject.child else {
        return Err(no_address());
    };
    let expires = world.context.clock.now() + SignedDuration::from_secs(i64::from(TOKEN_TTL_SECONDS));
    child
        .ensure_token(token, expires, &format!("join of {}", subject.name()))
        .await?;
    Ok(())
}

/// Whether the control plane was begun anew since the machine's attempt began, and does not know its token: what joins has the
/// right CA still, and goes on with the token as soon as it is there again. It is looked for in that case alone.
pub async fn token_lost(subject: &Subject, world: &World) -> Observed<bool> {
    let Some(child) = &subject.child else {
        return Observed::Known(false);
    };
    if begun_anew(subject, world).is_none() {
        return Observed::Known(false);
    }
    let token = match token(subject, world).await {
        Ok(token) => token,
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    Observed::from(child.has_token(token.id()).await).map(|found| !found)
}

/// Whether a worker's node should be there by now if it ever will.
pub fn is_overdue(subject: &Subject, now: Timestamp) -> bool {
    subject.machine.spec.role == MachineRole::Worker
        && bootstrap(&subject.machine)
            .and_then(|bootstrap| bootstrap.finished_at.as_ref())
            .is_some_and(|at| now.duration_since(at.0) >= REGISTERS_WITHIN)
}

/// The bootstrap of the control plane, where that was begun anew since the machine's own attempt began. Times say nothing about it: clocks
/// are set.
fn begun_anew(subject: &Subject, world: &World) -> Option<BootstrapStatus> {
    let joined = bootstrap(&subject.machine)?.control_plane_token.as_ref()?;
    control_plane(subject, world).filter(|found| found.token != *joined)
}

/// The bootstrap of the control plane that a worker joins, as far as it was begun.
pub fn control_plane(subject: &Subject, world: &World) -> Option<BootstrapStatus> {
    if subject.machine.spec.role != MachineRole::Worker {
        return None;
    }
    world
        .machines_of_cluster(&subject.cluster)
        .iter()
        .filter(|m| m.spec.role == MachineRole::ControlPlane)
        .find_map(bootstrap)
        .cloned()
}

/// A machine cannot join before its cluster has an address.
pub fn no_address() -> Error {
    Error::step(
        "child",
        "the address of the cluster's API server is not known".to_owned(),
    )
}

/// The cluster's keys, which are there before any machine is.
async fn keys(subject: &Subject, world: &World) -> Result<Arc<ClusterPki>, Error> {
    world
        .keys(&subject.cluster)
        .await?
        .ok_or_else(|| no_keys(subject))
}

/// A machine cannot be made part of a cluster whose keys are not there.
pub fn no_keys(subject: &Subject) -> Error {
    let (namespace, cluster) = (&subject.owner.namespace, &subject.owner.cluster);
    Error::step(
        "keys",
        format!("the CA Secrets of DevCluster {namespace}/{cluster} are not there"),
    )
}
