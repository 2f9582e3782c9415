//! What is told at `/metrics`.

mod hosts;
mod objects;
mod process;

use std::time::Duration;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};
use seedbed_crds::{ClusterUpgrade, DevCluster, DevMachine, NodePool};

pub use hosts::HostFigures;
use hosts::HostGauges;
use objects::Objects;
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

    /// From now on tells of the objects in these caches, too.
    pub fn follow(
        &self,
        clusters: Store<DeserializeGuard<DevCluster>>,
        pools: Store<DeserializeGuard<NodePool>>,
        machines: Store<DeserializeGuard<DevMachine>>,
        upgrades: Store<DeserializeGuard<ClusterUpgrade>>,
    ) -> Result<(), prometheus::Error> {
        let objects = Objects::new(clusters, pools, machines, upgrades)?;
        self.registry.register(Box::new(objects))
    }

    /// Tells of the host as it was last seen.
    pub fn host(&self, name: &str, figures: HostFigures) {
        self.hosts.set(name, figures);
    }

    /// Tells no more of a host that is deleted.
    pub fn host_gone(&self, name: &str) {
        self.hosts.remove(name);
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

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn cluster(ready: &str) -> DeserializeGuard<DevCluster> {
        let cluster = serde_json::from_value(json!({
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
        }));
        DeserializeGuard(Ok(cluster.unwrap()))
    }

    #[test]
    fn what_is_in_the_caches_is_told_and_what_is_gone_is_not() {
        let metrics = Metrics::new().unwrap();
        let (clusters, mut changes) = reflector::store();
        metrics
            .follow(
                clusters,
                reflector::store().0,
                reflector::store().0,
                reflector::store().0,
            )
            .unwrap();
        let line = |status: &str, value: u8| {
            format!(
                r#"seedbed_devcluster_status_condition{{name="demo",namespace="default",status="{status}",type="Ready"}} {value}"#
            )
        };
        changes.apply_watcher_event(&Event::Apply(cluster("False")));
        changes.apply_watcher_event(&Event::Apply(cluster("True")));
        let text = metrics.render().unwrap();
        assert!(text.contains(&line("True", 1)), "{text}");
        assert!(text.contains(&line("False", 0)), "{text}");
        assert!(
            text.contains(
                r#"seedbed_devcluster_info{host="local",name="demo",namespace="default",version="v1.35.4"} 1"#
            ),
            "{text}"
        );
        changes.apply_watcher_event(&Event::Delete(cluster("True")));
        assert!(!metrics.render().unwrap().contains("demo"));
    }

    #[test]
    fn findings_of_upgrades_are_told_by_how_much_they_matter() {
        let finding = |object: &str, severity: &str, skipped: bool| json!({"check": "NodesReady", "object": object, "severity": severity, "message": "m", "skipped": skipped});
        let upgrade = serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "ClusterUpgrade",
            "metadata": {"namespace": "default", "name": "next"},
            "spec": {"clusterRef": {"name": "demo"}, "version": "v1.36.3", "dryRun": true},
            "status": {"findings": [finding("a", "Error", false), finding("b", "Error", true)]},
        }));
        let metrics = Metrics::new().unwrap();
        let (upgrades, mut changes) = reflector::store();
        metrics
            .follow(
                reflector::store().0,
                reflector::store().0,
                reflector::store().0,
                upgrades,
            )
            .unwrap();
        changes.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(upgrade.unwrap()))));
        let text = metrics.render().unwrap();
        for (severity, number) in [("Error", 1), ("Unknown", 0), ("Warning", 0)] {
            let line = format!(
                r#"seedbed_clusterupgrade_findings{{cluster="demo",name="next",namespace="default",severity="{severity}"}} {number}"#
            );
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn an_upgrade_tells_its_phase_its_conditions_and_its_steps_and_a_dry_run_does_not() {
        let upgrade = |name: &str, dry_run: bool| {
            let step = |id: &str, state: &str| {
                json!({
                    "id": id, "phase": id, "state": state, "message": "m", "target": {"kind": "DevCluster", "name": "demo"},
                })
            };
            let upgrade = serde_json::from_value(json!({
                "apiVersion": "seedbed.dev/v1alpha1", "kind": "ClusterUpgrade",
                "metadata": {"namespace": "default", "name": name},
                "spec": {"clusterRef": {"name": "demo"}, "version": "v1.36.3", "dryRun": dry_run},
                "status": {
                    "from": "v1.35.4", "phase": "Soak",
                    "steps": [step("Preflight", "Succeeded"), step("Soak", "Running"), step("Commit", "Planned")],
                    "conditions": [{
                        "type": "Stalled", "status": "False", "reason": "AsAsked", "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }],
                },
            }));
            DeserializeGuard(Ok(upgrade.unwrap()))
        };
        let metrics = Metrics::new().unwrap();
        let (upgrades, mut changes) = reflector::store();
        metrics
            .follow(
                reflector::store().0,
                reflector::store().0,
                reflector::store().0,
                upgrades,
            )
            .unwrap();
        changes.apply_watcher_event(&Event::Apply(upgrade("next", false)));
        changes.apply_watcher_event(&Event::Apply(upgrade("plan", true)));
        let text = metrics.render().unwrap();
        for line in [
            r#"seedbed_clusterupgrade_status_phase{cluster="demo",from="v1.35.4",name="next",namespace="default",phase="Soak",to="v1.36.3"} 1"#,
            r#"seedbed_clusterupgrade_status_condition{cluster="demo",name="next",namespace="default",status="False",type="Stalled"} 1"#,
            r#"seedbed_clusterupgrade_steps{cluster="demo",name="next",namespace="default"} 3"#,
            r#"seedbed_clusterupgrade_steps_succeeded{cluster="demo",name="next",namespace="default"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        let of_the_plan = text.lines().filter(|line| line.contains("name=\"plan\""));
        assert!(
            of_the_plan
                .clone()
                .all(|line| line.starts_with("seedbed_clusterupgrade_findings")),
            "{text}"
        );
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
