//! What a host may promise to machines, and what it has promised.

use seedbed_crds::{HypervisorHostSpec, MachineResources, quantity};
use seedbed_hypervisor::HostFacts;
use seedbed_planner::capacity::{Demand, Limits};

/// What the host may promise.
pub fn limits(facts: &HostFacts, spec: &HypervisorHostSpec) -> Limits {
    Limits {
        memory_bytes: facts.memory_bytes,
        reserved_memory_bytes: quantity::bytes(&spec.reserved_memory).unwrap_or(0),
        memory_percent: u32::try_from(spec.memory_overcommit_percent).unwrap_or(0),
        disk_bytes: facts.pool_capacity_bytes,
        disk_percent: u32::try_from(spec.disk_overcommit_percent).unwrap_or(0),
    }
}

/// What a machine of that size wants.
pub fn demand(machine: &MachineResources) -> Demand {
    Demand {
        memory_bytes: quantity::bytes(&machine.memory).unwrap_or(0),
        disk_bytes: quantity::bytes(&machine.disk).unwrap_or(0),
    }
}
