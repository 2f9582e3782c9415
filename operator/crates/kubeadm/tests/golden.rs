//! What is rendered, in full.
#![allow(
    clippy::unwrap_used,
    clippy::format_collect,
    reason = "a test ends where its input is wrong"
)]

mod common;

use common::{init, join, listing, network};
use seedbed_kubeadm::{
    GuestFile, TimingProfile,
    cloudinit::CloudInit,
    config::{render_init, render_join},
    containerd::{ContainerdSettings, RegistryMirror, TrustedCa},
    job::{self, Machine},
    pki::ClusterPki,
};

#[test]
fn init_standard() {
    insta::assert_snapshot!(listing(
        &render_init(&init(TimingProfile::Standard)).unwrap().files
    ));
}

#[test]
fn init_relaxed() {
    insta::assert_snapshot!(listing(
        &render_init(&init(TimingProfile::Relaxed)).unwrap().files
    ));
}

#[test]
fn join_standard() {
    insta::assert_snapshot!(listing(
        &render_join(&join(TimingProfile::Standard)).unwrap().files
    ));
}

#[test]
fn join_relaxed() {
    insta::assert_snapshot!(listing(
        &render_join(&join(TimingProfile::Relaxed)).unwrap().files
    ));
}

#[test]
fn bridge_network() {
    insta::assert_snapshot!(listing(&network().files([192, 168, 100, 11].into()).unwrap()));
}

#[test]
fn cloud_init() {
    let files = CloudInit {
        instance_id: "0f9c0a5e-0000-4000-8000-000000000001".into(),
        hostname: "demo-cp-0".into(),
        fqdn: "demo-cp-0.demo.default.seedbed".into(),
        ssh_authorized_keys: vec!["ssh-ed25519 AAAA someone@example".into()],
    }
    .files()
    .unwrap();
    let text: String = files
        .iter()
        .map(|file| format!("=== {}\n{}", file.name, file.content))
        .collect();
    insta::assert_snapshot!(text);
}

fn containerd() -> ContainerdSettings {
    ContainerdSettings {
        mirrors: vec![
            RegistryMirror {
                registry: "docker.io".into(),
                endpoints: vec![
                    "https://mirror.example".into(),
                    "http://10.0.0.1:5000/v2/hub".into(),
                ],
            },
            RegistryMirror {
                registry: "registry.example:5000".into(),
                endpoints: vec![],
            },
            RegistryMirror {
                registry: "_default".into(),
                endpoints: vec!["https://all.example".into()],
            },
        ],
        trusted_cas: vec![TrustedCa {
            name: "company".into(),
            pem: common::CA.into(),
        }],
    }
}

#[test]
fn containerd_settings() {
    insta::assert_snapshot!(listing(&containerd().files().unwrap()));
}

fn machine(name: &str, last: u8) -> Machine {
    Machine {
        network: network().files([192, 168, 100, last].into()).unwrap(),
        ..common::machine(name, last)
    }
}

#[test]
fn script_of_a_worker() {
    let config = render_join(&join(TimingProfile::Standard)).unwrap();
    insta::assert_snapshot!(job::join(config, &machine("demo-workers-0", 11)).unwrap().script);
}

#[test]
fn script_of_a_control_plane_with_everything() {
    let config = render_init(&init(TimingProfile::Standard)).unwrap();
    let machine = Machine {
        files: vec![GuestFile::public("/etc/motd", "hello\n")],
        containerd: containerd(),
        pre_commands: vec![
            "echo 'it''s' > /tmp/a".into(),
            "sysctl -w vm.max_map_count=262144".into(),
        ],
        post_commands: vec!["kubectl get nodes".into()],
        ..machine("demo-cp-0", 10)
    };
    let job = job::init(config, &ClusterPki::generate(1_800_000_000).unwrap(), &machine).unwrap();
    insta::assert_snapshot!(job.script);
    let paths: Vec<_> = job
        .files
        .iter()
        .map(|file| format!("{:04o} {}", file.mode, file.path))
        .collect();
    insta::assert_snapshot!("files_of_a_control_plane_with_everything", paths.join("\n"));
}
