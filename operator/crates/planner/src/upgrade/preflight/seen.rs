//! What a preflight looks at.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::guests::GuestFacts;
use crate::Observed;
use crate::upgrade::version::Version;

/// All that a preflight looks at.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of its host.
    pub host: String,
    /// The version that its API server runs.
    pub from: Observed<Version>,
    /// The version to upgrade to.
    pub to: Version,
    /// Whether the cluster is paused.
    pub paused: bool,
    /// Whether the cluster is Ready; if not, why.
    pub ready: Observed<Result<(), String>>,
    /// What is under way in the cluster.
    pub operations: Vec<Operation>,
    /// The target's release on the cluster's host.
    pub release: Observed<OnHost>,
    /// Whether the host has room for the snapshots; if not, the numbers.
    pub capacity: Observed<Result<(), String>>,
    /// The upgrade's own checks.
    pub checks: Vec<CheckTried>,
    /// Names of the control planes' machines.
    pub control_planes: Vec<String>,
    /// Names of all machines.
    pub machines: Vec<String>,
    /// The nodes.
    pub nodes: Observed<Vec<NodeSeen>>,
    /// What one look at the cluster's API found.
    pub survey: Survey,
    /// What the machines that are nodes say of themselves, by their names.
    pub guests: Vec<(String, Observed<GuestFacts>)>,
    /// Size of the disk that brings the target's programs and container images, in bytes; none where it is not on the host, which is told as
    /// part of the release.
    pub upgrade_disk: Option<u64>,
    /// For how long the new control plane is to be watched.
    pub soak: Duration,
    /// The time of day.
    pub now: Timestamp,
}

/// What one look at a child's API found. Every part is known or not by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Pods of the control plane.
    pub pods: Observed<Vec<ControlPlanePod>>,
    /// Requests to API versions that are or will be removed.
    pub requested: Observed<Vec<RemovedApi>>,
    /// Feature gates of the API server.
    pub gates: Observed<FeatureGates>,
    /// Custom kinds that are stored in versions that are not served.
    pub custom_kinds: Observed<Vec<CustomKind>>,
    /// Webhooks without which requests fail, and that are called by way of a Service.
    pub webhooks: Observed<Vec<Webhook>>,
    /// Disruption budgets.
    pub budgets: Observed<Vec<Budget>>,
}

impl Survey {
    /// A look by which nothing was found out, for that reason.
    pub fn unknown(why: &str) -> Self {
        Self {
            pods: Observed::Unknown(why.to_owned()),
            requested: Observed::Unknown(why.to_owned()),
            gates: Observed::Unknown(why.to_owned()),
            custom_kinds: Observed::Unknown(why.to_owned()),
            webhooks: Observed::Unknown(why.to_owned()),
            budgets: Observed::Unknown(why.to_owned()),
        }
    }
}

/// Something that is under way in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Kind and name of what it is done to.
    pub object: String,
    /// What is done.
    pub what: String,
}

/// One of the upgrade's own checks, by its name, as it was tried before anything is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckTried {
    /// A request; why it counts as not answered, if it does.
    Probe(String, Observed<Result<(), String>>),
    /// A Job; why it could not be made, if so. It was not made.
    Job(String, Observed<Result<(), String>>),
}

/// How a release stands on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnHost {
    /// It is there.
    Present,
    /// There is no such release; those that there are.
    NotFound(Vec<String>),
    /// It is not complete there, and why.
    Incomplete(String),
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Whether it is Ready; if not, the kubelet's words.
    pub ready: Result<(), String>,
    /// Version of its kubelet, as the node has it.
    pub kubelet: String,
    /// Name of the pool that it is of, where that is held back.
    pub held_by: Option<String>,
    /// What it is short of: conditions that are True, with the kubelet's words.
    pub pressures: Vec<(String, String)>,
}

/// A pod of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlanePod {
    /// Its name, such as `etcd-demo-cp-0`.
    pub name: String,
    /// Whether it is Ready.
    pub ready: bool,
    /// How often its containers were restarted since it was made.
    pub restarts: i64,
}

/// An API version that was asked for and is, or will be, removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemovedApi {
    /// Its group and version, such as `flowcontrol.apiserver.k8s.io/v1beta3`.
    pub group_version: String,
    /// The resource that was asked for.
    pub resource: String,
    /// The first release without it, such as `1.32`.
    pub removed: String,
}

