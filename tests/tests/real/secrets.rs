//! Where secrets must not be.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seedbed_tests::Cases;

use super::lab::{CLUSTER, domains, objects};

/// One line of each private key of the cluster, which is enough to know it again.
async fn keys(cases: &Cases) -> Vec<String> {
    let mut lines = Vec::new();
    for authority in ["ca", "etcd", "proxy", "sa"] {
        let secret = objects(cases)
            .get("Secret", &format!("{CLUSTER}-{authority}"))
            .await;
        for (name, value) in secret["data"].as_object().unwrap() {
            let text = String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
            if text.contains("PRIVATE KEY") {
                lines.push(
                    text.lines()
                        .nth(1)
                        .unwrap_or_else(|| panic!("{authority}: {name}"))
                        .to_owned(),
                );
            }
        }
    }
    assert!(lines.len() >= 4, "{} keys", lines.len());
    lines
}

/// What looks like a bootstrap token: six letters or digits, a dot, sixteen more, and nothing of the kind around them.
fn token(bytes: &[u8]) -> Option<String> {
    let part = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let other = |b: Option<&u8>| {
        b.is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'-' && *b != b'.' && *b != b'_')
    };
    let dots = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'.')
        .map(|(at, _)| at);
    dots.filter(|dot| *dot >= 6 && dot + 17 <= bytes.len())
        .find(|dot| {
            let (id, secret) = (&bytes[dot - 6..*dot], &bytes[dot + 1..dot + 17]);
            let alone = other(dot.checked_sub(7).and_then(|at| bytes.get(at))) && other(bytes.get(dot + 17));
            let random = secret.iter().any(u8::is_ascii_digit) && secret.iter().any(u8::is_ascii_lowercase);
            alone && random && id.iter().all(part) && secret.iter().all(part)
        })
        .map(|dot| String::from_utf8_lossy(&bytes[dot - 6..dot + 17]).into_owned())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// No key and no token in what a host's other users, or a reader of logs, can see.
pub async fn nowhere(cases: Cases) {
    let keys = keys(&cases).await;
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    let instance = cases.seed.instance();
    for entry in fs::read_dir(instance.folder().join("pool")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains("cidata") {
            places.push((name, fs::read(entry.path()).unwrap()));
        }
    }
    assert!(places.len() >= 2, "the volumes for cloud-init were not found");
    for domain in domains(&cases) {
        let xml = cases
            .seed
            .virsh(&["dumpxml", "--security-info", &domain])
            .unwrap();
        places.push((format!("domain {domain}"), xml.into_bytes()));
    }
    for (place, bytes) in &places {
        assert_eq!(token(bytes), None, "{place}");
        assert!(!contains(bytes, "PRIVATE KEY"), "{place}");
    }
    for unit in ["operator", "libvirtd", "kube-apiserver"] {
        places.push((
            format!("the log of {unit}"),
            fs::read(instance.log(unit)).unwrap(),
        ));
    }
    places.push((
        "the audit log".to_owned(),
        fs::read(instance.audit_log()).unwrap(),
    ));
    for (place, bytes) in &places {
        for key in &keys {
            assert!(!contains(bytes, key), "a private key is in {place}");
        }
    }
    let log = fs::read(instance.log("operator")).unwrap();
    assert_eq!(token(&log), None, "the operator's log");
}
