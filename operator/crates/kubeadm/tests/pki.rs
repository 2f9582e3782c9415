//! Authorities and certificates, read back with a reader of its own.
#![allow(clippy::unwrap_used, reason = "a test ends where its input is wrong")]

use std::{net::IpAddr, time::Duration};

use seedbed_kubeadm::pki::{CertificateAuthority, ClusterPki, KeyPairPem, Lifetime, PkiError};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, pem::parse_x509_pem};

const NOW: i64 = 1_800_000_000;
const DAY: Duration = Duration::from_hours(24);

fn with_certificate<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
    look(&block.parse_x509().unwrap())
}

fn assert_signed_by(pem: &str, authority: &str) {
    with_certificate(authority, |authority| {
        with_certificate(pem, |certificate| {
            certificate
                .verify_signature(Some(authority.public_key()))
                .unwrap();
            assert_eq!(certificate.issuer(), authority.subject());
        });
    });
}

#[test]
fn a_clusters_authorities_are_named_and_limited_as_kubeadms() {
    let pki = ClusterPki::generate(NOW).unwrap();
    for (authority, name) in [
        (&pki.ca, "CN=kubernetes"),
        (&pki.etcd_ca, "CN=etcd-ca"),
        (&pki.front_proxy_ca, "CN=front-proxy-ca"),
    ] {
        assert_signed_by(&authority.cert_pem, &authority.cert_pem);
        with_certificate(&authority.cert_pem, |certificate| {
            assert_eq!(certificate.subject().to_string(), name);
            assert!(certificate.is_ca());
            assert!(certificate.key_usage().unwrap().unwrap().value.key_cert_sign());
            assert_eq!(certificate.validity().not_before.timestamp(), NOW - 300);
            assert_eq!(
                certificate.validity().not_after.timestamp(),
                NOW + 3650 * 24 * 3600
            );
        });
    }
    assert_ne!(pki.ca.key_pem, pki.etcd_ca.key_pem);
}

#[test]
fn what_was_made_is_read_back() {
    let pki = ClusterPki::generate(NOW).unwrap();
    let ca = CertificateAuthority::from_pem("ca", &pki.ca.cert_pem, &pki.ca.key_pem).unwrap();
    assert_eq!(ca, pki.ca);
    let keys = &pki.service_account;
    assert_eq!(
        KeyPairPem::from_pem("sa", &keys.public, &keys.private).unwrap(),
        *keys
    );
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let (one, other) = (
        ClusterPki::generate(NOW).unwrap(),
        ClusterPki::generate(NOW).unwrap(),
    );
    let mixed = CertificateAuthority::from_pem("Secret default/demo-ca", &one.ca.cert_pem, &other.ca.key_pem);
    let error = mixed.unwrap_err();
    assert!(matches!(error, PkiError::Mismatch { .. }));
    assert!(
        error
            .to_string()
            .starts_with("read Secret default/demo-ca: the private key does not belong")
    );
    let (a, b) = (&one.service_account, &other.service_account);
    assert!(matches!(
        KeyPairPem::from_pem("sa", &a.public, &b.private),
        Err(PkiError::Mismatch { .. })
    ));
}

#[test]
fn texts_that_are_no_keys_are_refused_without_being_shown() {
    let pki = ClusterPki::generate(NOW).unwrap();
    let cut = &pki.ca.key_pem[..pki.ca.key_pem.len() / 2];
    for (cert, key) in [
        (pki.ca.cert_pem.as_str(), cut),
        ("", &pki.ca.key_pem),
        (&pki.ca.cert_pem, ""),
    ] {
        let error = CertificateAuthority::from_pem("ca", cert, key).unwrap_err();
        assert!(matches!(error, PkiError::Malformed { .. }), "{error}");
        assert!(!error.to_string().contains(&pki.ca.key_pem[40..80]), "{error}");
    }
}

