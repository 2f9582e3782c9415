//! The host as a whole.

use super::session::Session;
use super::xml::Guests;
use crate::{Fault, HostFacts, Inventory};

impl Session {
    pub(super) fn host(&self) -> Result<HostFacts, Fault> {
        let fault = |error| self.fault(&error);
        let node = self.connect.node_info().map_err(fault)?;
        let pool = self.storage_pool()?.info().map_err(fault)?;
        let name = match self.guests {
            Guests::Qemu => "QEMU",
            Guests::Test => "libvirt test driver",
        };
        Ok(HostFacts {
            hostname: self.connect.hostname().map_err(fault)?,
            hypervisor_version: format!("{name} {}", version(self.connect.hyp_version().map_err(fault)?)),
            manager_version: format!("libvirt {}", version(self.connect.lib_version().map_err(fault)?)),
            cpus: node.cpus,
            memory_bytes: node.memory << 10,
            pool_capacity_bytes: pool.capacity,
            pool_available_bytes: pool.available,
        })
    }

    pub(super) fn inventory(&self) -> Result<Inventory, Fault> {
        Ok(Inventory {
            domains: self.domains()?,
            networks: self.networks()?,
            volumes: self.volumes()?,
        })
    }
}

/// libvirt packs versions as major * 1,000,000 + minor * 1,000 + release.
fn version(packed: u32) -> String {
    format!(
        "{}.{}.{}",
        packed / 1_000_000,
        packed / 1_000 % 1_000,
        packed % 1_000
    )
}
