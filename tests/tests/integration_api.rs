//! The API as a user meets it, on a real kube-apiserver with the operator running under its own identity: what is refused and
//! with which words, what is told in conditions and how it is mended, and what kubectl shows. No virtual machine is started: the
//! hosts of these tests keep all their memory to themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a case fails by them"
)]

#[path = "api/accepted.rs"]
mod accepted;
#[path = "api/calibrated.rs"]
mod calibrated;
#[path = "api/mended.rs"]
mod mended;
#[path = "api/refused.rs"]
mod refused;
#[path = "api/shown.rs"]
mod shown;

use std::process::ExitCode;

use seedbed_tests::{SeedOptions, Suite};

fn main() -> ExitCode {
    let mut cases = refused::cases();
    cases.extend(accepted::cases());
    cases.extend(shown::cases());
    cases.extend(mended::cases());
    cases.extend(calibrated::cases());
    Suite {
        name: "api",
        options: SeedOptions::default(),
        threads: 4,
        cases,
    }
    .run()
}
