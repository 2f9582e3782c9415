//! Making the backend that a `HypervisorHost` asks for.

use std::sync::Arc;

use kube::ResourceExt;
use seedbed_crds::{HypervisorHost, LibvirtHost, SimulatedHost, duration, quantity};
use seedbed_hypervisor::simulator::wire::{Durations, Settings};
use seedbed_hypervisor::simulator::{Simulator, SimulatorConfig};
use seedbed_hypervisor::{Hypervisor, Unavailable};

/// Makes the backend that the host asks for. Returns at once: a host that cannot be reached says so at each call, and a backend
/// that cannot be made is one whose every call says why.
pub fn open(host: &HypervisorHost) -> Arc<dyn Hypervisor> {
    let spec = &host.spec;
    let made = match (&spec.libvirt, &spec.simulated) {
        (Some(libvirt), None) => self::libvirt(libvirt),
        (None, Some(simulated)) => self::simulated(&host.name_any(), simulated),
        _ => Err("its spec has to have exactly one of libvirt and simulated".to_owned()),
    };
    match made {
        Ok(hypervisor) => hypervisor,
        Err(why) => {
            let host = host.name_any();
            tracing::error!(host, "no backend for the HypervisorHost: {why}");
            Arc::new(Unavailable::new(why))
        }
    }
}

#[cfg(feature = "libvirt")]
fn libvirt(spec: &LibvirtHost) -> Result<Arc<dyn Hypervisor>, String> {
    use seedbed_hypervisor::libvirt::{Libvirt, LibvirtConfig, Limits};

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
fn libvirt(spec: &LibvirtHost) -> Result<Arc<dyn Hypervisor>, String> {
    Err(format!(
        "spec.libvirt.uri is {}, and this operator was built without libvirt; run one that was built with its feature `libvirt`",
        spec.uri
    ))
}

fn simulated(name: &str, spec: &SimulatedHost) -> Result<Arc<dyn Hypervisor>, String> {
    let size = |field: &str, text: &str| {
        quantity::bytes(text).ok_or_else(|| {
            format!("spec.simulated.{field}: found {text:?}, expected a quantity in Mi, Gi or Ti")
        })
    };
    let length = |field: &str, text: &str| {
        duration::parse(text).ok_or_else(|| {
            format!("spec.simulated.durations.{field}: found {text:?}, expected a number and ms, s or m")
        })
    };
    let durations = &spec.durations;
    let settings = Settings {
        cpus: u32::try_from(spec.cpus).unwrap_or(1),
        memory_bytes: size("memory", &spec.memory)?,
        pool_capacity_bytes: size("storage", &spec.storage)?,
        durations: Durations {
            boot: length("boot", &durations.boot)?,
            api_server: length("apiServer", &durations.api_server)?,
            init: length("init", &durations.init)?,
            join: length("join", &durations.join)?,
            node_ready: length("nodeReady", &durations.node_ready)?,
            dns: length("dns", &durations.dns)?,
        },
        hangs: spec.hangs,
    };
    Ok(Arc::new(Simulator::start(SimulatorConfig {
        socket: (&spec.socket).into(),
        host: name.to_owned(),
        settings,
    })))
}
