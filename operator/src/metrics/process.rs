//! What the operator's process takes of the machine, from `/proc/self`.

use std::fs;

use prometheus::{Counter, IntGauge, Registry};

/// Ticks per second of the times in `/proc/self/stat`: a constant of Linux' interface (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessMetrics {
    cpu_seconds: Counter,
    resident: IntGauge,
    resident_peak: IntGauge,
    threads: IntGauge,
    open_files: IntGauge,
}

impl ProcessMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cpu_seconds = Counter::new(
            "process_cpu_seconds_total",
            "Processor time of the operator, user and system.",
        )?;
        registry.register(Box::new(cpu_seconds.clone()))?;
        Ok(Self {
            cpu_seconds,
            resident: gauge(
                "process_resident_memory_bytes",
                "Memory of the operator that is in RAM.",
            )?,
            resident_peak: gauge(
                "process_resident_memory_peak_bytes",
                "The most memory of the operator that ever was in RAM.",
            )?,
            threads: gauge("process_threads", "Threads of the operator.")?,
            open_files: gauge("process_open_fds", "Open files and connections of the operator.")?,
        })
    }

    /// Reads them anew. What cannot be read stays as it was.
    pub(super) fn update(&self) {
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            for line in status.lines() {
                let Some((key, value)) = line.split_once(':') else {
                    continue;
                };
                let number = value
                    .split_whitespace()
                    .next()
                    .and_then(|number| number.parse::<i64>().ok());
                let Some(number) = number else { continue };
                match key {
                    "VmRSS" => self.resident.set(number * 1024),
                    "VmHWM" => self.resident_peak.set(number * 1024),
                    "Threads" => self.threads.set(number),
                    _ => {}
                }
            }
        }
        if let Some(seconds) = fs::read_to_string("/proc/self/stat")
            .ok()
            .as_deref()
            .and_then(cpu_seconds)
        {
            self.cpu_seconds
                .inc_by((seconds - self.cpu_seconds.get()).max(0.0));
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.open_files
                .set(i64::try_from(files.count()).unwrap_or(i64::MAX));
        }
    }
}

/// User and system time out of `/proc/self/stat` (its manual page `proc_pid_stat(5)`, fields 14 and 15). The name, field 2, may hold anything, so
/// that fields are counted from its last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_whatever_the_name_holds() {
        let stat = "42 (a ) b) S 1 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 100";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }
}
