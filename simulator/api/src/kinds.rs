//! What kinds of objects there are.

use std::collections::BTreeMap;

/// A kind of objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one property of a kind, and none follows from another"
)]
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
    /// Whether its objects count the changes of what they ask for, in `metadata.generation`.
    pub has_generation: bool,
    /// Whether it is defined by a `CustomResourceDefinition`.
    pub is_custom: bool,
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

    /// Its kind's name in messages, such as `DevCluster.seedbed.dev`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.kind.to_owned()
        } else {
            format!("{}.{}", self.kind, self.group)
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
        let kind = |group, version, kind, plural, namespaced, has_status, has_generation| Kind {
            group,
            version,
            kind,
            plural,
            namespaced,
            has_status,
            has_generation,
            is_custom: false,
        };
        let mut kinds = Self::default();
        let (policies, budgets) = ("networkpolicies", "poddisruptionbudgets");
        let (admission, validating, mutating) = (
            "admissionregistration.k8s.io",
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
        );
        let (extensions, definition, definitions) = (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        );
        for known in [
            kind("", "v1", "ConfigMap", "configmaps", true, false, false),
            kind("", "v1", "Event", "events", true, false, false),
            kind("", "v1", "Namespace", "namespaces", false, true, false),
            kind("", "v1", "Node", "nodes", false, true, false),
            kind("", "v1", "Pod", "pods", true, true, true),
            kind("", "v1", "Secret", "secrets", true, false, false),
            kind("", "v1", "ServiceAccount", "serviceaccounts", true, false, false),
            kind("", "v1", "Service", "services", true, true, false),
            kind(
                admission,
                "v1",
                "ValidatingWebhookConfiguration",
                validating,
                false,
                false,
                true,
            ),
            kind(
                admission,
                "v1",
                "MutatingWebhookConfiguration",
                mutating,
                false,
                false,
                true,
            ),
            kind(extensions, "v1", definition, definitions, false, true, true),
            kind("apps", "v1", "DaemonSet", "daemonsets", true, true, true),
            kind("apps", "v1", "Deployment", "deployments", true, true, true),
            kind("batch", "v1", "Job", "jobs", true, true, true),
            kind("coordination.k8s.io", "v1", "Lease", "leases", true, false, false),
            kind(
                "discovery.k8s.io",
                "v1",
                "EndpointSlice",
                "endpointslices",
                true,
                false,
                true,
            ),
            kind("events.k8s.io", "v1", "Event", "events", true, false, false),
            kind(
                "networking.k8s.io",
                "v1",
                "NetworkPolicy",
                policies,
                true,
                false,
                true,
            ),
            kind("policy", "v1", "PodDisruptionBudget", budgets, true, true, true),
        ] {
            kinds.add(known);
        }
        kinds
    }

    /// A kind of a `CustomResourceDefinition` with a status of its own.
    pub fn custom(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
        namespaced: bool,
    ) -> Kind {
        Kind {
            group,
            version,
            kind,
            plural,
            namespaced,
            has_status: true,
            has_generation: true,
            is_custom: true,
        }
    }

    /// Adds a kind; one of the same group and plural takes the place of the one before.
    pub fn add(&mut self, kind: Kind) {
        self.0.insert((kind.group, kind.plural), kind);
    }

    /// All kinds, by their groups and names in paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.values()
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
