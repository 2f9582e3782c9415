//! What is told of `NodePool`s.

use prometheus::Registry;

use super::objects::ObjectGauge;

/// How many machines pools should have, have, and have Ready.
#[derive(Debug)]
pub(super) struct PoolGauges([ObjectGauge; 3]);

impl PoolGauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge =
            |name: &str, help: &str| ObjectGauge::new(registry, name, help, &["namespace", "name"], &[]);
        Ok(Self([
            gauge(
                "seedbed_nodepool_spec_replicas",
                "How many workers a NodePool should have.",
            )?,
            gauge(
                "seedbed_nodepool_status_replicas",
                "How many machines a NodePool has.",
            )?,
            gauge(
                "seedbed_nodepool_status_replicas_ready",
                "How many machines of a NodePool are Ready nodes.",
            )?,
        ]))
    }

    /// Wanted, present and Ready machines of the pool.
    pub(super) fn set(&self, pool: &[String], replicas: [i32; 3]) {
        for (gauge, value) in self.0.iter().zip(replicas) {
            gauge.replace(pool, [(Vec::new(), f64::from(value))]);
        }
    }

    pub(super) fn remove(&self, pool: &[String]) {
        for gauge in &self.0 {
            gauge.replace(pool, []);
        }
    }
}
