//! How long it takes to render what one machine gets, and to make a cluster's authorities.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark ends where its input is wrong"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Duration;

use common::{init, join, json6902, machine, network, strategic};
use criterion::{Criterion, criterion_group, criterion_main};
use seedbed_kubeadm::TimingProfile;
use seedbed_kubeadm::cloudinit::{CloudInit, cidata};
use seedbed_kubeadm::config::{Document, render_init, render_join};
use seedbed_kubeadm::job;
use seedbed_kubeadm::pki::ClusterPki;

fn documents(c: &mut Criterion) {
    let plain = init(TimingProfile::Relaxed);
    c.bench_function("kubeadm init: documents", |b| {
        b.iter(|| render_init(black_box(&plain)).unwrap());
    });
    let mut patched = plain;
    patched.patches = vec![
        strategic(Document::KubeletConfiguration, "maxPods: 42"),
        json6902(
            Document::KubeProxyConfiguration,
            r#"[{"op": "add", "path": "/metricsBindAddress", "value": "0.0.0.0:10249"}]"#,
        ),
    ];
    c.bench_function("kubeadm init: documents, two of them patched", |b| {
        b.iter(|| render_init(black_box(&patched)).unwrap());
    });
    let worker = join(TimingProfile::Relaxed);
    c.bench_function("kubeadm join: documents", |b| {
        b.iter(|| render_join(black_box(&worker)).unwrap());
    });
}

fn machines(c: &mut Criterion) {
    let documents = render_join(&join(TimingProfile::Relaxed)).unwrap();
    let mut worker = machine("demo-workers-0", 11);
    worker.network = network().files([192, 168, 100, 11].into()).unwrap();
    c.bench_function("kubeadm join: script and files", |b| {
        b.iter(|| job::join(black_box(documents.clone()), black_box(&worker)).unwrap());
    });
    let instance = CloudInit {
        instance_id: "0f9c0a5e-0000-4000-8000-000000000001".into(),
        hostname: "demo-workers-0".into(),
        fqdn: "demo-workers-0.demo.default.seedbed".into(),
        ssh_authorized_keys: vec!["ssh-ed25519 AAAA someone@example".into()],
    };
    c.bench_function("volume for cloud-init", |b| {
        b.iter(|| cidata::image(&black_box(&instance).files().unwrap()).unwrap());
    });
}

fn authorities(c: &mut Criterion) {
    c.bench_function("a cluster's authorities", |b| {
        b.iter(|| ClusterPki::generate(black_box(1_767_225_600)).unwrap());
    });
}

criterion_group! {
    name = rendering;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = documents, machines, authorities
}
criterion_main!(rendering);
