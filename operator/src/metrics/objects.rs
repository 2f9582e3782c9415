//! What is told of clusters, pools, machines and upgrades: made from the caches whenever it is asked for, so that nothing is kept twice and
//! what is deleted is told no more.

use std::collections::HashMap;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use seedbed_crds::{
    ClusterUpgrade, Condition, DevCluster, DevMachine, NodePool, PreflightSeverity, UpgradeStep,
    UpgradeStepState,
};
use seedbed_planner::upgrade::preflight::count;

/// The statuses that a condition can have.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// How much a finding can matter.
const SEVERITIES: [(PreflightSeverity, &str); 3] = [
    (PreflightSeverity::Error, "Error"),
    (PreflightSeverity::Unknown, "Unknown"),
    (PreflightSeverity::Warning, "Warning"),
];

/// A cache of that kind.
type Cache<K> = Store<DeserializeGuard<K>>;

/// Gauges of all objects in the caches. Labels are in the order of their names, as Prometheus' own are.
pub(super) struct Objects {
    clusters: Cache<DevCluster>,
    pools: Cache<NodePool>,
    machines: Cache<DevMachine>,
    upgrades: Cache<ClusterUpgrade>,
    cluster_info: Desc,
    cluster_conditions: Desc,
    machine_phases: Desc,
    pool_wanted: Desc,
    pool_present: Desc,
    pool_ready: Desc,
    upgrade_findings: Desc,
    upgrade_phases: Desc,
    upgrade_conditions: Desc,
    upgrade_steps: Desc,
    upgrade_steps_done: Desc,
}

impl Objects {
    pub(super) fn new(
        clusters: Cache<DevCluster>,
        pools: Cache<NodePool>,
        machines: Cache<DevMachine>,
        upgrades: Cache<ClusterUpgrade>,
    ) -> Result<Self, prometheus::Error> {
        let described = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
        };
        let pools_label = &["name", "namespace"];
        let upgrades_label = &["cluster", "name", "namespace"];
        Ok(Self {
            clusters,
            pools,
            machines,
            upgrades,
            cluster_info: described(
                "seedbed_devcluster_info",
                "DevClusters with their version and host; always 1.",
                &["host", "name", "namespace", "version"],
            )?,
            cluster_conditions: described(
                "seedbed_devcluster_status_condition",
                "Conditions of DevClusters: 1 for the status that the condition has, 0 for the others.",
                &["name", "namespace", "status", "type"],
            )?,
            machine_phases: described(
                "seedbed_devmachine_status_phase",
                "DevMachines with their cluster and phase; always 1.",
                &["cluster", "name", "namespace", "phase"],
            )?,
            pool_wanted: described(
                "seedbed_nodepool_spec_replicas",
                "How many workers a NodePool should have.",
                pools_label,
            )?,
            pool_present: described(
                "seedbed_nodepool_status_replicas",
                "How many machines a NodePool has.",
                pools_label,
            )?,
            pool_ready: described(
                "seedbed_nodepool_status_replicas_ready",
                "How many machines of a NodePool are Ready nodes.",
                pools_label,
            )?,
            upgrade_findings: described(
                "seedbed_clusterupgrade_findings",
                "How many findings of a ClusterUpgrade's preflight count, by severity.",
                &["cluster", "name", "namespace", "severity"],
            )?,
            upgrade_phases: described(
                "seedbed_clusterupgrade_status_phase",
                "ClusterUpgrades that are carried out, with their cluster, versions and phase; always 1.",
                &["cluster", "from", "name", "namespace", "phase", "to"],
            )?,
            upgrade_conditions: described(
                "seedbed_clusterupgrade_status_condition",
                "Conditions of ClusterUpgrades that are carried out: 1 for the status that the condition has, 0 for the others.",
                &["cluster", "name", "namespace", "status", "type"],
            )?,
            upgrade_steps: described(
                "seedbed_clusterupgrade_steps",
                "How many steps the plan of a ClusterUpgrade has.",
                upgrades_label,
            )?,
            upgrade_steps_done: described(
                "seedbed_clusterupgrade_steps_succeeded",
                "How many steps of a ClusterUpgrade stand.",
                upgrades_label,
            )?,
        })
    }
}

