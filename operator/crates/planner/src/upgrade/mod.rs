//! Upgrades: from which version to which one, in which steps, whether anything is in the way, and how they go on.

pub mod desired;
pub mod effect;
pub mod plan;
pub mod preflight;
pub mod running;
pub mod saga;
pub mod traces;
pub mod verdict;
pub mod version;

pub use effect::Effect;
pub use plan::{Machines, Plan, plan};
pub use version::{Hop, Version};
