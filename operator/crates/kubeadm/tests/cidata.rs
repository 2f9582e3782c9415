//! What the machine's own tools see in the CIDATA image.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where its input is wrong"
)]

mod common;

use std::{fs, process::Command};

use common::scratch;
use seedbed_kubeadm::cloudinit::{CidataFile, cidata};

/// cloud-init finds the disk by what blkid says of it.
#[test]
fn blkid_sees_the_label() {
    let files = [CidataFile {
        name: "user-data",
        content: "#cloud-config\n".into(),
    }];
    let path = scratch("cidata").join("image");
    fs::write(&path, cidata::image(&files).unwrap()).unwrap();
    let output = Command::new("blkid")
        .args(["-p", "-o", "export"])
        .arg(&path)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin")
        .output();
    match output {
        Ok(output) => {
            let seen = String::from_utf8_lossy(&output.stdout);
            assert!(seen.lines().any(|line| line == "LABEL=CIDATA"), "{seen}");
            assert!(seen.lines().any(|line| line == "TYPE=vfat"), "{seen}");
        }
        Err(error) => eprintln!("SKIPPED: blkid: {error}"),
    }
}
