//! Upgrades: from which version to which one, in which steps, and whether anything is in the way.

pub mod plan;
pub mod preflight;
pub mod verdict;
pub mod version;

pub use plan::{Machines, Plan, plan};
pub use version::{Hop, Version};
