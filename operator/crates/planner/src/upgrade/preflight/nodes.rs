//! Whether the nodes, and what runs the control plane, are well.

use seedbed_crds::PreflightCheck;

use super::{Findings, Seen};

/// What runs on every control plane.
const COMPONENTS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

pub(super) fn ready(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::NodesReady;
    let object = format!("DevCluster {}", seen.cluster);
    let Some(nodes) = findings.known(check, object, "its nodes", &seen.nodes) else {
        return;
    };
    for machine in &seen.machines {
        if !nodes.iter().any(|node| node.name == *machine) {
            let message = "it has no node in the cluster: wait until it has joined, or delete the DevMachine";
            findings.error(check, format!("DevMachine {machine}"), message);
        }
    }
    for node in nodes {
        if let Err(why) = &node.ready {
            let message =
                format!("it is not Ready: {why}: an upgrade needs every node; mend it, or remove it");
            findings.error(check, format!("Node {}", node.name), message);
        }
    }
}

pub(super) fn pressure(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::NodePressure;
    let object = format!("DevCluster {}", seen.cluster);
    let Some(nodes) = findings.known(check, object, "its nodes", &seen.nodes) else {
        return;
    };
    for node in nodes {
        for (condition, words) in &node.pressures {
            let message = format!(
                "its condition {condition} is True ({words}): the kubelet evicts pods and takes no new ones; free what it is short of, or give it a larger machine"
            );
            findings.error(check, format!("Node {}", node.name), message);
        }
    }
}

pub(super) fn control_plane_pods(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::ControlPlanePods;
    let object = format!("DevCluster {}", seen.cluster);
    let what = "the pods of its control plane";
    let Some(pods) = findings.known(check, object, what, &seen.survey.pods) else {
        return;
    };
    for machine in &seen.control_planes {
        for component in COMPONENTS {
            let name = format!("{component}-{machine}");
            let message = match pods.iter().find(|pod| pod.name == name) {
                Some(pod) if pod.ready => continue,
                Some(_) => format!(
                    "it is not Ready: its log (kubectl logs -n kube-system {name}) says why; mend it before the upgrade"
                ),
                None => format!(
                    "there is no such pod, expected one of {component} on control plane {machine}: see /etc/kubernetes/manifests and the kubelet's log there"
                ),
            };
            findings.error(check, format!("Pod kube-system/{name}"), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use seedbed_crds::PreflightSeverity;

    use super::super::check;
    use super::super::seen::tests::{has, only, well};
    use crate::Observed;

    #[test]
    fn a_node_that_is_not_ready_is_an_error_with_the_kubelets_words() {
        let mut seen = well();
        if let Observed::Known(nodes) = &mut seen.nodes {
            nodes[1].ready = Err("Kubelet stopped posting node status.".into());
        }
        let (severity, object, message) = only(&seen);
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "Node demo-w-0")
        );
        has(&message, &["not Ready", "Kubelet stopped posting node status."]);
    }

    #[test]
    fn a_machine_without_a_node_is_an_error() {
        let mut seen = well();
        seen.machines.push("demo-w-1".into());
        let (severity, object, message) = only(&seen);
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "DevMachine demo-w-1")
        );
        has(&message, &["no node"]);
    }

    #[test]
    fn a_node_that_is_short_of_something_is_an_error() {
        let mut seen = well();
        if let Observed::Known(nodes) = &mut seen.nodes {
            nodes[0].pressures = vec![
                ("DiskPressure".into(), "kubelet has disk pressure".into()),
                (
                    "MemoryPressure".into(),
                    "kubelet has insufficient memory available".into(),
                ),
            ];
        }
        let (severity, object, message) = only(&seen);
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "Node demo-cp-0")
        );
        has(
            &message,
            &["DiskPressure", "kubelet has disk pressure", "MemoryPressure"],
        );
    }

    #[test]
    fn each_part_of_each_control_plane_has_to_be_ready() {
        let mut seen = well();
        if let Observed::Known(pods) = &mut seen.survey.pods {
            pods[0].ready = false;
            pods.remove(3);
        }
        let found = check(&seen, &[]);
        let told: Vec<_> = found.iter().map(|f| (f.object.as_str(), f.severity)).collect();
        assert_eq!(
            told,
            [
                ("Pod kube-system/etcd-demo-cp-0", PreflightSeverity::Error),
                (
                    "Pod kube-system/kube-scheduler-demo-cp-0",
                    PreflightSeverity::Error
                )
            ]
        );
        has(
            &found[0].message,
            &["not Ready", "kubectl logs -n kube-system etcd-demo-cp-0"],
        );
        has(&found[1].message, &["no such pod", "/etc/kubernetes/manifests"]);
    }
}
