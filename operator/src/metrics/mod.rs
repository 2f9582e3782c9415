//! What is told at `/metrics`.

mod hosts;
mod objects;
mod pools;
mod process;

use std::time::Duration;

use kube::ResourceExt;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};
use seedbed_crds::{Condition, DevCluster, DevMachine, NodePool};

pub use hosts::HostFigures;
use hosts::HostGauges;
use objects::ObjectGauge;
use pools::PoolGauges;
use process::ProcessMetrics;

/// Upper bounds of durations, in seconds: from a call that is answered from memory to one that runs into its limit.
const SECONDS: [f64; 12] = [
    0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// What the operator counts and measures. Label values are a few fixed words, or names of the operator's own objects; the series
/// of an object go with it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    reconcile_errors: IntCounterVec,
    host_calls: IntCounterVec,
    host_call_seconds: HistogramVec,
    clusters: ObjectGauge,
    cluster_conditions: ObjectGauge,
    machine_phases: ObjectGauge,
    pools: PoolGauges,
    hosts: HostGauges,
    process: ProcessMetrics,
}

impl Metrics {
    /// All at zero. Fails only where a name or label is not one that Prometheus takes.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = IntGaugeVec::new(
            Opts::new("seedbed_build_info", "The operator's version; always 1."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            let vec = HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge = |name: &str, help: &str, object: &[&str], rest: &[&str]| {
            ObjectGauge::new(&registry, name, help, object, rest)
        };
        let namespaced = &["namespace", "name"];
        Ok(Self {
            reconciles: counter(
                "seedbed_reconciles_total",
                "Reconciles, by controller and result.",
                &["controller", "result"],
            )?,
            reconcile_seconds: seconds(
                "seedbed_reconcile_duration_seconds",
                "How long reconciles took, by controller.",
                &["controller"],
            )?,
            reconcile_errors: counter(
                "seedbed_reconcile_errors_total",
                "Reconciles that failed, by controller and kind of error.",
                &["controller", "category"],
            )?,
            host_calls: counter(
                "seedbed_host_calls_total",
                "Calls to hypervisor hosts, by operation and result.",
                &["operation", "result"],
            )?,
            host_call_seconds: seconds(
                "seedbed_host_call_duration_seconds",
                "How long calls to hypervisor hosts took, by operation.",
                &["operation"],
            )?,
            clusters: gauge(
                "seedbed_devcluster_info",
                "DevClusters with their version and host; always 1.",
                namespaced,
                &["version", "host"],
            )?,
            cluster_conditions: gauge(
                "seedbed_devcluster_status_condition",
                "Conditions of DevClusters: 1 for the status that the condition has, 0 for the others.",
                namespaced,
                &["type", "status"],
            )?,
            machine_phases: gauge(
                "seedbed_devmachine_status_phase",
                "DevMachines with their cluster and phase; always 1.",
                namespaced,
                &["cluster", "phase"],
            )?,
            pools: PoolGauges::new(&registry)?,
            hosts: HostGauges::new(&registry)?,
            process: ProcessMetrics::new(&registry)?,
            registry,
        })
    }

    /// Counts a reconcile. `category` is the kind of its error, one of a few fixed words; none where it succeeded.
    pub fn reconciled(&self, controller: &'static str, category: Option<&'static str>, took: Duration) {
        let result = if category.is_none() { "ok" } else { "error" };
        self.reconciles.with_label_values(&[controller, result]).inc();
        self.reconcile_seconds
            .with_label_values(&[controller])
            .observe(took.as_secs_f64());
        if let Some(category) = category {
            self.reconcile_errors
                .with_label_values(&[controller, category])
                .inc();
        }
    }

    /// Counts a call to a host.
    pub fn host_call(&self, operation: &'static str, result: &'static str, took: Duration) {
        self.host_calls.with_label_values(&[operation, result]).inc();
        self.host_call_seconds
            .with_label_values(&[operation])
            .observe(took.as_secs_f64());
    }

