//! From the API's objects to what the guest gets: pure, no client, no clock.

mod cluster;
mod machine;

pub use cluster::{ClusterPlan, PlanError};
pub use machine::{FileContents, MachinePlan, RenderError, TOKEN_TTL_SECONDS};
