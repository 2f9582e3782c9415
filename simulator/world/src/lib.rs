//! Simulated worlds for the whole operator: a seed's API, hosts, machines and instances of the operator, in virtual time on one
//! thread, where every call that leaves an instance is a [`Step`] whose fate a [`Director`] decides.
//!
//! A world has to be made in a current-thread runtime of tokio whose time is paused: while everything waits, the clock is put to
//! the next moment at which something happens.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::format_push_string,
    reason = "a simulation is a test: what cannot be fails it, and says what it was"
)]

mod api;
mod chance;
pub mod entropy;
mod host;
pub mod logs;
pub mod objects;
mod operator;
mod process;
pub mod runner;
pub mod sim;
mod stage;
mod step;
mod world;

/// A fifth of a simulation is making and freeing small objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use chance::Chance;
pub use operator::Operator;
pub use step::{Boundary, Delivery, Director, End, Fate, Refusal, Step, Undisturbed};
pub use world::{Host, NAMESPACE, Settings, World};
