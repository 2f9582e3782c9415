//! Inputs that the tests share.
#![allow(dead_code, missing_docs, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_collect,
    reason = "a test ends where its input is wrong"
)]

use std::{fs, path::PathBuf};

use seedbed_kubeadm::{
    GuestFile, TimingProfile,
    cni::BridgeNetwork,
    config::{ClusterInput, Document, Endpoint, InitInput, JoinInput, NodeInput},
    containerd::ContainerdSettings,
    job::Machine,
    patch::{PatchKind, UserPatch},
    token::BootstrapToken,
};

pub const CA: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

pub fn cluster() -> ClusterInput {
    ClusterInput {
        name: "demo".into(),
        kubernetes_version: "v1.35.4".into(),
        endpoint: Endpoint {
            host: "192.168.100.10".into(),
            port: 6443,
        },
        pod_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        dns_domain: "cluster.local".into(),
        cert_sans: vec!["demo.example".into(), "10.0.0.1".into(), "demo.example".into()],
        allocate_node_cidrs: false,
    }
}

pub fn token() -> BootstrapToken {
    BootstrapToken::parse("abcdef.0123456789abcdef").unwrap()
}

pub fn init(timing: TimingProfile) -> InitInput {
    InitInput {
        cluster: cluster(),
        node: NodeInput {
            name: "demo-cp-0".into(),
            address: [192, 168, 100, 10].into(),
            provider_id: "seedbed://local/0f9c0a5e-0000-4000-8000-000000000001".into(),
            taints: Some(vec![]),
        },
        bootstrap_token: token(),
        token_ttl_seconds: 3600,
        timing,
        patches: vec![],
    }
}

/// A machine without anything of its own.
pub fn machine(hostname: &str, last: u8) -> Machine {
    Machine {
        hostname: hostname.into(),
        address: [192, 168, 100, last].into(),
        files: vec![],
        network: vec![],
        containerd: ContainerdSettings::default(),
        pre_commands: vec![],
        post_commands: vec![],
    }
}

pub fn join(timing: TimingProfile) -> JoinInput {
    JoinInput {
        node: NodeInput {
            name: "demo-workers-0".into(),
            address: [192, 168, 100, 11].into(),
            provider_id: "seedbed://local/0f9c0a5e-0000-4000-8000-000000000002".into(),
            taints: None,
        },
        endpoint: cluster().endpoint,
        ca_pem: CA.into(),
        bootstrap_token: token(),
        timing,
        patches: vec![],
        pool_patches: vec![],
    }
}

pub fn network() -> BridgeNetwork {
    let nodes = "192.168.100.0/24".parse().unwrap();
    BridgeNetwork::new(cluster().pod_cidr, nodes, 24, 10..=13).unwrap()
}

pub fn strategic(target: Document, patch: &str) -> UserPatch {
    UserPatch {
        target,
        kind: PatchKind::StrategicMerge,
        patch: patch.into(),
    }
}

pub fn json6902(target: Document, patch: &str) -> UserPatch {
    UserPatch {
        target,
        kind: PatchKind::Json6902,
        patch: patch.into(),
    }
}

/// All files as one text, for a snapshot.
pub fn listing(files: &[GuestFile]) -> String {
    files
        .iter()
        .map(|file| {
            let content = String::from_utf8_lossy(&file.content);
            format!("=== {} {:04o}\n{content}", file.path, file.mode)
        })
        .collect()
}

pub fn content<'a>(files: &'a [GuestFile], path: &str) -> &'a str {
    let file = files
        .iter()
        .find(|file| file.path == path)
        .unwrap_or_else(|| panic!("no file {path}"));
    std::str::from_utf8(&file.content).unwrap()
}

/// A folder of the test's own, empty.
pub fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}
