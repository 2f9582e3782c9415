//! The jobs of upgrades in simulated machines, as the operator renders them.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod forward;
mod mishaps;
mod restore;
mod setting;
mod undo;
