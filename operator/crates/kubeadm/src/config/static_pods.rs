//! Patches that kubeadm applies to the control plane's static pods.

use serde_json::{Map, Value, json};

use super::KUBEADM_PATCHES;
use crate::{
    document::{self, RenderError},
    file::GuestFile,
    timing::{Place, TimingProfile},
};

/// The components that kubeadm runs as static pods. kubeadm takes a patch's target from the file's name.
const COMPONENTS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
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
        .map(|component| {
            let mut container = probes.clone();
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
