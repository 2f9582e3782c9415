//! What the tests against real processes share: a seed of their own for each test program, and ways to look at it.
//!
//! A test program starts one seed (etcd, kube-apiserver, a libvirtd in namespaces of its own) when its first case begins, runs
//! its cases against it and takes it down. Its instance is named after its process, below `target/test-state`: a person's seed and
//! the machine's own libvirt are never touched, and what a killed run left behind is removed by the next one.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "everything here runs in tests only"
)]

pub mod audit;
mod case;
pub mod inputs;
pub mod objects;
pub mod quiet;
mod seed;
mod suite;
mod wait;

pub use self::{
    case::{Case, Cases},
    objects::{Condition, Objects},
    seed::{Programs, SeedOptions, TestSeed, client, said},
    suite::{Suite, root_of_checkout},
    wait::{LIMIT, eventually, eventually_within, until},
};
