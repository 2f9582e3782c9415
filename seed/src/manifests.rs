//! The objects that an instance puts into its seed.

use serde_json::json;

use crate::{
    instance::{Instance, Settings},
    kubectl::Manifest,
    libvirt::URI,
};

/// Where the operator keeps what is its own: its Lease.
pub const SYSTEM_NAMESPACE: &str = "seedbed-system";
/// The name of the `HypervisorHost` that is this machine.
pub const LOCAL_HOST: &str = "local";

/// This machine as a host.
pub(crate) fn local_host(instance: &Instance, settings: &Settings, domain_type: &str) -> Manifest {
    let host = json!({
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "HypervisorHost",
        "metadata": {"name": LOCAL_HOST},
        "spec": {
            "libvirt": {"uri": URI, "domainType": domain_type, "storagePool": settings.storage_pool(instance)},
            "nodeAddressRange": settings.node_address_range(),
        },
    });
    Manifest::Text(host.to_string())
}

/// A simulated host in the place of this machine.
pub(crate) fn simulated_host(instance: &Instance, settings: &Settings) -> Manifest {
    let host = json!({
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "HypervisorHost",
        "metadata": {"name": LOCAL_HOST},
        "spec": {
            "simulated": {"socket": instance.simulator_socket()},
            "nodeAddressRange": settings.node_address_range(),
        },
    });
    Manifest::Text(host.to_string())
}
