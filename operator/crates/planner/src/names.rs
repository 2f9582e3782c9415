//! Names, identities and tokens: each is made from what it names, so that it comes out the same at every start.

use seedbed_crds::MachineRole;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Label that names the cluster on everything the operator makes for it.
pub const CLUSTER_LABEL: &str = "seedbed.dev/cluster";
/// Label that names the pool on its machines.
pub const POOL_LABEL: &str = "seedbed.dev/pool";
/// Label that names the role on machines.
pub const ROLE_LABEL: &str = "seedbed.dev/role";
/// Label that names the host on allocations.
pub const HOST_LABEL: &str = "seedbed.dev/host";
/// Label of a check's Job: UID of the upgrade.
pub const UPGRADE_LABEL: &str = "seedbed.dev/upgrade";
/// Label of a check's Job: name of the check.
pub const CHECK_LABEL: &str = "seedbed.dev/check";
/// Annotation of an upgrade that a cluster made by itself: the generation of the spec that it was made for.
pub const GENERATION_ANNOTATION: &str = "seedbed.dev/for-generation";
/// Finalizer on every object whose deletion leaves something to do on a host.
pub const FINALIZER: &str = "seedbed.dev/cleanup";

/// Namespace of the UUIDs that are made from names (RFC 9562, version 5).
const UUID_NAMESPACE: Uuid = Uuid::from_u128(0x5eed_bed0_0000_5000_8000_7365_6564_6265);

/// Name of the `index`th control plane of a cluster.
pub fn control_plane(cluster: &str, index: u32) -> String {
    format!("{cluster}-cp-{index}")
}

/// Name of the `index`th worker of a pool.
pub fn worker(pool: &str, index: u32) -> String {
    format!("{pool}-{index}")
}

/// Index of a machine, by its name and the name of its pool (or `<cluster>-cp`).
pub fn index_of(machine: &str, prefix: &str) -> Option<u32> {
    machine.strip_prefix(prefix)?.strip_prefix('-')?.parse().ok()
}

/// The pool name that would give its workers the names of the cluster's control planes.
pub fn control_plane_prefix(cluster: &str) -> String {
    format!("{cluster}-cp")
}

/// Name of a machine's domain on its host.
pub fn domain(namespace: &str, machine: &str) -> String {
    format!("{namespace}.{machine}")
}

/// Namespace and name of the machine whose domain would have that name; none where it is no machine's. Neither has dots.
pub fn machine_of_domain(domain: &str) -> Option<(&str, &str)> {
    domain.split_once('.')
}

/// Name of a cluster's network on its host.
pub fn network(namespace: &str, cluster: &str) -> String {
    format!("{namespace}.{cluster}")
}

/// Name of a cluster's bridge on its host. The kernel allows 15 characters, so it is made from the cluster's UID.
pub fn bridge(cluster_uid: &str) -> String {
    format!("sb{}", &digest(&[cluster_uid])[..10])
}

/// DNS zone of a cluster's network.
pub fn dns_zone(namespace: &str, cluster: &str) -> String {
    format!("{cluster}.{namespace}.seedbed")
}

/// UUID of a machine's domain, from the machine's UID.
pub fn domain_uuid(machine_uid: &str) -> Uuid {
    Uuid::new_v5(&UUID_NAMESPACE, machine_uid.as_bytes())
}

/// MAC address of the network card that has the cluster's `number`th address, in the range that QEMU uses. It follows the address
/// and not the machine: dnsmasq keeps a lease for the card that had it, and would give a machine that is made anew under a freed
/// address none for as long as the lease lasts.
pub fn mac(cluster_uid: &str, number: u32) -> String {
    let d = digest(&["mac", cluster_uid, &number.to_string()]);
    format!("52:54:00:{}:{}:{}", &d[0..2], &d[2..4], &d[4..6])
}

/// `spec.providerID` of a machine's node.
pub fn provider_id(host: &str, domain_uuid: &Uuid) -> String {
    format!("seedbed://{host}/{domain_uuid}")
}

/// Whether a node with that `spec.providerID` is one of a machine on that host.
pub fn is_of_host(provider_id: &str, host: &str) -> bool {
    let rest = provider_id.strip_prefix("seedbed://");
    let of = rest.and_then(|rest| rest.split_once('/'));
    of.is_some_and(|(found, uuid)| found == host && uuid.parse::<Uuid>().is_ok())
}

