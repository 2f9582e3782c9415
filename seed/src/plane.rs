//! The seed's control plane: etcd and kube-apiserver, supervised.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    credentials,
    error::{Error, Result},
    files,
    instance::{Instance, Mode, Settings},
    kubectl::Kubectl,
    supervisor::{Unit, revision_of},
};

/// On an idle machine it takes two seconds; one that runs emulated guests is much slower.
const READY_LIMIT: Duration = Duration::from_mins(2);

/// Who did what to which object, without contents: enough to count the operator's writes. What kube-apiserver does for
/// itself is left out.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [\"system:apiserver\"]
- level: None
  nonResourceURLs: [\"/livez*\", \"/readyz*\", \"/healthz*\", \"/openapi*\"]
- level: Metadata
";

/// The units of etcd and kube-apiserver. `programs` is the folder that holds the two.
pub(crate) fn units(instance: &Instance, settings: &Settings, programs: &Path) -> Result<[Unit; 2]> {
    files::write(
        &instance.path("audit-policy.yaml"),
        AUDIT_POLICY.as_bytes(),
        files::PUBLIC,
    )?;
    Ok([
        etcd(instance, settings, programs)?,
        apiserver(instance, settings, programs)?,
    ])
}

fn etcd(instance: &Instance, settings: &Settings, programs: &Path) -> Result<Unit> {
    let client = format!("https://127.0.0.1:{}", settings.etcd_port());
    let peer = format!("https://127.0.0.1:{}", settings.etcd_peer_port());
    let pki = |name: &str| credentials::folder(instance).join(name).display().to_string();
    let data = instance.path("etcd");
    let arguments = [
        ("name", "seed".to_owned()),
        ("data-dir", data.display().to_string()),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("initial-cluster", format!("seed={peer}")),
        ("cert-file", pki("etcd.crt")),
        ("key-file", pki("etcd.key")),
        ("trusted-ca-file", pki("etcd-ca.crt")),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", pki("etcd.crt")),
        ("peer-key-file", pki("etcd.key")),
        ("peer-trusted-ca-file", pki("etcd-ca.crt")),
        ("peer-client-cert-auth", "true".to_owned()),
        ("log-level", "warn".to_owned()),
        ("snapshot-count", "10000".to_owned()),
    ];
    unit(instance, settings, programs, "etcd", 20, &arguments)
}

fn apiserver(instance: &Instance, settings: &Settings, programs: &Path) -> Result<Unit> {
    let pki = |name: &str| credentials::folder(instance).join(name).display().to_string();
    let arguments = [
        (
            "etcd-servers",
            format!("https://127.0.0.1:{}", settings.etcd_port()),
        ),
        ("etcd-cafile", pki("etcd-ca.crt")),
        ("etcd-certfile", pki("apiserver-etcd-client.crt")),
        ("etcd-keyfile", pki("apiserver-etcd-client.key")),
        ("bind-address", "127.0.0.1".to_owned()),
        ("advertise-address", "127.0.0.1".to_owned()),
        ("secure-port", settings.api_port().to_string()),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
        ("client-ca-file", pki("ca.crt")),
        ("anonymous-auth", "false".to_owned()),
        ("authorization-mode", "RBAC".to_owned()),
        (
            "service-account-issuer",
            "https://kubernetes.default.svc".to_owned(),
        ),
        ("service-account-key-file", pki("sa.pub")),
        ("service-account-signing-key-file", pki("sa.key")),
        ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
        // Nothing runs in the seed that would look for its API server in a Service.
        ("endpoint-reconciler-type", "none".to_owned()),
        (
            "audit-policy-file",
            instance.path("audit-policy.yaml").display().to_string(),
        ),
        ("audit-log-path", instance.audit_log().display().to_string()),
        ("audit-log-maxsize", "100".to_owned()),
        ("audit-log-maxbackup", "2".to_owned()),
        ("profiling", "false".to_owned()),
    ];
    unit(instance, settings, programs, "kube-apiserver", 30, &arguments)
}

fn unit(
    instance: &Instance,
    settings: &Settings,
    programs: &Path,
    name: &str,
    order: u8,
    arguments: &[(&str, String)],
) -> Result<Unit> {
    let program = programs.join(name);
    let keys = credentials::folder(instance).join("ca.crt");
    let policy = instance.path("audit-policy.yaml");
    Ok(Unit {
        name: name.to_owned(),
        order,
        revision: revision_of(&[&program, &keys, &policy])?,
        program: program.display().to_string(),
        arguments: arguments
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"))
            .collect(),
        environment: BTreeMap::new(),
        inside: settings.mode == Mode::Namespace,
        patience_seconds: 15,
    })
}

/// Waits until the API server says that it is ready.
pub(crate) fn wait_until_ready(instance: &Instance, kubectl: &Kubectl) -> Result<()> {
    let until = Instant::now() + READY_LIMIT;
    loop {
        let found = match kubectl.run("ask whether the seed is ready", &["get", "--raw", "/readyz"]) {
            Ok(_) => return Ok(()),
            Err(error @ Error::Command { .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        if Instant::now() > until {
            return Err(Error::TimedOut {
                what: "the seed's API server did not get ready".to_owned(),
                limit: READY_LIMIT,
                found,
                log: instance.log("kube-apiserver"),
            });
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::folder;

    #[test]
    fn no_secret_is_an_argument_and_everything_listens_on_loopback() {
        let root = folder("plane");
        let instance = Instance::below(&root, "t").unwrap();
        credentials::ensure(&instance).unwrap();
        for program in ["etcd", "kube-apiserver"] {
            std::fs::write(root.join(program), "").unwrap();
        }
        let settings = Settings {
            mode: Mode::Namespace,
            slot: 0,
        };
        for unit in units(&instance, &settings, &root).unwrap() {
            let line = unit.arguments.join(" ");
            assert!(!line.contains("PRIVATE KEY"), "{line}");
            assert!(
                !line.contains("=0.0.0.0") && !line.contains("//0.0.0.0"),
                "{line}"
            );
            assert!(unit.inside);
        }
    }
}