impl Collector for Objects {
    fn desc(&self) -> Vec<&Desc> {
        vec![
            &self.cluster_info,
            &self.cluster_conditions,
            &self.machine_phases,
            &self.pool_wanted,
            &self.pool_present,
            &self.pool_ready,
            &self.upgrade_findings,
            &self.upgrade_phases,
            &self.upgrade_conditions,
            &self.upgrade_steps,
            &self.upgrade_steps_done,
        ]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut info = Family::of(&self.cluster_info);
        let mut conditions = Family::of(&self.cluster_conditions);
        each(&self.clusters, |cluster, namespace, name| {
            let spec = &cluster.spec;
            info.add([&spec.host_ref.name, name, namespace, &spec.version], 1.0);
            for condition in cluster.status.iter().flat_map(|status| &status.conditions) {
                for (status, value) in statuses(condition) {
                    conditions.add([name, namespace, status, &condition.type_], value);
                }
            }
        });
        let mut phases = Family::of(&self.machine_phases);
        each(&self.machines, |machine, namespace, name| {
            let phase = machine.status.as_ref().and_then(|status| status.phase.as_deref());
            let cluster = &machine.spec.cluster_ref.name;
            phases.add([cluster, name, namespace, phase.unwrap_or("Unknown")], 1.0);
        });
        let mut wanted = Family::of(&self.pool_wanted);
        let mut present = Family::of(&self.pool_present);
        let mut ready = Family::of(&self.pool_ready);
        each(&self.pools, |pool, namespace, name| {
            let status = pool.status.as_ref();
            let (replicas, ready_replicas) = status.map_or((0, 0), |s| (s.replicas, s.ready_replicas));
            wanted.add([name, namespace], f64::from(pool.spec.replicas));
            present.add([name, namespace], f64::from(replicas));
            ready.add([name, namespace], f64::from(ready_replicas));
        });
        let mut findings = Family::of(&self.upgrade_findings);
        let mut upgrade_phases = Family::of(&self.upgrade_phases);
        let mut upgrade_conditions = Family::of(&self.upgrade_conditions);
        let mut steps = Family::of(&self.upgrade_steps);
        let mut steps_done = Family::of(&self.upgrade_steps_done);
        each(&self.upgrades, |upgrade, namespace, name| {
            let found = upgrade.status.as_ref().map(|status| status.findings.as_slice());
            let cluster = &upgrade.spec.cluster_ref.name;
            for (severity, label) in SEVERITIES {
                let number = u32::try_from(count(found.unwrap_or_default(), severity)).unwrap_or(u32::MAX);
                findings.add([cluster, name, namespace, label], f64::from(number));
            }
            // A dry run changes nothing: what it found is all that there is to tell of it.
            let Some(status) = upgrade.status.as_ref().filter(|_| !upgrade.spec.dry_run) else {
                return;
            };
            let told = |text: &Option<String>| text.clone().unwrap_or_default();
            let (from, phase) = (told(&status.from), told(&status.phase));
            upgrade_phases.add(
                [cluster, &from, name, namespace, &phase, &upgrade.spec.version],
                1.0,
            );
            for condition in &status.conditions {
                for (status, value) in statuses(condition) {
                    upgrade_conditions.add([cluster, name, namespace, status, &condition.type_], value);
                }
            }
            let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            let done = |step: &&UpgradeStep| step.state == UpgradeStepState::Succeeded;
            steps.add([cluster, name, namespace], number(status.steps.len()));
            steps_done.add(
                [cluster, name, namespace],
                number(status.steps.iter().filter(done).count()),
            );
        });
        [
            info,
            conditions,
            phases,
            wanted,
            present,
            ready,
            findings,
            upgrade_phases,
            upgrade_conditions,
            steps,
            steps_done,
        ]
        .into_iter()
        .map(Family::finished)
        .collect()
    }
}

/// Every status, each with 1 where the condition has it and 0 where it has another.
fn statuses(condition: &Condition) -> impl Iterator<Item = (&'static str, f64)> {
    STATUSES
        .map(|status| (status, f64::from(u8::from(condition.status == status))))
        .into_iter()
}

/// Tells of every object in the cache that fits its type, with its namespace and name.
fn each<K: Resource<DynamicType = ()> + Clone + 'static>(
    cache: &Cache<K>,
    mut tell: impl FnMut(&K, &str, &str),
) {
    for object in cache.state() {
        if let Ok(read) = &object.0 {
            tell(read, &read.namespace().unwrap_or_default(), &read.name_any());
        }
    }
}

/// The series of one gauge.
struct Family<'a> {
    desc: &'a Desc,
    series: Vec<Metric>,
}

impl<'a> Family<'a> {
    fn of(desc: &'a Desc) -> Self {
        Self {
            desc,
            series: Vec::new(),
        }
    }

    fn add<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        let pairs = self.desc.variable_labels.iter().zip(labels);
        let pairs = pairs.map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        self.series.push(metric);
    }

    fn finished(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(self.series);
        family
    }
}
