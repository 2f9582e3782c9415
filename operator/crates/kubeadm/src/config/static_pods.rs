//! Patches that kubeadm applies to the control plane's static pods.

use serde_json::{Map, Value, json};

use super::KUBEADM_PATCHES;
use crate::{
    document::{self, RenderError},
    file::GuestFile,
    timing::{Place, TimingProfile},
};

/// The probes that kubeadm gives every component.
const PROBES: &[&str] = &["livenessProbe", "readinessProbe", "startupProbe"];

/// The components that kubeadm runs as static pods, with the probes that it gives them. kubeadm takes a patch's target from the
/// file's name. A period for a probe that a component has not got would make a probe without a handler, and the kubelet refuses
/// such a pod.
const COMPONENTS: [(&str, &[&str]); 4] = [
    ("etcd", PROBES),
    ("kube-apiserver", PROBES),
    ("kube-controller-manager", &["livenessProbe", "startupProbe"]),
    ("kube-scheduler", PROBES),
];

pub(super) fn has_patches(timing: TimingProfile) -> bool {
    timing.settings(Place::StaticPodProbe).next().is_some()
}

/// One strategic merge patch per component, none with a profile that changes no probe.
pub(super) fn patches(timing: TimingProfile) -> Result<Vec<GuestFile>, RenderError> {
    if !has_patches(timing) {
        return Ok(Vec::new());
    }
    let mut probes = Map::new();
    for (name, value) in timing.settings(Place::StaticPodProbe) {
        if let (Some((probe, field)), Ok(value)) = (name.split_once('.'), value.parse::<u32>()) {
            let fields = probes.entry(probe).or_insert_with(|| json!({}));
            fields[field] = value.into();
        }
    }
    COMPONENTS
        .iter()
        .map(|(component, has)| {
            let mut container = probes.clone();
            container.retain(|probe, _| has.contains(&probe.as_str()));
            container.insert("name".into(), Value::from(*component));
            let patch = json!({"spec": {"containers": [container]}});
            let content = document::value_to_yaml("static pod patch", &patch)?;
            Ok(GuestFile::public(
                format!("{KUBEADM_PATCHES}/{component}0+strategic.yaml"),
                content,
            ))
        })
        .collect()
}
