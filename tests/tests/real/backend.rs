//! The backend and the guest's protocol by themselves, on the seed's own libvirtd.

use seedbed_tests::{Cases, said};

/// Shows what it said, without its last line: its tests are part of one case here.
fn show(text: &str) {
    for line in text.lines().filter(|line| !line.starts_with("test result:")) {
        println!("{line}");
    }
}

/// The suite that every backend passes, on real QEMU.
pub async fn conformance(cases: Cases) {
    let mut program = cases.seed.test_program("libvirt");
    program
        .env("SEEDBED_LIBVIRT_URI", seedbed_seed::LIBVIRT_URI)
        .env("SEEDBED_LIBVIRT_POOL", "seedbed")
        .args(["--nocapture", "passes_the_suite_on_a_real_host"]);
    let text = said(&mut program).unwrap();
    show(&text);
    assert!(
        text.contains("test result: ok. 1 passed") && !text.contains("not run:"),
        "{text}"
    );
}

/// A guest and its jobs, from nothing and back to nothing.
pub async fn guest(cases: Cases) {
    let mut program = cases.seed.test_program("real_guest");
    program
        .env("SEEDBED_LIBVIRT_URI", seedbed_seed::LIBVIRT_URI)
        .env("SEEDBED_LIBVIRT_POOL", "seedbed")
        .env("SEEDBED_RELEASE", &cases.seed.programs.release)
        .arg("--nocapture");
    let text = said(&mut program).unwrap();
    show(&text);
    assert!(
        text.contains("test result: ok") && !text.contains(" 0 passed"),
        "{text}"
    );
}