/// How the name of a machine's root volume ends.
const ROOT: &str = ".root.qcow2";
/// How the name of the volume with what cloud-init reads ends.
const CIDATA: &str = ".cidata.img";

/// Name of a machine's root volume. It holds the machine's UID, so that a volume of that name is provably this machine's.
pub fn root_volume(namespace: &str, machine: &str, machine_uid: &str) -> String {
    format!("{namespace}.{machine}.{machine_uid}{ROOT}")
}

/// Name of the volume with what cloud-init reads.
pub fn cidata_volume(namespace: &str, machine: &str, machine_uid: &str) -> String {
    format!("{namespace}.{machine}.{machine_uid}{CIDATA}")
}

/// The domain and the machine's UID that a machine's volume was made for; none of any other volume.
pub fn machine_of_volume(volume: &str) -> Option<(&str, &str)> {
    let machine = volume
        .strip_suffix(ROOT)
        .or_else(|| volume.strip_suffix(CIDATA))?;
    let (domain, uid) = machine.rsplit_once('.')?;
    Uuid::try_parse(uid).ok()?;
    Some((domain, uid))
}

/// Name of a release's file on a host: by its digest, so that releases share what is the same.
pub fn artefact_volume(sha256: &str, extension: &str) -> String {
    format!("seedbed-base-{sha256}.{extension}")
}

/// Name of a job in a guest: a step of a machine is done once for each attempt, whoever starts it.
pub fn job_token(cluster_uid: &str, machine_uid: &str, step: &str, attempt: i32) -> String {
    digest(&[cluster_uid, machine_uid, step, &attempt.to_string()])[..20].to_owned()
}

/// Name of the Job of a check: there is one for each upgrade.
pub fn check_job(upgrade_uid: &str, check: &str) -> String {
    format!("seedbed-{check}-{}", &digest(&[upgrade_uid, check])[..8])
}

/// What a role is called in labels.
pub fn role_label(role: MachineRole) -> &'static str {
    match role {
        MachineRole::ControlPlane => "control-plane",
        MachineRole::Worker => "worker",
    }
}

/// SHA-256 of the parts, in lower-case hex; where one part ends is part of it.
pub(crate) fn digest(parts: &[&str]) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize()
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_volume_tells_whose_it_is_and_no_other_does() {
        let uid = "0f9c0a5e-0000-4000-8000-000000000001";
        for volume in [
            root_volume("default", "demo-w-0", uid),
            cidata_volume("default", "demo-w-0", uid),
        ] {
            assert_eq!(machine_of_volume(&volume), Some(("default.demo-w-0", uid)));
        }
        for other in [
            "seedbed-base-0f9c.qcow2",
            "default.demo-w-0.root.qcow2",
            "somebody-elses.img",
        ] {
            assert_eq!(machine_of_volume(other), None, "{other}");
        }
    }

    #[test]
    fn a_node_tells_by_its_provider_id_whose_it_is() {
        let ours = provider_id("local", &domain_uuid("uid"));
        assert!(is_of_host(&ours, "local"));
        for other in [
            "",
            "local",
            "seedbed://local",
            "seedbed://local/uid",
            "kind://docker/kind/local",
        ] {
            assert!(!is_of_host(other, "local"), "{other}");
        }
        assert!(!is_of_host(&ours, "loc") && !is_of_host(&ours, "other"));
    }

    #[test]
    fn a_machine_made_anew_under_its_old_name_has_another_identity() {
        assert_ne!(domain_uuid("uid-1"), domain_uuid("uid-2"));
        assert_ne!(
            job_token("c", "uid-1", "init", 1),
            job_token("c", "uid-2", "init", 1)
        );
        assert_ne!(job_token("c", "m", "init", 1), job_token("c", "m", "init", 2));
    }

    #[test]
    fn an_address_keeps_its_card() {
        assert_eq!(mac("cluster", 10), mac("cluster", 10));
        assert_ne!(mac("cluster", 10), mac("cluster", 11));
        assert_ne!(mac("cluster", 10), mac("other", 10));
    }

    #[test]
    fn a_bridge_name_fits_the_kernel() {
        assert!(bridge("3fa85f64-5717-4562-b3fc-2c963f66afa6").len() <= 15);
    }

    #[test]
    fn where_a_part_ends_matters() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }

    #[test]
    fn the_index_is_read_back_from_a_name() {
        assert_eq!(index_of(&worker("w", 7), "w"), Some(7));
        assert_eq!(index_of("w-x-1", "w"), None);
        assert_eq!(index_of("other-1", "w"), None);
    }
}
