//! What is left of an instance on the machine's own libvirt, and nobody else's.
//!
//! A domain is the instance's if it carries the operator's metadata and has a disk in the instance's own storage pool; a
//! network is if it carries the metadata and lies in the instance's address range.

use crate::{
    error::{Error, Result},
    instance::{Instance, Settings, range_number},
    libvirt::{names, pool_folder, virsh},
};

/// The XML namespace of the operator's metadata.
const METADATA: &str = "https://seedbed.dev/libvirt/";

/// Removes domains, networks, volumes and the pool. Returns what was removed.
pub(crate) fn remove(instance: &Instance, settings: &Settings) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    let run = |purpose: &str, arguments: &[&str]| virsh(instance, settings, purpose, arguments);
    let list = |purpose: &str, arguments: &[&str]| names(instance, settings, purpose, arguments);
    let pool = settings.storage_pool(instance);

    let running = list("list the running domains", &["list", "--name"])?;
    for domain in list("list the domains", &["list", "--all", "--name"])? {
        let xml = run("read a domain", &["dumpxml", &domain])?;
        if !is_our_domain(&xml, &pool, &pool_folder(instance).display().to_string()) {
            continue;
        }
        if running.contains(&domain) {
            run("stop a domain of this instance", &["destroy", &domain])?;
        }
        let flags = [
            "--managed-save",
            "--snapshots-metadata",
            "--checkpoints-metadata",
            "--nvram",
        ];
        run(
            "remove a domain of this instance",
            &[&["undefine", &domain][..], &flags].concat(),
        )?;
        removed.push(format!("domain {domain}"));
    }
    let active = list("list the active networks", &["net-list", "--name"])?;
    for network in list("list the networks", &["net-list", "--all", "--name"])? {
        let xml = run("read a network", &["net-dumpxml", &network])?;
        if !is_our_network(&xml, range_number(settings.slot)) {
            continue;
        }
        if active.contains(&network) {
            run("stop a network of this instance", &["net-destroy", &network])?;
        }
        run("remove a network of this instance", &["net-undefine", &network])?;
        removed.push(format!("network {network}"));
    }
    removed.extend(remove_pool(instance, settings, &pool)?);
    Ok(removed)
}

fn remove_pool(instance: &Instance, settings: &Settings, pool: &str) -> Result<Vec<String>> {
    let run = |purpose: &str, arguments: &[&str]| virsh(instance, settings, purpose, arguments);
    let list = |purpose: &str, arguments: &[&str]| names(instance, settings, purpose, arguments);
    let mut removed = Vec::new();
    let name = pool.to_owned();
    if !list("list the storage pools", &["pool-list", "--all", "--name"])?.contains(&name) {
        return Ok(removed);
    }
    if list("list the active storage pools", &["pool-list", "--name"])?.contains(&name) {
        // What still uses the pool now is not ours to remove: machines that were left running on purpose.
        let users = users_of(instance, settings, pool)?;
        if !users.is_empty() {
            return Err(Error::Left {
                what: format!("the storage pool {pool}"),
                left: users
                    .into_iter()
                    .map(|domain| format!("domain {domain}, which was kept (Retain)"))
                    .collect(),
            });
        }
        let mut volumes = 0;
        for line in list("list the volumes", &["vol-list", pool])? {
            if let Some(volume) = line.split_whitespace().next() {
                run("remove a volume", &["vol-delete", volume, "--pool", pool])?;
                volumes += 1;
            }
        }
        removed.push(format!("{volumes} volumes"));
        run("stop the storage pool", &["pool-destroy", pool])?;
    }
    run("remove the storage pool", &["pool-undefine", pool])?;
    removed.push(format!("pool {pool}"));
    Ok(removed)
}

fn users_of(instance: &Instance, settings: &Settings, pool: &str) -> Result<Vec<String>> {
    let folder = pool_folder(instance).display().to_string();
    let mut users = Vec::new();
    for domain in names(
        instance,
        settings,
        "list the domains",
        &["list", "--all", "--name"],
    )? {
        let xml = virsh(instance, settings, "read a domain", &["dumpxml", &domain])?;
        if uses_pool(&xml, pool, &folder) {
            users.push(domain);
        }
    }
    Ok(users)
}

fn is_our_domain(xml: &str, pool: &str, folder: &str) -> bool {
    xml.contains(METADATA) && uses_pool(xml, pool, folder)
}

/// libvirt writes attributes in single quotes.
fn uses_pool(xml: &str, pool: &str, folder: &str) -> bool {
    xml.contains(&format!(" pool='{pool}'")) || xml.contains(&format!("'{folder}/"))
}

fn is_our_network(xml: &str, range: u8) -> bool {
    xml.contains(METADATA) && xml.contains(&format!("<ip address='10.{range}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "<metadata><s:owner xmlns:s='https://seedbed.dev/libvirt/v1'/></metadata>";

    #[test]
    fn metadata_alone_does_not_make_it_ours() {
        let disk = "<source pool='seedbed-a' volume='x'/>";
        assert!(is_our_domain(&format!("{OURS}{disk}"), "seedbed-a", "/s/a/pool"));
        assert!(is_our_domain(
            &format!("{OURS}<source file='/s/a/pool/x'/>"),
            "seedbed-a",
            "/s/a/pool"
        ));
        assert!(!is_our_domain(&format!("{OURS}{disk}"), "seedbed-b", "/s/b/pool"));
        assert!(!is_our_domain(disk, "seedbed-a", "/s/a/pool"));
        assert!(is_our_network(
            &format!("{OURS}<ip address='10.64.1.1' netmask='x'>"),
            64
        ));
        assert!(!is_our_network(
            &format!("{OURS}<ip address='10.65.1.1' netmask='x'>"),
            64
        ));
        assert!(!is_our_network("<ip address='10.64.1.1'>", 64));
    }
}
