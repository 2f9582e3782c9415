//! The way into a child cluster, as its administrator.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seedbed_crds::DevCluster;
use seedbed_kubeadm::kubeconfig::{Credentials, Kubeconfig};
use seedbed_kubeadm::pki::{CertificateAuthority, IssuedCertificate, Lifetime};
use seedbed_planner::names;

use super::allocations::Stored;
use super::owned;
use super::world::World;
use crate::child::{ChildAccess, ChildApi, ChildKey};
use crate::context::Context;
use crate::errors::Error;
use crate::render::ClusterPlan;

/// How long an administrator's certificate is valid. A process that runs longer makes a new one at its next start.
const LIFETIME: Duration = Duration::from_hours(365 * 24);
/// Who an administrator is: a group that the API server trusts before any role is bound.
const ADMIN: (&str, &str) = ("kubernetes-admin", "system:masters");

/// Access to child clusters, made once for each address.
#[derive(Debug, Default)]
pub struct Accesses {
    made: Mutex<HashMap<String, ChildAccess>>,
}

impl Accesses {
    /// Forgets the access to a cluster that is gone.
    pub fn forget(&self, cluster_uid: &str) {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(cluster_uid);
    }

    fn get(&self, cluster_uid: &str, endpoint: &str) -> Option<ChildAccess> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(cluster_uid).filter(|a| a.endpoint == endpoint).cloned()
    }

    fn keep(&self, cluster_uid: String, access: ChildAccess) {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(cluster_uid, access);
    }
}

/// The key of a cluster's child API.
pub fn key(cluster: &DevCluster) -> ChildKey {
    ChildKey {
        namespace: owned::namespace(cluster),
        name: owned::name(cluster),
    }
}

/// Address of the cluster's API server, once it is allotted: that of its control plane.
pub fn api_server(cluster: &str, stored: Option<&Stored>) -> Option<Ipv4Addr> {
    stored?
        .allocations
        .machines
        .get(&names::control_plane(cluster, 0))
        .map(|m| m.ip)
}

/// The child's API; none before its address and its CA are there.
pub async fn child(
    world: &World,
    cluster: &DevCluster,
    stored: Option<&Stored>,
) -> Result<Option<Arc<dyn ChildApi>>, Error> {
    let (context, accesses) = (&world.context, &world.accesses);
    let (name, uid) = (owned::name(cluster), owned::uid(cluster));
    let Some(address) = api_server(&name, stored) else {
        return Ok(None);
    };
    let endpoint = ClusterPlan::endpoint(address).url();
    let access = if let Some(access) = accesses.get(&uid, &endpoint) {
        access
    } else {
        let Some(keys) = world.keys(cluster).await? else {
            return Ok(None);
        };
        let admin = admin(&keys.ca, context)?;
        let access = ChildAccess {
            endpoint,
            ca_pem: keys.ca.cert_pem.clone(),
            certificate_pem: admin.cert_pem,
            key_pem: admin.key_pem,
        };
        accesses.keep(uid, access.clone());
        access
    };
    Ok(Some(context.children.api(&key(cluster), &access)?))
}

/// The administrator's kubeconfig for the API server at that address.
pub fn kubeconfig(
    context: &Context,
    cluster: &DevCluster,
    ca: &CertificateAuthority,
    address: Ipv4Addr,
) -> Result<String, Error> {
    let name = owned::name(cluster);
    let user = format!("{name}-admin");
    let config = Kubeconfig {
        server: ClusterPlan::endpoint(address).url(),
        ca_pem: ca.cert_pem.clone(),
        credentials: Credentials::Certificate(admin(ca, context)?),
        context: format!("{}-{name}", owned::namespace(cluster)),
        cluster: name,
        user,
        proxy_url: None,
        tls_server_name: None,
    };
    config.render().map_err(|e| Error::step("render", e))
}

fn admin(ca: &CertificateAuthority, context: &Context) -> Result<IssuedCertificate, Error> {
    let lifetime = Lifetime::starting(context.clock.now().as_second(), LIFETIME);
    ca.client_certificate(ADMIN.0, Some(ADMIN.1), lifetime)
        .map_err(|e| Error::step("keys", e))
}
