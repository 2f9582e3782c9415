//! The API of Seedbed: group `seedbed.dev`, version `v1alpha1`.
//!
//! Types only: no client, no runtime. What the schema can check (patterns, ranges, CEL rules) is checked by the API server;
//! what needs other objects is found by the operator and told in a condition, whose reasons are listed in [`reasons`].

mod clusterupgrade;
mod common;
mod devcluster;
mod devmachine;
pub mod duration;
mod hypervisorhost;
mod kubernetesrelease;
mod nodepool;
pub mod quantity;
pub mod reasons;
mod soak;

pub use clusterupgrade::{
    APPROVE_ANNOTATION, Approval, ClusterUpgrade, ClusterUpgradeSpec, ClusterUpgradeStatus,
    OnFailureAfterCommit, PreflightCheck, PreflightFinding, PreflightSeverity, UndoCause, UpgradePhase,
    UpgradeStep, UpgradeStepState, UpgradeTarget, UpgradeTargetKind, UpgradeUndo, default_soak,
};
pub use common::{
    GROUP, KubeadmPatch, KubeadmPatchTarget, KubeadmPatchType, LocalReference, MachineResources, NodeFile,
    NodeTaint, SecretKeyReference, TaintEffect, TimingProfile, VERSION,
};
pub use devcluster::{
    ApiServer, Cni, CniType, Containerd, ControlPlane, DeletionPolicy, DevCluster, DevClusterSpec,
    DevClusterStatus, KubeadmSettings, Network, NetworkStatus, RegistryMirror, Ssh, TrustedCa,
};
pub use devmachine::{
    BootstrapPhase, BootstrapStatus, DevMachine, DevMachineSpec, DevMachineStatus, MachineAddress,
    MachineAddressType, MachineRole, NodeFacts, PowerState,
};
pub use hypervisorhost::{
    DomainType, HostOrphan, HostResources, HypervisorHost, HypervisorHostSpec, HypervisorHostStatus,
    LibvirtHost, OrphanPolicy, SimulatedDurations, SimulatedHost,
};
pub use kubernetesrelease::{
    Artefact, ContainerImage, GuestImage, KubernetesRelease, KubernetesReleaseSpec, KubernetesReleaseStatus,
    ReleaseComponents, ReleaseOnHost,
};
pub use nodepool::{IntOrPercent, NodePool, NodePoolSpec, NodePoolStatus, RolloutStrategy, UpgradeStrategy};
pub use soak::{
    CheckJob, CheckedService, HttpGetCheck, HttpScheme, JobCheck, JobTemplate, JobTemplateMetadata,
    PodRestarts, RequestCounts, UpgradeCheck, UpgradeWatch,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResourceExt;

/// All custom resource definitions, as they are installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    [
        DevCluster::crd(),
        NodePool::crd(),
        ClusterUpgrade::crd(),
        DevMachine::crd(),
        HypervisorHost::crd(),
        KubernetesRelease::crd(),
    ]
    .into_iter()
    .map(finish)
    .collect()
}

/// Lists of a status whose items have names of their own, and the fields that these are made of.
const NAMED: [(&str, &[&str]); 3] = [
    ("conditions", &["type"]),
    ("steps", &["id"]),
    ("findings", &["check", "object"]),
];

/// Adds what the derive macro cannot say: list-map keys (so that server-side apply merges such lists by them), and no `format`
/// that the API server does not know and would warn about at each apply.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        visit(schema, &mut |props| {
            if matches!(props.format.as_deref(), Some(f) if f.starts_with("uint")) {
                props.format = None;
            }
        });
        for (name, keys) in NAMED {
            if let Some(status) = schema.properties.as_mut().and_then(|p| p.get_mut("status"))
                && let Some(list) = status.properties.as_mut().and_then(|p| p.get_mut(name))
            {
                list.x_kubernetes_list_type = Some("map".to_owned());
                list.x_kubernetes_list_map_keys = Some(keys.iter().map(|&key| key.to_owned()).collect());
            }
        }
        let spec = schema.properties.as_mut().and_then(|p| p.get_mut("spec"));
        let mut fields = spec.and_then(|spec| spec.properties.as_mut());
        if let Some(skipped) = fields.as_mut().and_then(|p| p.get_mut("skipPreflight")) {
            skipped.x_kubernetes_list_type = Some("set".to_owned());
        }
        if let Some(checks) = fields.as_mut().and_then(|p| p.get_mut("checks")) {
            checks.x_kubernetes_list_type = Some("map".to_owned());
            checks.x_kubernetes_list_map_keys = Some(vec!["name".to_owned()]);
        }
    }
    crd
}

type Props = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

fn visit(props: &mut Props, f: &mut impl FnMut(&mut Props)) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    };
    f(props);
    for child in props
        .properties
        .iter_mut()
        .flat_map(std::collections::BTreeMap::values_mut)
    {
        visit(child, f);
    }
    match &mut props.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => visit(item, f),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(|i| visit(i, f)),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(item)) = &mut props.additional_properties {
        visit(item, f);
    }
}
