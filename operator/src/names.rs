//! Names by which the operator is known.

/// The operator, in events and as the manager of the fields that it writes.
pub const FIELD_MANAGER: &str = "seedbed-operator";
