//! What the real kubeadm says of the rendered files. The tests look for it in `SEEDBED_KUBEADM`, and say so where
//! that is not set.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends where its input is wrong"
)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{init, join, machine, scratch};
use seedbed_kubeadm::{
    GuestFile, TimingProfile,
    config::{KUBEADM_CONFIG, KUBEADM_PATCHES, render_init, render_join},
    job,
    pki::ClusterPki,
};
use serde_json::Value;

fn kubeadm() -> Option<PathBuf> {
    let path = std::env::var_os("SEEDBED_KUBEADM").map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: SEEDBED_KUBEADM does not name a kubeadm");
    }
    path
}

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("KUBEADM_INIT_DRYRUN_DIR", folder.join("dry-run"))
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}\n{out}\n{err}");
    // An unknown field is a warning of kubeadm's, not an error.
    assert!(!err.contains("strict") && !err.contains("unknown field"), "{err}");
    format!("{out}{err}")
}

/// Writes the files under a folder, and makes what they say of each other's places true there.
fn place(files: &[GuestFile], folder: &Path) -> String {
    let prefix = folder.to_str().unwrap();
    for file in files {
        let content = String::from_utf8(file.content.clone()).unwrap();
        let content = content
            .replace(
                "/run/seedbed/bootstrap",
                &format!("{prefix}/run/seedbed/bootstrap"),
            )
            .replace(KUBEADM_PATCHES, &format!("{prefix}{KUBEADM_PATCHES}"));
        let path = folder.join(file.path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    format!("{prefix}{KUBEADM_CONFIG}")
}

#[test]
fn the_documents_are_valid() {
    let Some(kubeadm) = kubeadm() else { return };
    for timing in [TimingProfile::Standard, TimingProfile::Relaxed] {
        let folder = scratch("valid");
        let config = place(&render_init(&init(timing)).unwrap().files, &folder);
        run(&kubeadm, &folder, &["config", "validate", "--config", &config]);
        let config = place(&render_join(&join(timing)).unwrap().files, &folder);
        run(&kubeadm, &folder, &["config", "validate", "--config", &config]);
    }
}

/// kubeadm's certs phase, told to keep its files in a folder of the test's.
fn certificates(kubeadm: &Path, folder: &Path) -> PathBuf {
    let config = place(&render_init(&init(TimingProfile::Relaxed)).unwrap().files, folder);
    let pki = folder.join("pki");
    let text = fs::read_to_string(&config).unwrap();
    let cluster = "kind: ClusterConfiguration\n";
    assert!(text.contains(cluster));
    let text = text.replace(cluster, &format!("{cluster}certificatesDir: {}\n", pki.display()));
    fs::write(&config, text).unwrap();
    run(
        kubeadm,
        folder,
        &["init", "phase", "certs", "all", "--config", &config],
    );
    pki
}

#[test]
fn kubeadm_takes_the_authorities_and_signs_with_them() {
    let Some(kubeadm) = kubeadm() else { return };
    let folder = scratch("authorities");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let pki = ClusterPki::generate(i64::try_from(now).unwrap()).unwrap();
    let files = pki.files("/pki");
    place(&files, &folder);
    let pki_folder = certificates(&kubeadm, &folder);
    for file in &files {
        let kept = fs::read(folder.join(file.path.trim_start_matches('/'))).unwrap();
        assert!(kept == file.content, "kubeadm made {} anew", file.path);
    }
    let verified = Command::new("openssl")
        .arg("verify")
        .arg("-CAfile")
        .args([pki_folder.join("ca.crt"), pki_folder.join("apiserver.crt")])
        .output();
    match verified {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => eprintln!("SKIPPED: openssl verify: {error}"),
    }
}

#[test]
fn the_relaxed_profile_reaches_the_static_pods() {
    let Some(kubeadm) = kubeadm() else { return };
    let folder = scratch("static-pods");
    fs::create_dir_all(folder.join("dry-run")).unwrap();
    let config = place(
        &render_init(&init(TimingProfile::Relaxed)).unwrap().files,
        &folder,
    );
    for phase in [["control-plane", "all"], ["etcd", "local"]] {
        run(
            &kubeadm,
            &folder,
            &[
                "init",
                "phase",
                phase[0],
                phase[1],
                "--dry-run",
                "--config",
                &config,
            ],
        );
    }
    for component in [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ] {
        let manifest = fs::read_to_string(folder.join(format!("dry-run/{component}.yaml"))).unwrap();
        let pod: Value = serde_saphyr::from_str(&manifest).unwrap();
        let containers = pod["spec"]["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1, "{component}");
        for (probe, period) in [
            ("livenessProbe", 60),
            ("readinessProbe", 30),
            ("startupProbe", 10),
        ] {
            let found = &containers[0][probe];
            // kubeadm gives the controller manager no readiness probe; a period alone would make a pod that no kubelet takes.
            if found.is_null() && component == "kube-controller-manager" && probe == "readinessProbe" {
                continue;
            }
            assert_eq!(found["periodSeconds"], period, "{component} {probe}");
            assert!(found["httpGet"]["path"].is_string(), "{component} {probe}");
        }
    }
    let api_server = fs::read_to_string(folder.join("dry-run/kube-apiserver.yaml")).unwrap();
    assert!(
        api_server.contains("--etcd-readycheck-timeout=20s"),
        "{api_server}"
    );
    let manager = fs::read_to_string(folder.join("dry-run/kube-controller-manager.yaml")).unwrap();
    for argument in [
        "--allocate-node-cidrs=false",
        "--leader-elect-lease-duration=100s",
    ] {
        assert!(manager.contains(argument), "{manager}");
    }
    assert!(!manager.contains("--allocate-node-cidrs=true"), "{manager}");
}

#[test]
fn the_relaxed_profile_reaches_coredns() {
    let Some(kubeadm) = kubeadm() else { return };
    let folder = scratch("coredns");
    let config = place(
        &render_init(&init(TimingProfile::Relaxed)).unwrap().files,
        &folder,
    );
    let printed = run(
        &kubeadm,
        &folder,
        &[
            "init",
            "phase",
            "addon",
            "coredns",
            "--print-manifest",
            "--config",
            &config,
        ],
    );
    let deployment: Value = printed
        // kubeadm puts no line break between the first mark and what follows it.
        .split("\n---")
        .filter_map(|text| serde_saphyr::from_str(text).ok())
        .find(|document: &Value| document["kind"] == "Deployment")
        .unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["timeoutSeconds"], 15);
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/ready");
    assert_eq!(container["livenessProbe"]["periodSeconds"], 60);
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/health");
}

/// What the passes of the script leave out, taken from its text.
fn skipped_by_the_passes() -> Vec<Vec<String>> {
    let config = render_init(&init(TimingProfile::Standard)).unwrap();
    let pki = ClusterPki::generate(1_800_000_000).unwrap();
    job::init(config, &pki, &machine("demo-cp-0", 10))
        .unwrap()
        .script
        .lines()
        .filter_map(|line| line.split_once("--skip-phases '")?.1.strip_suffix('\''))
        .map(|list| list.split(',').map(str::to_owned).collect())
        .collect()
}

#[test]
fn every_phase_of_init_is_run_by_one_pass_and_the_last_one_notes_the_add_ons() {
    let Some(kubeadm) = kubeadm() else { return };
    let help = run(&kubeadm, &scratch("phases"), &["init", "--help"]);
    let mut parent = "";
    let mut phases = Vec::new();
    for line in help.split("```").nth(1).unwrap().lines() {
        let Some(name) = line.split_whitespace().next() else {
            continue;
        };
        if name.starts_with('/') {
            phases.push((parent.to_owned(), format!("{parent}{name}")));
        } else {
            parent = name;
            phases.push((String::new(), name.to_owned()));
        }
    }
    let passes = skipped_by_the_passes();
    assert_eq!(passes.len(), 3);
    for (parent, phase) in &phases {
        // A phase with parts of which each is named runs nothing of its own.
        let named = |name: &str| passes.iter().flatten().any(|skipped| skipped == name);
        if phases.iter().any(|(of, part)| of == phase && named(part)) {
            continue;
        }
        let runs = passes
            .iter()
            .filter(|skipped| !skipped.iter().any(|name| name == phase || name == parent))
            .count();
        let expected = match phase.as_str() {
            "show-join-command" => 0,
            // Once more where it knows of the add-ons.
            "upload-config/kubeadm" => 2,
            _ => 1,
        };
        assert_eq!(runs, expected, "{phase}");
    }
    let last = passes.last().unwrap();
    assert!(!last.iter().any(|name| name.starts_with("addon")), "{last:?}");
    for name in passes.iter().flatten() {
        assert!(
            phases.iter().any(|(_, phase)| phase == name),
            "kubeadm has no phase {name}"
        );
    }
}