/// Feature gates of the API server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureGates {
    /// Alpha features that are on.
    pub alpha: BTreeSet<String>,
}

/// A custom kind that is stored in versions that are not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomKind {
    /// Name of its definition.
    pub name: String,
    /// Those versions.
    pub unserved: Vec<StoredVersion>,
}

/// A version in which objects are, or once were, stored.
pub type StoredVersion = String;

/// A Service of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A webhook without which requests fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Kind and name of the object that it stands in.
    pub configuration: String,
    /// Its own name.
    pub name: String,
    /// The Service that it is called by.
    pub service: ServiceName,
    /// Whether it is called for what an upgrade writes itself.
    pub meets_upgrade: bool,
    /// Whether its Service has an endpoint that is ready.
    pub has_endpoint: Observed<bool>,
}

/// A disruption budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it asks for, such as `minAvailable: 2`.
    pub asks: String,
    /// How many pods it speaks of.
    pub pods: i32,
    /// How many of them may be away at most when all are there.
    pub spare: i32,
}

#[cfg(test)]
pub mod tests {
    use super::super::guests;
    use super::*;

    /// A cluster with which all is well.
    pub fn well() -> Seen {
        let node = |name: &str| NodeSeen {
            name: name.into(),
            ready: Ok(()),
            kubelet: "v1.35.4".into(),
            held_by: None,
            pressures: Vec::new(),
        };
        let pods = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ];
        Seen {
            cluster: "demo".into(),
            host: "local".into(),
            from: Observed::Known(Version::parse("v1.35.4").unwrap()),
            to: Version::parse("v1.36.3").unwrap(),
            paused: false,
            ready: Observed::Known(Ok(())),
            operations: Vec::new(),
            release: Observed::Known(OnHost::Present),
            capacity: Observed::Known(Ok(())),
            checks: Vec::new(),
            control_planes: vec!["demo-cp-0".into()],
            machines: vec!["demo-cp-0".into(), "demo-w-0".into()],
            nodes: Observed::Known(vec![node("demo-cp-0"), node("demo-w-0")]),
            survey: Survey {
                pods: Observed::Known(
                    pods.iter()
                        .map(|component| ControlPlanePod {
                            name: format!("{component}-demo-cp-0"),
                            ready: true,
                            restarts: 0,
                        })
                        .collect(),
                ),
                requested: Observed::Known(Vec::new()),
                gates: Observed::Known(FeatureGates::default()),
                custom_kinds: Observed::Known(Vec::new()),
                webhooks: Observed::Known(Vec::new()),
                budgets: Observed::Known(Vec::new()),
            },
            guests: vec![
                (
                    "demo-cp-0".into(),
                    Observed::Known(guests::tests::control_plane()),
                ),
                ("demo-w-0".into(), Observed::Known(guests::tests::worker())),
            ],
            upgrade_disk: Some(800 << 20),
            soak: Duration::from_mins(5),
            now: guests::tests::NOW,
        }
    }

    /// The same cluster where nothing that needs its API or its host could be seen.
    pub fn unseen() -> Seen {
        const WHY: &str = "no route to host";
        fn lost<T>() -> Observed<T> {
            Observed::Unknown(WHY.into())
        }
        Seen {
            from: lost(),
            ready: lost(),
            release: lost(),
            capacity: lost(),
            checks: vec![CheckTried::Probe("shop".into(), lost())],
            nodes: lost(),
            survey: Survey::unknown(WHY),
            guests: vec![("demo-cp-0".into(), lost()), ("demo-w-0".into(), lost())],
            ..well()
        }
    }

    /// A cluster of whose API all is well but what that changes.
    pub fn surveyed(change: impl FnOnce(&mut Survey)) -> Seen {
        let mut seen = well();
        change(&mut seen.survey);
        seen
    }

    /// The one finding of that check; its severity, object and message.
    pub fn only(seen: &Seen) -> (seedbed_crds::PreflightSeverity, String, String) {
        let found = super::super::check(seen, &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        let finding = found.into_iter().next().unwrap();
        (finding.severity, finding.object, finding.message)
    }

    /// Fails where a part is not in the text.
    pub fn has(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "no {part:?} in: {text}");
        }
    }
}