#[test]
fn a_client_certificate_says_who_and_which_group() {
    let pki = ClusterPki::generate(NOW).unwrap();
    let lifetime = Lifetime::starting(NOW, DAY);
    let issued = pki
        .ca
        .client_certificate("kubernetes-admin", Some("system:masters"), lifetime)
        .unwrap();
    assert_signed_by(&issued.cert_pem, &pki.ca.cert_pem);
    with_certificate(&issued.cert_pem, |certificate| {
        let subject = certificate.subject();
        assert_eq!(
            subject.iter_common_name().next().unwrap().as_str().unwrap(),
            "kubernetes-admin"
        );
        assert_eq!(
            subject.iter_organization().next().unwrap().as_str().unwrap(),
            "system:masters"
        );
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        assert!(!certificate.is_ca());
        assert_eq!(certificate.validity().not_after.timestamp(), NOW + 24 * 3600);
    });
    // An authority that was stored and read back signs the same.
    let again = CertificateAuthority::from_pem("ca", &pki.ca.cert_pem, &pki.ca.key_pem).unwrap();
    let issued = again.client_certificate("someone", None, lifetime).unwrap();
    assert_signed_by(&issued.cert_pem, &pki.ca.cert_pem);
}

#[test]
fn a_server_certificate_has_the_names_and_addresses() {
    let ca = CertificateAuthority::generate("seed", Lifetime::starting(NOW, 365 * DAY)).unwrap();
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let lifetime = Lifetime::starting(NOW, DAY);
    let issued = ca
        .server_certificate("apiserver", &["localhost", "seed.local"], &addresses, lifetime)
        .unwrap();
    assert_signed_by(&issued.cert_pem, &ca.cert_pem);
    with_certificate(&issued.cert_pem, |certificate| {
        let names = certificate.subject_alternative_name().unwrap().unwrap().value;
        let expected = [
            GeneralName::DNSName("localhost"),
            GeneralName::DNSName("seed.local"),
            GeneralName::IPAddress(&[127, 0, 0, 1]),
            GeneralName::IPAddress(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ];
        assert_eq!(names.general_names, expected);
        assert!(
            certificate
                .extended_key_usage()
                .unwrap()
                .unwrap()
                .value
                .server_auth
        );
    });
    let peer = ca
        .peer_certificate("etcd", &["localhost"], &addresses, lifetime)
        .unwrap();
    with_certificate(&peer.cert_pem, |certificate| {
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth);
    });
}

#[test]
fn times_that_certificates_cannot_say_are_refused() {
    for (not_before, not_after) in [(-1, NOW), (NOW, i64::MAX)] {
        let error = CertificateAuthority::generate(
            "ca",
            Lifetime {
                not_before,
                not_after,
            },
        )
        .unwrap_err();
        assert!(matches!(error, PkiError::Time { .. }));
    }
}

#[test]
fn debug_shows_no_key() {
    let pki = ClusterPki::generate(NOW).unwrap();
    let issued = pki
        .ca
        .client_certificate("a", None, Lifetime::starting(NOW, DAY))
        .unwrap();
    let text = format!("{pki:?} {issued:?} {:?}", pki.files("/p"));
    assert!(!text.contains("PRIVATE KEY"), "{text}");
}

/// Made with openssl, and its hash with `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum`.
const FOREIGN: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBgDCCASWgAwIBAgIUWAls1ic6m5GZO+qTJI+7+5+SMuEwCgYIKoZIzj0EAwIw\n\
FTETMBEGA1UEAwwKa3ViZXJuZXRlczAeFw0yNjExMjExMjM5MzVaFw0zNjExMTgx\n\
MjM5MzVaMBUxEzARBgNVBAMMCmt1YmVybmV0ZXMwWTATBgcqhkjOPQIBBggqhkjO\n\
PQMBBwNCAAR91V/oOtM1FeK2NRk+S7i/VB6A+pwNAiHiHkstZneZYXphYYC1H3t9\n\
1kx5VaBrXwwEiw+LZLQShq4HzWBXwQwQo1MwUTAdBgNVHQ4EFgQUidcQxlinQ7dy\n\
KhhYiTWVgL96ssUwHwYDVR0jBBgwFoAUidcQxlinQ7dyKhhYiTWVgL96ssUwDwYD\n\
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAp+42JraZZ52t8YPCwSou\n\
l2Vg5EEvFVKtkXtAnhAE660CIQCrhpn72y4ME6Br/w6v98s55TZpo7Ih1u/HXVHK\n\
OpRVxw==\n\
-----END CERTIFICATE-----\n";

#[test]
fn the_discovery_hash_is_that_of_kubeadms_documentation() {
    let authority = CertificateAuthority {
        cert_pem: FOREIGN.into(),
        key_pem: String::new(),
    };
    assert_eq!(
        authority.discovery_hash().unwrap(),
        "sha256:a189850e7ed952ccb26cd7012d4c15363927453d1712bed9ec4c6290b0307ed0"
    );
}
