//! The seed's authorities, certificates and kubeconfigs. Made once; they last as long as the instance.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use seedbed_kubeadm::{
    kubeconfig::{Credentials, Kubeconfig},
    pki::{CertificateAuthority, IssuedCertificate, KeyPairPem, Lifetime},
};

use crate::{
    error::{Error, Result},
    files,
    instance::{Instance, Mode, Settings},
};

/// The user that the operator is to the seed's API server.
pub const OPERATOR_USER: &str = "seedbed-operator";
/// The name of the seed's context in every kubeconfig.
pub const SEED_CONTEXT: &str = "seed";

/// An instance is not expected to live longer than its authorities: both have ten years.
const LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// Where keys and certificates are.
pub(crate) fn folder(instance: &Instance) -> PathBuf {
    instance.path("pki")
}

/// Makes all keys and certificates where there are none. Returns whether they were made.
pub(crate) fn ensure(instance: &Instance) -> Result<bool> {
    let folder = folder(instance);
    if folder.exists() {
        return Ok(false);
    }
    let unfinished = instance.path("pki.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(Error::file("remove", &unfinished))?;
    }
    files::create_folder(&unfinished)?;
    set_private(&unfinished)?;
    make(&unfinished)?;
    // The folder gets its name when it is whole.
    fs::rename(&unfinished, &folder).map_err(Error::file("rename", &unfinished))?;
    Ok(true)
}

fn set_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(Error::file("protect", folder))
}

fn make(folder: &Path) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let lifetime = Lifetime::starting(i64::try_from(now).unwrap_or(i64::MAX), LIFETIME);
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let ca = CertificateAuthority::generate("seed", lifetime)?;
    let etcd_ca = CertificateAuthority::generate("seed-etcd", lifetime)?;
    let service_account = KeyPairPem::generate("the seed's service account key")?;

    write_pair(folder, "ca", &ca.cert_pem, &ca.key_pem)?;
    write_pair(folder, "etcd-ca", &etcd_ca.cert_pem, &etcd_ca.key_pem)?;
    files::write(
        &folder.join("sa.pub"),
        service_account.public.as_bytes(),
        files::PUBLIC,
    )?;
    files::write(
        &folder.join("sa.key"),
        service_account.private.as_bytes(),
        files::SECRET,
    )?;

    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    ];
    let issue =
        |name: &str, issued: &IssuedCertificate| write_pair(folder, name, &issued.cert_pem, &issued.key_pem);
    issue(
        "apiserver",
        &ca.server_certificate("kube-apiserver", &names, &loopback, lifetime)?,
    )?;
    issue(
        "etcd",
        &etcd_ca.peer_certificate("etcd", &["localhost"], &loopback, lifetime)?,
    )?;
    issue(
        "apiserver-etcd-client",
        &etcd_ca.client_certificate("kube-apiserver", None, lifetime)?,
    )?;
    issue(
        "admin",
        &ca.client_certificate("seed-admin", Some("system:masters"), lifetime)?,
    )?;
    issue("operator", &ca.client_certificate(OPERATOR_USER, None, lifetime)?)
}

fn write_pair(folder: &Path, name: &str, certificate: &str, key: &str) -> Result<()> {
    files::write(
        &folder.join(format!("{name}.crt")),
        certificate.as_bytes(),
        files::PUBLIC,
    )?;
    files::write(&folder.join(format!("{name}.key")), key.as_bytes(), files::SECRET).map(drop)
}

/// Writes the kubeconfigs of administrator and operator, for what runs inside the namespaces.
pub(crate) fn write_kubeconfigs(instance: &Instance, settings: &Settings) -> Result<()> {
    let admin = kubeconfig(instance, settings, "admin", false)?;
    files::write(&instance.admin_kubeconfig(), admin.as_bytes(), files::SECRET)?;
    let operator = kubeconfig(instance, settings, "operator", false)?;
    files::write(
        &instance.operator_kubeconfig(),
        operator.as_bytes(),
        files::SECRET,
    )?;
    Ok(())
}

/// The kubeconfig of the seed's administrator as it is used outside the namespaces, or inside.
pub(crate) fn seed_kubeconfig(instance: &Instance, settings: &Settings, outside: bool) -> Result<String> {
    kubeconfig(instance, settings, "admin", outside)
}

/// The proxy that a kubeconfig outside the namespaces has to name; none where the instance has no namespaces.
pub(crate) fn proxy_url(settings: &Settings) -> Option<String> {
    (settings.mode == Mode::Namespace).then(|| format!("http://127.0.0.1:{}", settings.proxy_port()))
}

fn kubeconfig(instance: &Instance, settings: &Settings, who: &str, outside: bool) -> Result<String> {
    let folder = folder(instance);
    let read = |name: String| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(Error::file("read", path))
    };
    let file = Kubeconfig {
        server: format!("https://127.0.0.1:{}", settings.api_port()),
        ca_pem: read("ca.crt".to_owned())?,
        credentials: Credentials::Certificate(IssuedCertificate {
            cert_pem: read(format!("{who}.crt"))?,
            key_pem: read(format!("{who}.key"))?,
        }),
        cluster: SEED_CONTEXT.to_owned(),
        user: format!("{SEED_CONTEXT}-{who}"),
        context: SEED_CONTEXT.to_owned(),
        proxy_url: proxy_url(settings).filter(|_| outside),
        tls_server_name: None,
    };
    Ok(file.render()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing;

    #[test]
    fn keys_are_made_once_and_kept_from_others() {
        let root = testing::folder("pki");
        let instance = Instance::below(&root, "t").unwrap();
        files::create_folder(&instance.path("pki.unfinished")).unwrap();
        assert!(ensure(&instance).unwrap(), "also after an interruption");
        let key = folder(&instance).join("ca.key");
        let first = fs::read(&key).unwrap();
        assert!(!ensure(&instance).unwrap());
        assert_eq!(fs::read(&key).unwrap(), first);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(folder(&instance)).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn only_the_outside_goes_through_the_proxy_and_the_operator_is_no_administrator() {
        let root = testing::folder("kubeconfig");
        let instance = Instance::below(&root, "t").unwrap();
        ensure(&instance).unwrap();
        let settings = Settings {
            mode: Mode::Namespace,
            slot: 1,
        };
        assert!(
            seed_kubeconfig(&instance, &settings, true)
                .unwrap()
                .contains("proxy-url: ")
        );
        assert!(
            !seed_kubeconfig(&instance, &settings, false)
                .unwrap()
                .contains("proxy-url")
        );
        write_kubeconfigs(&instance, &settings).unwrap();
        let operator = fs::read_to_string(instance.operator_kubeconfig()).unwrap();
        assert!(operator.contains("seed-operator") && !operator.contains("seed-admin"));
    }
}
