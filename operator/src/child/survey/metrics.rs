//! What an API server tells of itself in Prometheus' text format: the few lines that count, out of thousands.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::{FeatureGates, RemovedApi};

/// Deprecated API versions that were asked for since the API server started.
const REQUESTED: &str = "apiserver_requested_deprecated_apis";
/// Feature gates, each with its stage: 1 where it is on.
const GATES: &str = "kubernetes_feature_enabled";

/// What the lines that count say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) requested: Vec<RemovedApi>,
    pub(super) gates: Observed<FeatureGates>,
}

pub(super) fn read(text: &str) -> Told {
    let mut requested = BTreeSet::new();
    let (mut alpha, mut any_gate) = (BTreeSet::new(), false);
    for (name, labels, value) in text.lines().filter_map(series) {
        let of = |label: &str| labels.get(label).copied().unwrap_or_default().to_owned();
        match name {
            REQUESTED if value > 0.0 && !of("removed_release").is_empty() => {
                let (group, version) = (of("group"), of("version"));
                requested.insert(RemovedApi {
                    group_version: if group.is_empty() {
                        version
                    } else {
                        format!("{group}/{version}")
                    },
                    resource: of("resource"),
                    removed: of("removed_release"),
                });
            }
            GATES => {
                any_gate = true;
                if value > 0.0 && of("stage") == "ALPHA" {
                    alpha.insert(of("name"));
                }
            }
            _ => {}
        }
    }
    Told {
        requested: requested.into_iter().collect(),
        gates: if any_gate {
            Observed::Known(FeatureGates { alpha })
        } else {
            Observed::Unknown(format!("its /metrics has no series {GATES}"))
        },
    }
}

/// Name, labels and value of a line that is one of those that count.
fn series(line: &str) -> Option<(&str, BTreeMap<&str, &str>, f64)> {
    let (name, rest) = line.split_once('{')?;
    if ![REQUESTED, GATES].contains(&name) {
        return None;
    }
    let (labels, value) = rest.rsplit_once('}')?;
    // No value of these labels has a quotation mark or a comma in it.
    let labels = labels
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim_matches('"')))
        .collect();
    Some((name, labels, value.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP apiserver_requested_deprecated_apis [STABLE] Gauge of deprecated APIs that have been requested
# TYPE apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.32",resource="flowschemas",subresource="",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.32",resource="flowschemas",subresource="status",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="policy",removed_release="1.25",resource="podsecuritypolicies",subresource="",version="v1beta1"} 0
apiserver_requested_deprecated_apis_of_another_name{group="x",removed_release="1.32"} 1
kubernetes_feature_enabled{name="AllAlpha",stage="ALPHA"} 0
kubernetes_feature_enabled{name="Daring",stage="ALPHA"} 1
kubernetes_feature_enabled{name="Usual",stage="BETA"} 1
"#;

    #[test]
    fn the_lines_that_count_are_read() {
        let told = read(TEXT);
        assert_eq!(
            told.requested,
            [RemovedApi {
                group_version: "flowcontrol.apiserver.k8s.io/v1beta3".into(),
                resource: "flowschemas".into(),
                removed: "1.32".into(),
            }]
        );
        let gates = FeatureGates {
            alpha: ["Daring".to_owned()].into(),
        };
        assert_eq!(told.gates, Observed::Known(gates));
    }

    #[test]
    fn a_text_without_gates_does_not_say_that_all_are_off() {
        assert!(matches!(read("up 1\n").gates, Observed::Unknown(_)));
    }
}
