//! Pods of the control plane.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use seedbed_planner::upgrade::preflight::ControlPlanePod;

/// What kubeadm labels them with.
const SELECTOR: &str = "tier=control-plane";

pub(super) async fn all(client: &Client) -> Result<Vec<ControlPlanePod>, kube::Error> {
    let api = Api::<Pod>::namespaced(client.clone(), "kube-system");
    let mut pods = Vec::new();
    let selected = ListParams::default().labels(SELECTOR);
    super::each(&api, selected, |pod: Pod| {
        pods.push(ControlPlanePod {
            name: pod.name_any(),
            ready: is_ready(&pod),
            restarts: restarts(&pod),
        });
    })
    .await?;
    Ok(pods)
}

fn restarts(pod: &Pod) -> i64 {
    pod.status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .map(|container| i64::from(container.restart_count))
        .sum()
}

fn is_ready(pod: &Pod) -> bool {
    pod.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
