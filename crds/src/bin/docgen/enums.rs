//! What the values of enumerations mean. The definitions have the values only: a structural schema has no place for more.

use std::collections::BTreeMap;

use schemars::{JsonSchema, schema_for};
use seedbed_crds::{
    BootstrapPhase, CniType, DeletionPolicy, DomainType, KubeadmPatchTarget, KubeadmPatchType,
    MachineAddressType, MachineRole, OrphanPolicy, PowerState, PreflightCheck, PreflightSeverity,
    TaintEffect, TimingProfile, UpgradePhase, UpgradeStepState, UpgradeTargetKind,
};
use serde_json::Value;

/// Enumerations by their values, each with the meanings of its values.
pub struct Enums(BTreeMap<Vec<String>, Vec<String>>);

impl Enums {
    /// All enumerations of the API.
    pub fn all() -> Self {
        Self(BTreeMap::from([
            read::<BootstrapPhase>(),
            read::<CniType>(),
            read::<DeletionPolicy>(),
            read::<DomainType>(),
            read::<KubeadmPatchTarget>(),
            read::<KubeadmPatchType>(),
            read::<MachineAddressType>(),
            read::<MachineRole>(),
            read::<OrphanPolicy>(),
            read::<PowerState>(),
            read::<PreflightCheck>(),
            read::<PreflightSeverity>(),
            read::<TaintEffect>(),
            read::<TimingProfile>(),
            read::<UpgradePhase>(),
            read::<UpgradeStepState>(),
            read::<UpgradeTargetKind>(),
        ]))
    }

    /// The meanings of these values, in their order; none where no enumeration has exactly these values.
    pub fn meanings(&self, values: &[String]) -> Option<&[String]> {
        self.0.get(values).map(Vec::as_slice)
    }
}

fn read<T: JsonSchema>() -> (Vec<String>, Vec<String>) {
    let schema = schema_for!(T).to_value();
    let text = |variant: &Value, key: &str| variant[key].as_str().unwrap_or_default().to_owned();
    schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|variant| (text(variant, "const"), text(variant, "description")))
        .unzip()
}
