//! Patches that kubeadm applies to the pods that it makes: the control plane's static pods, and CoreDNS.
//!
//! kubeadm takes a patch's target from the file's name:
//! <https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/control-plane-flags/#patches>. `corednsdeployment` is one
//! of them since kubeadm 1.32.

use serde_json::{Map, Value, json};

use super::KUBEADM_PATCHES;
use crate::{
    document::{self, RenderError},
    file::GuestFile,
    timing::{Place, TimingProfile},
};

/// The probes that kubeadm gives every component.
const PROBES: &[&str] = &["livenessProbe", "readinessProbe", "startupProbe"];

/// The components that kubeadm runs as static pods, with the probes that it gives them. A period for a probe that a component has
/// not got would make a probe without a handler, and the kubelet refuses such a pod.
const COMPONENTS: [(&str, &[&str]); 4] = [
    ("etcd", PROBES),
    ("kube-apiserver", PROBES),
    ("kube-controller-manager", &["livenessProbe", "startupProbe"]),
    ("kube-scheduler", PROBES),
];

pub(super) fn has_patches(timing: TimingProfile) -> bool {
    [Place::StaticPodProbe, Place::CoreDnsProbe]
        .into_iter()
        .any(|place| timing.settings(place).next().is_some())
}

/// One strategic merge patch for each pod, none with a profile that changes no probe.
pub(super) fn patches(timing: TimingProfile) -> Result<Vec<GuestFile>, RenderError> {
    if !has_patches(timing) {
        return Ok(Vec::new());
    }
    let of_static_pods = probes(timing, Place::StaticPodProbe);
    let mut files = COMPONENTS
        .iter()
        .map(|(component, has)| {
            let mut probes = of_static_pods.clone();
            probes.retain(|probe, _| has.contains(&probe.as_str()));
            file(component, &pod_spec(component, probes))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let dns = pod_spec("coredns", probes(timing, Place::CoreDnsProbe));
    files.push(file("corednsdeployment", &json!({"spec": {"template": dns}}))?);
    Ok(files)
}

/// What the profile says of probes, by the probe.
fn probes(timing: TimingProfile, place: Place) -> Map<String, Value> {
    let mut probes = Map::new();
    for (name, value) in timing.settings(place) {
        if let (Some((probe, field)), Ok(value)) = (name.split_once('.'), value.parse::<u32>()) {
            let fields = probes.entry(probe).or_insert_with(|| json!({}));
            fields[field] = value.into();
        }
    }
    probes
}

fn pod_spec(container: &str, mut probes: Map<String, Value>) -> Value {
    probes.insert("name".into(), container.into());
    json!({"spec": {"containers": [probes]}})
}

fn file(target: &str, patch: &Value) -> Result<GuestFile, RenderError> {
    let content = document::value_to_yaml("patch of a pod", patch)?;
    Ok(GuestFile::public(
        format!("{KUBEADM_PATCHES}/{target}0+strategic.yaml"),
        content,
    ))
}
