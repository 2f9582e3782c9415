//! Every step of an upgrade, and whatever can happen while it is under way: each upgrade ends, the cluster is then of one version,
//! and nobody has edited an object to get on.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "upgrade_matrix/desired.rs"]
mod desired;
#[path = "upgrade_matrix/ends.rs"]
mod ends;
#[path = "upgrade_matrix/found.rs"]
mod found;
#[path = "upgrade_matrix/restores.rs"]
mod restores;
#[path = "upgrade_matrix/run.rs"]
mod run;
