//! A simulated cluster's API over TLS: who is let in.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{PostParams, WatchEvent, WatchParams};
use seedbed_guest::GuestFile;
use seedbed_kubeadm::pki::{CertificateAuthority, ClusterPki, Lifetime};
use seedbed_operator::child::{ChildAccess, ChildKey, connect};
use seedbed_simulated_api::{ApiServer, Kinds, Store};
use seedbed_simulator::ControlPlanes;
use seedbed_simulator_server::planes::Planes;

const LIMIT: Duration = Duration::from_secs(10);

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn files(pki: &ClusterPki) -> Vec<GuestFile> {
    let files = pki.files("/run/seedbed/bootstrap/pki").into_iter();
    files
        .map(|file| GuestFile {
            path: file.path,
            mode: file.mode,
            content: file.content,
        })
        .collect()
}

/// A client of the API at that address which trusts one authority and shows a certificate of another.
fn client(
    address: Ipv4Addr,
    trusted: &CertificateAuthority,
    signed_by: &CertificateAuthority,
    group: &str,
) -> kube::Client {
    let lifetime = Lifetime::starting(now(), Duration::from_hours(1));
    let certificate = signed_by
        .client_certificate("somebody", Some(group), lifetime)
        .unwrap();
    let access = ChildAccess {
        endpoint: format!("https://{address}:6443"),
        ca_pem: trusted.cert_pem.clone(),
        certificate_pem: certificate.cert_pem,
        key_pem: certificate.key_pem,
    };
    let key = ChildKey {
        namespace: "default".to_owned(),
        name: "demo".to_owned(),
    };
    connect(&key, &access, LIMIT).unwrap()
}

fn api() -> ApiServer {
    ApiServer::new(
        Store::new(Kinds::builtin(), "test"),
        "v1.35.4",
        jiff::Timestamp::now,
    )
}

fn named(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap()
}

#[tokio::test]
async fn an_administrator_writes_and_watches_and_others_are_refused() {
    let address = Ipv4Addr::new(127, 203, 18, 11);
    let pki = ClusterPki::generate(now()).unwrap();
    let stranger = ClusterPki::generate(now()).unwrap();
    let planes = Planes::default();
    planes.began(address, &api(), &files(&pki)).unwrap();

    let admin = Api::<ConfigMap>::namespaced(client(address, &pki.ca, &pki.ca, "system:masters"), "default");
    let mut watched = admin.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    admin.create(&PostParams::default(), &named("a")).await.unwrap();
    let event = tokio::time::timeout(LIMIT, watched.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");

    let other = Api::<ConfigMap>::namespaced(client(address, &pki.ca, &pki.ca, "developers"), "default");
    let error = other.get("a").await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 403),
        "{error}"
    );
    let foreign = Api::<ConfigMap>::namespaced(
        client(address, &pki.ca, &stranger.ca, "system:masters"),
        "default",
    );
    assert!(
        foreign.get("a").await.is_err(),
        "a certificate of another cluster was taken"
    );
    let elsewhere = Api::<ConfigMap>::namespaced(
        client(address, &stranger.ca, &pki.ca, "system:masters"),
        "default",
    );
    assert!(
        elsewhere.get("a").await.is_err(),
        "the serving certificate is not of the cluster's CA"
    );

    let mut config = kube::Config::new(format!("https://{address}:6443").parse().unwrap());
    config.accept_invalid_certs = true;
    let nobody = Api::<ConfigMap>::namespaced(kube::Client::try_from(config).unwrap(), "default");
    let error = nobody.get("a").await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 401),
        "{error}"
    );
}

#[tokio::test]
async fn a_control_plane_without_power_refuses_connections_and_ends_those_that_there_are() {
    let address = Ipv4Addr::new(127, 203, 18, 12);
    let pki = ClusterPki::generate(now()).unwrap();
    let planes = Planes::default();
    let api = api();
    planes.began(address, &api, &files(&pki)).unwrap();
    let admin = Api::<ConfigMap>::namespaced(client(address, &pki.ca, &pki.ca, "system:masters"), "default");
    let mut watched = admin.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    planes.ended(address);
    let end = tokio::time::timeout(LIMIT, watched.next()).await.unwrap();
    assert!(end.is_none_or(|event| event.is_err()), "the watch went on");
    assert!(admin.get("a").await.is_err());

    planes.began(address, &api, &files(&pki)).unwrap();
    admin.create(&PostParams::default(), &named("a")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_takes_the_place_of_another_ends_its_connections_and_has_its_objects() {
    let address = Ipv4Addr::new(127, 203, 18, 13);
    let pki = ClusterPki::generate(now()).unwrap();
    let planes = Planes::default();
    let first = api();
    planes.began(address, &first, &files(&pki)).unwrap();
    let client = client(address, &pki.ca, &pki.ca, "system:masters");
    let admin = Api::<ConfigMap>::namespaced(client.clone(), "default");
    admin.create(&PostParams::default(), &named("a")).await.unwrap();
    assert_eq!(client.apiserver_version().await.unwrap().git_version, "v1.35.4");
    let mut watched = admin.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    watched.next().await.unwrap().unwrap();

    planes.ended(address);
    let end = tokio::time::timeout(LIMIT, watched.next()).await.unwrap();
    assert!(end.is_none_or(|event| event.is_err()), "the watch went on");
    let second = first.restarted("v1.36.3", Some("1.35"));
    planes.began(address, &second, &files(&pki)).unwrap();
    assert_eq!(client.apiserver_version().await.unwrap().git_version, "v1.36.3");
    admin.get("a").await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_not_on_loopback_is_refused_with_what_to_do() {
    let pki = ClusterPki::generate(now()).unwrap();
    let error = Planes::default()
        .began(Ipv4Addr::new(10, 64, 0, 11), &api(), &files(&pki))
        .unwrap_err();
    assert!(
        error.contains("10.64.0.11") && error.contains("127.0.0.0/8"),
        "{error}"
    );
}
