//! Making the backend that a `HypervisorHost` asks for.

use std::sync::Arc;

use kube::ResourceExt;
use seedbed_crds::HypervisorHost;
use seedbed_hypervisor::{Hypervisor, Unavailable};

/// Makes the backend that the host asks for. Returns at once: a host that cannot be reached says so at each call, and a backend
/// that cannot be made is one whose every call says why.
pub fn open(host: &HypervisorHost) -> Arc<dyn Hypervisor> {
    match libvirt(host) {
        Ok(hypervisor) => hypervisor,
        Err(why) => {
            let host = host.name_any();
            tracing::error!(host, "no backend for the HypervisorHost: {why}");
            Arc::new(Unavailable::new(why))
        }
    }
}

#[cfg(feature = "libvirt")]
fn libvirt(host: &HypervisorHost) -> Result<Arc<dyn Hypervisor>, String> {
    use seedbed_hypervisor::libvirt::{Libvirt, LibvirtConfig, Limits};

    let spec = &host.spec.libvirt;
    let config = LibvirtConfig {
        uri: spec.uri.clone(),
        pool: spec.storage_pool.clone(),
        limits: Limits::default(),
    };
    match Libvirt::start(config) {
        Ok(hypervisor) => Ok(Arc::new(hypervisor)),
        Err(fault) => Err(fault.to_string()),
    }
}

#[cfg(not(feature = "libvirt"))]
fn libvirt(host: &HypervisorHost) -> Result<Arc<dyn Hypervisor>, String> {
    Err(format!(
        "spec.libvirt.uri is {}, and this operator was built without libvirt; run one that was built with its feature `libvirt`",
        host.spec.libvirt.uri
    ))
}
