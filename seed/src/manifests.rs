//! The objects that an instance puts into its seed.

use serde_json::json;

use crate::{
    credentials::{OPERATOR_GROUP, OPERATOR_USER},
    instance::{Instance, Settings},
    kubectl::Manifest,
    libvirt::URI,
};

/// Where the operator keeps what is its own: its Lease.
pub const SYSTEM_NAMESPACE: &str = "seedbed-system";
/// The name of the `HypervisorHost` that is this machine.
pub const LOCAL_HOST: &str = "local";

/// The operator's namespace.
pub(crate) fn system_namespace() -> Manifest {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}});
    Manifest::Text(namespace.to_string())
}

/// Gives the operator its `ClusterRole`, and nothing else.
pub(crate) fn operator_binding() -> Manifest {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": OPERATOR_USER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "seedbed-operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": OPERATOR_GROUP}],
    });
    Manifest::Text(binding.to_string())
}

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
