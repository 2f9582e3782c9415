//! The operator as a process, on a real kube-apiserver: what it writes and what it does not, and what becomes of its work when
//! it, the API server or libvirtd is killed. One case at a time: they stop what the others need.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a case fails by them"
)]

#[path = "operator/child.rs"]
mod child;
#[path = "operator/killed.rs"]
mod killed;
#[path = "operator/leader.rs"]
mod leader;
#[path = "operator/releases.rs"]
mod releases;
#[path = "operator/retained.rs"]
mod retained;
#[path = "operator/written.rs"]
mod written;

use std::process::ExitCode;

use seedbed_tests::{SeedOptions, Suite};

fn main() -> ExitCode {
    let mut cases = releases::cases();
    cases.push(killed::operator_case());
    cases.extend(retained::cases());
    cases.push(written::identity_case());
    cases.extend(killed::cases());
    cases.push(written::idle_case());
    cases.extend(leader::cases());
    cases.extend(child::cases());
    Suite {
        name: "operator",
        options: SeedOptions::default(),
        threads: 1,
        cases,
    }
    .run()
}