    /// Tells of the cluster as its status says it is.
    pub fn cluster(&self, cluster: &DevCluster) {
        let id = id(cluster);
        let conditions = cluster
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.conditions);
        self.cluster_conditions
            .replace(&id, conditions.iter().flat_map(condition_series));
        let labels = vec![cluster.spec.version.clone(), cluster.spec.host_ref.name.clone()];
        self.clusters.replace(&id, [(labels, 1.0)]);
    }

    /// Tells no more of a cluster that is deleted.
    pub fn cluster_gone(&self, namespace: &str, name: &str) {
        let id = [namespace.to_owned(), name.to_owned()];
        self.cluster_conditions.replace(&id, []);
        self.clusters.replace(&id, []);
    }

    /// Tells of the machine as its status says it is.
    pub fn machine(&self, machine: &DevMachine) {
        let phase = machine.status.as_ref().and_then(|status| status.phase.clone());
        let labels = vec![
            machine.spec.cluster_ref.name.clone(),
            phase.unwrap_or_else(|| "Unknown".to_owned()),
        ];
        self.machine_phases.replace(&id(machine), [(labels, 1.0)]);
    }

    /// Tells no more of a machine that is deleted.
    pub fn machine_gone(&self, namespace: &str, name: &str) {
        self.machine_phases
            .replace(&[namespace.to_owned(), name.to_owned()], []);
    }

    /// Tells of the pool as its status says it is.
    pub fn pool(&self, pool: &NodePool) {
        let status = pool.status.as_ref();
        self.pools.set(
            &id(pool),
            [
                pool.spec.replicas,
                status.map_or(0, |status| status.replicas),
                status.map_or(0, |status| status.ready_replicas),
            ],
        );
    }

    /// Tells no more of a pool that is deleted.
    pub fn pool_gone(&self, namespace: &str, name: &str) {
        self.pools.remove(&[namespace.to_owned(), name.to_owned()]);
    }

    /// Tells of the host as it was last seen.
    pub fn host(&self, name: &str, figures: HostFigures) {
        self.hosts.set(&[name.to_owned()], figures);
    }

    /// Tells no more of a host that is deleted.
    pub fn host_gone(&self, name: &str) {
        self.hosts.remove(&[name.to_owned()]);
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        self.process.update();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// Content type of [`Self::render`].
    pub fn content_type() -> &'static str {
        prometheus::TEXT_FORMAT
    }
}

fn id(object: &impl ResourceExt) -> [String; 2] {
    [object.namespace().unwrap_or_default(), object.name_any()]
}

fn condition_series(condition: &Condition) -> impl Iterator<Item = (Vec<String>, f64)> {
    ["True", "False", "Unknown"].into_iter().map(|status| {
        let value = if condition.status == status { 1.0 } else { 0.0 };
        (vec![condition.type_.clone(), status.to_owned()], value)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(ready: &str) -> DevCluster {
        serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "DevCluster",
            "metadata": {"namespace": "default", "name": "demo"},
            "spec": {
                "version": "v1.35.4", "hostRef": {"name": "local"},
                "controlPlane": {"machine": {"cpus": 2, "memory": "3Gi", "disk": "20Gi"}},
            },
            "status": {"conditions": [{
                "type": "Ready", "status": ready, "reason": "AsAsked", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn a_condition_is_one_where_it_has_the_status() {
        let metrics = Metrics::new().unwrap();
        metrics.cluster(&cluster("False"));
        metrics.cluster(&cluster("True"));
        let text = metrics.render().unwrap();
        let line = |status: &str, value: u8| {
            format!(
                r#"seedbed_devcluster_status_condition{{name="demo",namespace="default",status="{status}",type="Ready"}} {value}"#
            )
        };
        assert!(text.contains(&line("True", 1)), "{text}");
        assert!(text.contains(&line("False", 0)), "{text}");
    }

    #[test]
    fn a_deleted_object_leaves_no_series() {
        let metrics = Metrics::new().unwrap();
        metrics.cluster(&cluster("True"));
        metrics.cluster_gone("default", "demo");
        assert!(!metrics.render().unwrap().contains("demo"));
    }

    #[test]
    fn the_process_tells_its_memory() {
        let text = Metrics::new().unwrap().render().unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("process_resident_memory_bytes "))
            .unwrap();
        let bytes: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(bytes > 1e6, "{line}");
    }
}
