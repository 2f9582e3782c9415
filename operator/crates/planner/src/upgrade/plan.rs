//! The steps of an upgrade.
//!
//! Up to [`UpgradePhase::Commit`] everything can be put back: an API server of the next minor version emulates the old one, so that it
//! stores nothing that the old one could not read. Kubelets and kube-proxy wait for Commit, because their skew counts from the
//! version that the API server behaves like.

use std::fmt::Write as _;

use seedbed_crds::{UpgradePhase, UpgradeStep, UpgradeStepState, UpgradeTarget, UpgradeTargetKind};

use super::version::{Hop, Version};

/// What is upgraded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machines {
    /// Name of the cluster.
    pub cluster: String,
    /// Names of the control planes' machines, in the order in which they are upgraded.
    pub control_planes: Vec<String>,
    /// Names of the pools, in the order in which they are upgraded.
    pub pools: Vec<String>,
    /// Names of those pools whose kubelets stay as they are.
    pub held: Vec<String>,
    /// Names of those pools whose machines are replaced once the upgrade is done.
    pub replaced: Vec<String>,
    /// Versions of etcd in the two releases; none where one of them is not known.
    pub etcd: Option<(String, String)>,
}

/// The steps of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps in their order.
    pub steps: Vec<UpgradeStep>,
    /// Id of the step after which there is no way back.
    pub point_of_no_return: String,
}

/// The plan of an upgrade from the one version to the other.
pub fn plan(hop: Hop, from: Version, to: Version, machines: &Machines) -> Plan {
    let draft = Draft {
        hop,
        from: from.to_string(),
        to: to.to_string(),
        machines,
    };
    let commit = draft.commit();
    let point_of_no_return = commit.id.clone();
    let mut steps = vec![draft.preflight()];
    let each = |of: &dyn Fn(&str) -> UpgradeStep, names: &[String]| -> Vec<UpgradeStep> {
        names.iter().map(|name| of(name)).collect()
    };
    let (control_planes, pools) = (&machines.control_planes, &machines.pools);
    steps.extend(each(&snapshot, control_planes));
    steps.extend(each(&|name| draft.preload(machine(name)), control_planes));
    steps.extend(each(&|name| draft.preload(pool(name)), pools));
    steps.extend(each(&|name| draft.control_plane(name), control_planes));
    steps.push(draft.soak());
    steps.push(commit);
    if machines.etcd.as_ref().is_none_or(|(old, new)| old != new) {
        steps.extend(each(&|name| draft.etcd(name), control_planes));
    }
    steps.extend(each(&|name| draft.kubelet(name), control_planes));
    let follow: Vec<_> = pools
        .iter()
        .filter(|pool| !machines.held.contains(pool) && !machines.replaced.contains(pool))
        .cloned()
        .collect();
    steps.extend(each(&|name| draft.workers(name), &follow));
    steps.push(draft.addons());
    steps.push(draft.verify());
    Plan {
        steps,
        point_of_no_return,
    }
}

fn machine(name: &str) -> UpgradeTarget {
    target(UpgradeTargetKind::DevMachine, name)
}

fn pool(name: &str) -> UpgradeTarget {
    target(UpgradeTargetKind::NodePool, name)
}

fn target(kind: UpgradeTargetKind, name: &str) -> UpgradeTarget {
    UpgradeTarget {
        kind,
        name: name.to_owned(),
    }
}

/// A step's id: its phase alone where it concerns the whole cluster.
fn id(phase: UpgradePhase, target: &UpgradeTarget) -> String {
    match target.kind {
        UpgradeTargetKind::DevCluster => format!("{phase:?}"),
        kind => format!("{phase:?}/{kind:?}/{}", target.name),
    }
}

/// What every step is written from.
struct Draft<'a> {
    hop: Hop,
    from: String,
    to: String,
    machines: &'a Machines,
}

