//! What Seedbed decides, as pure functions: what was seen goes in, what to do next comes out.
//!
//! Nothing here has a client, a clock, a thread or a random number: `now` is an argument, and so is every observation. An
//! observation that failed is [`Observed::Unknown`], which never means absent.

pub mod address;
pub mod allocation;
pub mod capacity;
pub mod cluster;
pub mod conditions;
pub mod effect;
pub mod host;
pub mod machine;
pub mod names;
mod observed;
pub mod pool;
pub mod release;
pub mod template;
pub mod upgrade;

pub use observed::Observed;
