//! What kinds of objects there are.

use std::collections::BTreeMap;

/// A kind of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Its group; empty for the core group.
    pub group: &'static str,
    /// The one version in which it is served.
    pub version: &'static str,
    /// Its name, such as `ConfigMap`.
    pub kind: &'static str,
    /// Its name in paths, such as `configmaps`.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether `status` is written through a subresource of its own.
    pub has_status: bool,
}

impl Kind {
    /// Its `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Its name in messages, such as `devclusters.seedbed.dev`.
    pub(crate) fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// The kinds that a server knows, by group and plural.
#[derive(Debug, Clone, Default)]
pub struct Kinds(BTreeMap<(&'static str, &'static str), Kind>);

impl Kinds {
    /// The kinds of Kubernetes itself that controllers of clusters have to do with.
    pub fn builtin() -> Self {
        let kind = |group, version, kind, plural, namespaced, has_status| Kind {
            group,
            version,
            kind,
            plural,
            namespaced,
            has_status,
        };
        let mut kinds = Self::default();
        for known in [
            kind("", "v1", "ConfigMap", "configmaps", true, false),
            kind("", "v1", "Event", "events", true, false),
            kind("", "v1", "Namespace", "namespaces", false, true),
            kind("", "v1", "Node", "nodes", false, true),
            kind("", "v1", "Pod", "pods", true, true),
            kind("", "v1", "Secret", "secrets", true, false),
            kind("", "v1", "Service", "services", true, true),
            kind("apps", "v1", "DaemonSet", "daemonsets", true, true),
            kind("apps", "v1", "Deployment", "deployments", true, true),
            kind("coordination.k8s.io", "v1", "Lease", "leases", true, false),
            kind("events.k8s.io", "v1", "Event", "events", true, false),
            kind(
                "networking.k8s.io",
                "v1",
                "NetworkPolicy",
                "networkpolicies",
                true,
                false,
            ),
            kind(
                "policy",
                "v1",
                "PodDisruptionBudget",
                "poddisruptionbudgets",
                true,
                true,
            ),
        ] {
            kinds.add(known);
        }
        kinds
    }

    /// Adds a kind; one of the same group and plural takes the place of the one before.
    pub fn add(&mut self, kind: Kind) {
        self.0.insert((kind.group, kind.plural), kind);
    }

    /// The first kind of that name in paths, by the order of the groups: the core group's comes first.
    pub fn of_plural(&self, plural: &str) -> Option<&Kind> {
        self.0.values().find(|k| k.plural == plural)
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        self.0
            .values()
            .find(|k| k.group == group && k.plural == plural && k.version == version)
    }

    /// The kind that an owner reference names.
    pub(crate) fn named(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0
            .values()
            .find(|k| k.kind == kind && k.api_version() == api_version)
    }
}