impl Draft<'_> {
    fn cluster(&self) -> UpgradeTarget {
        target(UpgradeTargetKind::DevCluster, &self.machines.cluster)
    }

    /// A step that changes Kubernetes' version.
    fn change(&self, phase: UpgradePhase, target: UpgradeTarget, message: String) -> UpgradeStep {
        UpgradeStep {
            from: Some(self.from.clone()),
            to: Some(self.to.clone()),
            ..step(phase, target, message)
        }
    }

    fn preflight(&self) -> UpgradeStep {
        let message = "look at the cluster once more: nothing goes on with an error among the findings";
        undone_by(
            step(UpgradePhase::Preflight, self.cluster(), message.to_owned()),
            "nothing was changed",
        )
    }

    fn preload(&self, target: UpgradeTarget) -> UpgradeStep {
        let on = match target.kind {
            UpgradeTargetKind::NodePool => format!("on every machine of pool {}", target.name),
            _ => format!("on {}", target.name),
        };
        let message = format!("put what is missing of {} {on}, at idle priority", self.to);
        undone_by(
            self.change(UpgradePhase::Preload, target, message),
            "remove what was put there",
        )
    }

    fn control_plane(&self, name: &str) -> UpgradeStep {
        let (from, to) = (&self.from, &self.to);
        let message = match self.hop {
            Hop::Minor => format!(
                "replace kube-apiserver, kube-controller-manager and kube-scheduler of {name} by those of {to}, which emulate {from}"
            ),
            Hop::Patch => format!(
                "replace kube-apiserver, kube-controller-manager and kube-scheduler of {name} by those of {to}"
            ),
        };
        let back = format!("put the manifests and the kubeadm configuration of {from} back");
        undone_by(
            self.change(UpgradePhase::ControlPlane, machine(name), message),
            &back,
        )
    }

    fn soak(&self) -> UpgradeStep {
        let message = match self.hop {
            Hop::Minor => format!(
                "watch the control plane of {}, which still behaves like {}",
                self.to, self.from
            ),
            Hop::Patch => format!("watch the control plane of {}", self.to),
        };
        undone_by(
            step(UpgradePhase::Soak, self.cluster(), message),
            "nothing was changed",
        )
    }

    fn commit(&self) -> UpgradeStep {
        let message = match self.hop {
            Hop::Minor => format!(
                "end the emulation of {}: from here on objects are stored that it cannot read, and there is no way back",
                self.from
            ),
            Hop::Patch => format!(
                "go on to the nodes: nothing is emulated between patches of a minor version, and from here on nothing is put back to {}",
                self.from
            ),
        };
        self.change(UpgradePhase::Commit, self.cluster(), message)
    }

    fn etcd(&self, name: &str) -> UpgradeStep {
        let (old, new) = self.machines.etcd.clone().unzip();
        let message = match &new {
            Some(new) => format!("replace etcd of {name} by {new}"),
            None => format!(
                "replace etcd of {name}, where the release of {} has another one",
                self.to
            ),
        };
        UpgradeStep {
            from: old,
            to: new,
            ..step(UpgradePhase::Etcd, machine(name), message)
        }
    }

    fn kubelet(&self, name: &str) -> UpgradeStep {
        let message = if self.machines.control_planes.len() > 1 {
            format!("drain {name}, replace its kubelet, take it back into service")
        } else {
            format!("replace the kubelet of {name}, the only control plane, which is not drained")
        };
        self.change(UpgradePhase::Nodes, machine(name), message)
    }

    fn workers(&self, name: &str) -> UpgradeStep {
        let message = format!(
            "of every machine of pool {name}, as its maxUnavailable allows: drain it, replace its kubelet, take it back into service"
        );
        self.change(UpgradePhase::Nodes, pool(name), message)
    }

    fn addons(&self) -> UpgradeStep {
        let message = format!("replace kube-proxy and CoreDNS by those of {}", self.to);
        self.change(UpgradePhase::Addons, self.cluster(), message)
    }

    fn verify(&self) -> UpgradeStep {
        let mut message = format!(
            "look whether every node and every part of the control plane is Ready and runs {}",
            self.to
        );
        if !self.machines.held.is_empty() {
            let _ = write!(
                message,
                "; kubelets of pools that are held back ({}) keep their version",
                self.machines.held.join(", ")
            );
        }
        if !self.machines.replaced.is_empty() {
            let _ = write!(
                message,
                "; machines of pools with upgradeStrategy Replace ({}) are replaced afterwards",
                self.machines.replaced.join(", ")
            );
        }
        step(UpgradePhase::Verify, self.cluster(), message)
    }
}

