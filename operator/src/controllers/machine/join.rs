//! The token with which a machine joins its cluster.

use std::sync::Arc;

use jiff::SignedDuration;
use seedbed_crds::{DevMachine, MachineRole};
use seedbed_kubeadm::pki::ClusterPki;
use seedbed_kubeadm::token::BootstrapToken;
use seedbed_planner::Observed;
use sha2::{Digest, Sha256};

use super::observe::Subject;
use crate::controllers::owned;
use crate::controllers::world::World;
use crate::errors::Error;
use crate::render::TOKEN_TTL_SECONDS;

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
    if subject.machine.spec.role != MachineRole::Worker || !begun_anew(subject, world) {
        return Observed::Known(false);
    }
    let token = match token(subject, world).await {
        Ok(token) => token,
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    Observed::from(child.has_token(token.id()).await).map(|found| !found)
}

fn begun_anew(subject: &Subject, world: &World) -> bool {
    let begun = |machine: &DevMachine| Some(machine.status.as_ref()?.bootstrap.as_ref()?.started_at.0);
    let Some(joins_since) = begun(&subject.machine) else {
        return false;
    };
    world
        .machines_of_cluster(&subject.cluster)
        .iter()
        .filter(|m| m.spec.role == MachineRole::ControlPlane)
        .filter_map(begun)
        .any(|at| at > joins_since)
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
