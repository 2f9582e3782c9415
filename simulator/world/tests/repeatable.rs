//! One seed, one schedule.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// What a process prints that simulates the seed.
fn log(seed: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_seedbed-sim"))
        .args(["one", seed, "--log", "--told"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_same_seed_goes_the_same_way_in_every_line_and_another_seed_another_way() {
    let first = log("3");
    assert!(first.lines().count() > 1000, "{first}");
    assert_eq!(first, log("3"));
    assert_ne!(first, log("4"));
}
