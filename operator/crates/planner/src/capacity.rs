//! Whether a host has room for one more machine.

use seedbed_crds::quantity::display;

/// What a host may promise to machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the host, in bytes.
    pub memory_bytes: u64,
    /// Memory that is never promised, in bytes.
    pub reserved_memory_bytes: u64,
    /// How much of the rest may be promised, in percent.
    pub memory_percent: u32,
    /// Size of the storage pool, in bytes.
    pub disk_bytes: u64,
    /// How much of it may be promised, in percent.
    pub disk_percent: u32,
}

/// What a machine wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Disk, in bytes.
    pub disk_bytes: u64,
}

/// Whether the machine fits beside those that come before it; if not, the numbers and what to do.
///
/// Which machines come before is the caller's choice and has to be the same for every machine that is asked for, so that no
/// two of them count on the same memory.
pub fn admit(host: &str, limits: &Limits, promised: &[Demand], wanted: Demand) -> Result<(), String> {
    let memory = share(
        limits.memory_bytes.saturating_sub(limits.reserved_memory_bytes),
        limits.memory_percent,
    );
    let disk = share(limits.disk_bytes, limits.disk_percent);
    let promised_memory: u64 = promised.iter().map(|d| d.memory_bytes).sum();
    let promised_disk: u64 = promised.iter().map(|d| d.disk_bytes).sum();
    if promised_memory + wanted.memory_bytes > memory {
        return Err(format!(
            "host {host} has {} left of {} of memory for machines ({} in all, {} reserved, {} % of the rest may be promised), and this machine wants {}: remove machines, make this one smaller, or raise the host's memoryOvercommitPercent",
            display(memory.saturating_sub(promised_memory)),
            display(memory),
            display(limits.memory_bytes),
            display(limits.reserved_memory_bytes),
            limits.memory_percent,
            display(wanted.memory_bytes),
        ));
    }
    if promised_disk + wanted.disk_bytes > disk {
        return Err(format!(
            "host {host} has {} left of {} of disk for machines (its pool has {}, {} % may be promised), and this machine wants {}: remove machines, make this one's disk smaller, or raise the host's diskOvercommitPercent",
            display(disk.saturating_sub(promised_disk)),
            display(disk),
            display(limits.disk_bytes),
            limits.disk_percent,
            display(wanted.disk_bytes),
        ));
    }
    Ok(())
}

/// Whether snapshots of that size fit beside all machines; if not, the numbers and what to do.
pub fn admit_snapshots(host: &str, limits: &Limits, promised: &[Demand], bytes: u64) -> Result<(), String> {
    let disk = share(limits.disk_bytes, limits.disk_percent);
    let promised: u64 = promised.iter().map(|d| d.disk_bytes).sum();
    let left = disk.saturating_sub(promised);
    if bytes <= left {
        return Ok(());
    }
    Err(format!(
        "host {host} has {} left of {} of disk for machines, and snapshots of the control planes' disks take up to {}: remove machines, or raise the host's diskOvercommitPercent",
        display(left),
        display(disk),
        display(bytes),
    ))
}

fn share(bytes: u64, percent: u32) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GI: u64 = 1 << 30;
    const LIMITS: Limits = Limits {
        memory_bytes: 16 * GI,
        reserved_memory_bytes: 2 * GI,
        memory_percent: 100,
        disk_bytes: 100 * GI,
        disk_percent: 100,
    };

    fn demand(memory: u64, disk: u64) -> Demand {
        Demand {
            memory_bytes: memory * GI,
            disk_bytes: disk * GI,
        }
    }

    #[test]
    fn what_fits_is_admitted_to_the_last_byte() {
        assert_eq!(admit("h", &LIMITS, &[demand(10, 50)], demand(4, 50)), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_numbers() {
        let memory = admit("h", &LIMITS, &[demand(10, 20)], demand(5, 20)).unwrap_err();
        assert!(
            memory.contains("4.0Gi left of 14.0Gi") && memory.contains("wants 5.0Gi"),
            "{memory}"
        );
        let disk = admit("h", &LIMITS, &[demand(1, 90)], demand(1, 20)).unwrap_err();
        assert!(
            disk.contains("10.0Gi left of 100.0Gi") && disk.contains("wants 20.0Gi"),
            "{disk}"
        );
    }

    #[test]
    fn snapshots_have_to_fit_beside_all_machines() {
        let promised = [demand(4, 50), demand(4, 30)];
        assert_eq!(admit_snapshots("h", &LIMITS, &promised, 20 * GI), Ok(()));
        let message = admit_snapshots("h", &LIMITS, &promised, 21 * GI).unwrap_err();
        assert!(
            message.contains("20.0Gi left of 100.0Gi") && message.contains("up to 21.0Gi"),
            "{message}"
        );
    }

    #[test]
    fn overcommit_is_the_hosts_choice() {
        let limits = Limits {
            memory_percent: 200,
            ..LIMITS
        };
        assert_eq!(admit("h", &limits, &[demand(20, 1)], demand(8, 1)), Ok(()));
    }
}
