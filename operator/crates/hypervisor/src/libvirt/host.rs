//! The host as a whole.

use std::ffi::c_int;
use std::ptr::null_mut;

use virt::error::Error;
use virt::sys;

use super::errors::{Meaning, meaning};
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
            memory_bytes: self.memory_total()?.unwrap_or(node.memory) << 10,
            pool_capacity_bytes: pool.capacity,
            pool_available_bytes: pool.available,
        })
    }

    /// Memory of the host in KiB, as its kernel counts it; none where the driver does not tell. What `virNodeGetInfo` says is the
    /// sum over NUMA cells, which changes while a cell's pages come and go on a host that is itself a guest.
    fn memory_total(&self) -> Result<Option<u64>, Fault> {
        let all = sys::VIR_NODE_MEMORY_STATS_ALL_CELLS;
        let mut count: c_int = 0;
        // SAFETY: the connection lives until the call returns; without a place to write to, libvirt writes only the count.
        let asked =
            unsafe { sys::virNodeGetMemoryStats(self.connect.as_ptr(), all, null_mut(), &raw mut count, 0) };
        if asked < 0 {
            let error = Error::last_error();
            return match meaning(&error) {
                Meaning::Unsupported => Ok(None),
                _ => Err(self.fault(&error)),
            };
        }
        let empty = sys::virNodeMemoryStats {
            field: [0; 80],
            value: 0,
        };
        let mut stats = vec![empty; usize::try_from(count).unwrap_or_default()];
        // SAFETY: the buffer has as many places as `count` says, and libvirt writes no more than that.
        let read = unsafe {
            sys::virNodeGetMemoryStats(self.connect.as_ptr(), all, stats.as_mut_ptr(), &raw mut count, 0)
        };
        if read < 0 {
            return Err(self.fault(&Error::last_error()));
        }
        let is_total = |stat: &&sys::virNodeMemoryStats| {
            let name: Vec<u8> = stat
                .field
                .iter()
                .map(|c| c.to_ne_bytes()[0])
                .take_while(|b| *b != 0)
                .collect();
            name == b"total"
        };
        Ok(stats.iter().find(is_total).map(|stat| stat.value))
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