fn snapshot(name: &str) -> UpgradeStep {
    let message = format!(
        "keep what {name} is restored from: a verified snapshot of etcd, /etc/kubernetes and kubeadm's configuration; and its disk, where the host can"
    );
    undone_by(
        step(UpgradePhase::Snapshot, machine(name), message),
        "put what was written since into the disk, and remove the snapshot",
    )
}

/// A step that changes no version.
fn step(phase: UpgradePhase, target: UpgradeTarget, message: String) -> UpgradeStep {
    UpgradeStep {
        id: id(phase, &target),
        phase,
        target,
        from: None,
        to: None,
        message,
        compensation: None,
        state: UpgradeStepState::Planned,
        attempt: 0,
        tried: 0,
        token: None,
        started_at: None,
        finished_at: None,
        failure: None,
        unwell_since: None,
        watch: None,
    }
}

fn undone_by(step: UpgradeStep, how: &str) -> UpgradeStep {
    UpgradeStep {
        compensation: Some(how.to_owned()),
        ..step
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn versions(hop: Hop) -> (Version, Version) {
        let v = |text| Version::parse(text).unwrap();
        match hop {
            Hop::Minor => (v("v1.35.4"), v("v1.36.3")),
            Hop::Patch => (v("v1.35.4"), v("v1.35.5")),
        }
    }

    fn machines(control_planes: usize, pools: usize) -> Machines {
        Machines {
            cluster: "demo".into(),
            control_planes: (0..control_planes).map(|n| format!("demo-cp-{n}")).collect(),
            pools: (0..pools).map(|n| format!("demo-w{n}")).collect(),
            held: Vec::new(),
            replaced: Vec::new(),
            etcd: Some(("v3.6.6".into(), "v3.6.8".into())),
        }
    }

    fn of(hop: Hop, machines: &Machines) -> Plan {
        let (from, to) = versions(hop);
        plan(hop, from, to, machines)
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|step| step.id.as_str()).collect()
    }

    #[test]
    fn the_plan_of_a_cluster_with_one_control_plane_and_one_pool() {
        let plan = of(Hop::Minor, &machines(1, 1));
        assert_eq!(
            ids(&plan),
            [
                "Preflight",
                "Snapshot/DevMachine/demo-cp-0",
                "Preload/DevMachine/demo-cp-0",
                "Preload/NodePool/demo-w0",
                "ControlPlane/DevMachine/demo-cp-0",
                "Soak",
                "Commit",
                "Etcd/DevMachine/demo-cp-0",
                "Nodes/DevMachine/demo-cp-0",
                "Nodes/NodePool/demo-w0",
                "Addons",
                "Verify",
            ]
        );
        assert_eq!(plan.point_of_no_return, "Commit");
        let control_plane = &plan.steps[4];
        assert!(
            control_plane.message.contains("which emulate v1.35.4"),
            "{control_plane:?}"
        );
        let etcd = &plan.steps[7];
        assert_eq!(
            (etcd.from.as_deref(), etcd.to.as_deref()),
            (Some("v3.6.6"), Some("v3.6.8"))
        );
        assert!(plan.steps[8].message.contains("not drained"));
    }

    #[test]
    fn a_patch_emulates_nothing_and_still_has_a_point_of_no_return() {
        let plan = of(Hop::Patch, &machines(1, 0));
        assert_eq!(plan.point_of_no_return, "Commit");
        assert!(
            plan.steps.iter().all(|step| !step.message.contains("emulate v")),
            "{plan:?}"
        );
    }

    #[test]
    fn etcd_stays_where_both_releases_have_the_same() {
        let same = Machines {
            etcd: Some(("v3.6.6".into(), "v3.6.6".into())),
            ..machines(1, 1)
        };
        let has_etcd = |plan: &Plan| plan.steps.iter().any(|step| step.phase == UpgradePhase::Etcd);
        assert!(!has_etcd(&of(Hop::Minor, &same)));
        let unknown = Machines {
            etcd: None,
            ..machines(1, 1)
        };
        assert!(has_etcd(&of(Hop::Minor, &unknown)));
    }

    #[test]
    fn a_pool_that_is_held_back_gets_its_images_and_keeps_its_kubelets() {
        let held = Machines {
            held: vec!["demo-w1".into()],
            ..machines(1, 3)
        };
        let plan = of(Hop::Minor, &held);
        let told = ids(&plan);
        for there in [
            "Preload/NodePool/demo-w1",
            "Nodes/NodePool/demo-w0",
            "Nodes/NodePool/demo-w2",
        ] {
            assert!(told.contains(&there), "{told:?}");
        }
        assert!(!told.contains(&"Nodes/NodePool/demo-w1"), "{told:?}");
        let verify = plan
            .steps
            .last()
            .map(|step| step.message.as_str())
            .unwrap_or_default();
        assert!(
            verify.contains("held back (demo-w1) keep their version"),
            "{verify}"
        );
    }

    #[test]
    fn a_pool_whose_machines_are_replaced_has_no_step_that_replaces_kubelets() {
        let replaced = Machines {
            replaced: vec!["demo-w0".into()],
            ..machines(1, 2)
        };
        let plan = of(Hop::Minor, &replaced);
        let told = ids(&plan);
        assert!(!told.contains(&"Nodes/NodePool/demo-w0"), "{told:?}");
        assert!(told.contains(&"Nodes/NodePool/demo-w1"), "{told:?}");
        let verify = plan.steps.last().unwrap();
        assert!(
            verify.message.contains("(demo-w0) are replaced afterwards"),
            "{verify:?}"
        );
    }

    #[test]
    fn several_control_planes_are_drained() {
        let plan = of(Hop::Minor, &machines(3, 0));
        let kubelets: Vec<_> = plan
            .steps
            .iter()
            .filter(|step| step.phase == UpgradePhase::Nodes)
            .collect();
        assert_eq!(kubelets.len(), 3);
        assert!(kubelets.iter().all(|step| step.message.starts_with("drain")));
    }

    proptest! {
        #[test]
        fn every_plan_can_be_undone_up_to_commit_and_changes_kubelets_after_it(
            minor in any::<bool>(),
            control_planes in 1usize..6,
            pools in 0usize..5,
            etcd in any::<bool>(),
        ) {
            let mut machines = machines(control_planes, pools);
            if !etcd {
                machines.etcd = None;
            }
            let plan = of(if minor { Hop::Minor } else { Hop::Patch }, &machines);
            let unique: BTreeSet<_> = ids(&plan).into_iter().collect();
            prop_assert_eq!(unique.len(), plan.steps.len());
            let phases: Vec<_> = plan.steps.iter().map(|step| step.phase).collect();
            prop_assert!(phases.is_sorted());
            let commit = ids(&plan).iter().position(|id| *id == plan.point_of_no_return).unwrap();
            prop_assert_eq!(plan.steps[commit].phase, UpgradePhase::Commit);
            for (index, step) in plan.steps.iter().enumerate() {
                prop_assert_eq!(step.compensation.is_some(), index < commit, "{:?}", step);
                prop_assert!(!step.message.is_empty());
            }
            let targets = |phase| plan.steps.iter().filter(|step| step.phase == phase).count();
            prop_assert_eq!(targets(UpgradePhase::ControlPlane), control_planes);
            prop_assert_eq!(targets(UpgradePhase::Preload), control_planes + pools);
            prop_assert_eq!(targets(UpgradePhase::Nodes), control_planes + pools);
        }
    }
}
