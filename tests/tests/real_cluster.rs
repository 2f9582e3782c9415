//! One cluster on real virtual machines, from the sample that a person applies to an empty host.
//!
//! Runs where `SEEDBED_REAL` is `short` (what CI runs), `long` (make e2e) or `upgrade` (make e2e-upgrade), one case after another on one
//! cluster. It takes minutes where guests are emulated. All waits are for conditions, with limits that a much slower machine meets too, and one
//! that is missed says what every guest was doing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a case fails by them, and says how far it is"
)]

#[path = "real/backend.rs"]
mod backend;
#[path = "real/created.rs"]
mod created;
#[path = "real/deleted.rs"]
mod deleted;
#[path = "real/lab.rs"]
mod lab;
#[path = "real/secrets.rs"]
mod secrets;
#[path = "real/upgraded.rs"]
mod upgraded;
#[path = "real/used.rs"]
mod used;
#[path = "real/workers.rs"]
mod workers;
#[path = "real/writer.rs"]
mod writer;

use std::process::ExitCode;

use seedbed_tests::{Case, SeedOptions, Suite};

fn main() -> ExitCode {
    let mode = std::env::var("SEEDBED_REAL").unwrap_or_default();
    let (short, long, upgrade) = match mode.as_str() {
        "short" => (true, false, false),
        "long" => (true, true, false),
        "upgrade" => (false, false, true),
        _ => {
            println!("SKIPPED: SEEDBED_REAL is not set to `short`, `long` or `upgrade`");
            (false, false, false)
        }
    };
    let cases = vec![
        Case::new(
            "backend: the conformance suite on a real host",
            backend::conformance,
        )
        .only_if(short),
        Case::new(
            "guest: jobs that survive the loss of everything around them",
            backend::guest,
        )
        .only_if(long),
        Case::new(
            "created: with the operator killed during boot, init and join",
            created::killed,
        )
        .only_if(short),
        Case::new("created: both nodes are Ready and DNS answers", created::ready).only_if(short),
        Case::new(
            "secrets: in no cloud-init volume, domain definition or log",
            secrets::nowhere,
        )
        .only_if(short),
        Case::new("used: a Service answers across nodes by its name", used::service).only_if(short),
        Case::new(
            "used: a NetworkPolicy without effect is told",
            used::network_policy,
        )
        .only_if(short),
        Case::new("workers: one more, and one less", workers::scaled).only_if(short),
        Case::new("idle: no write of the operator in two minutes", workers::idle).only_if(long),
        Case::new(
            "workers: another template, with libvirtd away meanwhile",
            workers::rolled_out,
        )
        .only_if(long),
        Case::new("upgraded: a cluster of the old version is Ready", upgraded::made).only_if(upgrade),
        Case::new(
            "upgraded: the version is set back while the new one is watched",
            upgraded::set_back,
        )
        .only_if(upgrade),
        Case::new(
            "upgraded: cancelled while there is no API server",
            upgraded::cancelled,
        )
        .only_if(upgrade),
        Case::new(
            "upgraded: it fails past its point of no return, and is restored",
            upgraded::restored,
        )
        .only_if(upgrade),
        Case::new(
            "upgraded: the same with its snapshot damaged, by the disk that its host has kept",
            upgraded::reverted,
        )
        .only_if(upgrade),
        Case::new(
            "upgraded: to the end, the operator killed at each step and the control plane cut off",
            upgraded::carried_out,
        )
        .only_if(upgrade),
        Case::new(
            "deleted: nothing is left on the host or in the seed",
            deleted::nothing_left,
        )
        .only_if(short || upgrade),
        Case::new("upgraded: over a version between, by one edit", upgraded::hopped).only_if(upgrade),
        Case::new("deleted: nor is anything left of that", deleted::nothing_left).only_if(upgrade),
        Case::new(
            "deleted: what is retained runs on, and nobody looks after it",
            deleted::retained,
        )
        .only_if(long),
    ];
    Suite {
        name: "real",
        options: SeedOptions {
            machines: true,
            upgrades: upgrade,
        },
        threads: 1,
        cases,
    }
    .run()
}
