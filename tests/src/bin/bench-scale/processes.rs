//! What the processes of the measurement took.

use std::fs;

use seedbed_seed::Instance;
use serde_json::{Value, json};

/// Processor time, in seconds, of each process since it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// The operator.
    pub operator: f64,
    apiserver: f64,
    etcd: f64,
    simulator: f64,
}

impl Spent {
    /// Of an instance, now.
    pub fn of(instance: &Instance) -> Self {
        // Once it is stopped for good, the operator takes nothing more.
        let running = |unit: &str| instance.process(unit).ok().flatten();
        let seconds = |unit: &str| running(unit).map_or(0.0, |process| processor_seconds(process.pid));
        Self {
            operator: seconds("operator"),
            apiserver: seconds("kube-apiserver"),
            etcd: seconds("etcd"),
            simulator: seconds("simulator"),
        }
    }

    /// Since an earlier look.
    pub fn since(self, earlier: &Self) -> Self {
        Self {
            operator: self.operator - earlier.operator,
            apiserver: self.apiserver - earlier.apiserver,
            etcd: self.etcd - earlier.etcd,
            simulator: self.simulator - earlier.simulator,
        }
    }

    /// That of the API server and its etcd.
    pub fn seed(self) -> f64 {
        self.apiserver + self.etcd
    }

    /// That of all but the operator.
    pub fn others(self) -> Value {
        json!({"kube-apiserver": self.apiserver, "etcd": self.etcd, "simulator": self.simulator})
    }
}

/// The number of a unit's process.
pub fn pid(instance: &Instance, unit: &str) -> i32 {
    instance
        .process(unit)
        .unwrap()
        .unwrap_or_else(|| panic!("{unit} does not run: see {}", instance.log(unit).display()))
        .pid
}

/// The most memory that a process ever had, in bytes.
pub fn peak_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn processor_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // Linux counts in hundredths of a second on every architecture that there is a Seedbed for.
    ticks as f64 / 100.0
}
