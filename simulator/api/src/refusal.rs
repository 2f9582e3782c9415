//! What the server answers to what it does not do.

use serde_json::{Value, json};

use crate::Kind;

/// What the server answers to what it does not do: a `Status` of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status code.
    pub code: u16,
    /// The reason, in one word, as kube-apiserver spells it; empty where it gives none.
    pub reason: &'static str,
    /// The reason in words.
    pub message: String,
    /// What it is about; null where it is about nothing in particular.
    pub details: Value,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: impl Into<String>, details: Value) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details,
        }
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::new(404, "NotFound", message, about(kind, kind.plural, name))
    }

    pub(crate) fn no_such_page() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message, json!({}))
    }

    pub(crate) fn not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message, json!({}))
    }

    pub(crate) fn exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::new(409, "AlreadyExists", message, about(kind, kind.plural, name))
    }

    /// A write that is not to the latest version, or not to the object that it names.
    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.resource()
        );
        Self::new(409, "Conflict", message, about(kind, kind.plural, name))
    }

    /// A deletion whose preconditions do not hold.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            kind.qualified()
        );
        Self::new(409, "Conflict", message, about(kind, kind.kind, name))
    }

    /// An object that cannot be so: a field, the reason as kube-apiserver spells it, and in words.
    pub(crate) fn invalid(kind: &Kind, name: &str, field: &str, reason: &str, words: &str) -> Self {
        let message = format!("{} \"{name}\" is invalid: {field}: {words}", kind.qualified());
        let mut details = about(kind, kind.kind, name);
        details["causes"] = json!([{"field": field, "message": words, "reason": reason}]);
        Self::new(422, "Invalid", message, details)
    }

    /// A write without a resourceVersion to a kind that wants one.
    pub(crate) fn unversioned(kind: &Kind, name: &str) -> Self {
        let (field, words) = (
            "metadata.resourceVersion",
            "Invalid value: 0: must be specified for an update",
        );
        let message = format!("{} \"{name}\" is invalid: {field}: {words}", kind.resource());
        let mut details = about(kind, kind.plural, name);
        details["causes"] = json!([{"field": field, "message": words, "reason": "FieldValueInvalid"}]);
        Self::new(422, "Invalid", message, details)
    }

    /// An apply that does not say who applies.
    pub(crate) fn anonymous() -> Self {
        let words = "Required value: is required for apply patch";
        let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: {words}");
        let causes = json!([{"field": "fieldManager", "message": words, "reason": "FieldValueRequired"}]);
        let details = json!({"group": "meta.k8s.io", "kind": "PatchOptions", "causes": causes});
        Self::new(422, "Invalid", message, details)
    }

    /// An eviction that a disruption budget does not allow now.
    pub(crate) fn budget(name: &str, wanted: i64, healthy: i64) -> Self {
        let words =
            format!("The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently");
        let details = json!({"causes": [{"message": words, "reason": "DisruptionBudget"}]});
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        Self::new(429, "TooManyRequests", message, details)
    }

    /// A request to a Service behind which there is nobody.
    pub(crate) fn no_endpoints(service: &str) -> Self {
        let message = format!("no endpoints available for service \"{service}\"");
        Self::new(503, "ServiceUnavailable", message, Value::Null)
    }

    pub(crate) fn gone(asked: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self::new(410, "Expired", message, Value::Null)
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, Value::Null)
    }

    /// An error of the server itself.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message, Value::Null)
    }

    pub(crate) fn unsupported(what: &str) -> Self {
        let message = format!("{what} is not simulated");
        Self::new(405, "MethodNotAllowed", message, Value::Null)
    }

    /// The refusal as the `Status` object that is its body.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": self.code, "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

/// Details of an object: `kind` is its kind's name or plural, whichever kube-apiserver gives there.
pub(crate) fn about(kind: &Kind, name_of_kind: &str, name: &str) -> Value {
    let mut details = json!({"kind": name_of_kind});
    if !name.is_empty() {
        details["name"] = name.into();
    }
    if !kind.group.is_empty() {
        details["group"] = kind.group.into();
    }
    details
}
