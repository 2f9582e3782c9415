//! What an API server tells of itself in Prometheus' text format: the few lines that count, out of thousands.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_crds::RequestCounts;
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::{FeatureGates, RemovedApi};

/// Deprecated API versions that were asked for since the API server started.
const REQUESTED: &str = "apiserver_requested_deprecated_apis";
/// Feature gates, each with its stage: 1 where it is on.
const GATES: &str = "kubernetes_feature_enabled";
/// Requests that were answered, by their status code among others.
/// See <https://kubernetes.io/docs/reference/instrumentation/metrics/>.
const ANSWERED: &str = "apiserver_request_total";
/// When the process was started, in seconds since 1970.
const STARTED: &str = "process_start_time_seconds";

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

/// What the API server has answered since it was started. What it passed on to a Service or a pod was answered by somebody else.
pub(super) fn requests(text: &str) -> Observed<RequestCounts> {
    let (mut total, mut failed, mut any) = (0.0, 0.0, false);
    for (name, labels, value) in text.lines().filter_map(series) {
        let of = |label: &str| labels.get(label).copied().unwrap_or_default();
        if name != ANSWERED || of("subresource") == "proxy" {
            continue;
        }
        any = true;
        total += value;
        if of("code").starts_with('5') {
            failed += value;
        }
    }
    let is_it = |line: &&str| line.split_whitespace().next() == Some(STARTED);
    let started = text.lines().find(is_it);
    let started = started.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    match started.filter(|_| any) {
        None => Observed::Unknown(format!("its /metrics has no series {ANSWERED}, or no {STARTED}")),
        Some(started) => Observed::Known(RequestCounts {
            process_started: whole(started),
            total: whole(total),
            failed: whole(failed),
        }),
    }
}

/// Counts are written as floating point numbers, and have no fractions.
#[allow(
    clippy::cast_possible_truncation,
    reason = "what a process counts or a clock shows is far below where whole numbers end; anything else is cut to that end"
)]
fn whole(number: f64) -> i64 {
    number as i64
}

/// Name, labels and value of a line that is one of those that count.
fn series(line: &str) -> Option<(&str, BTreeMap<&str, &str>, f64)> {
    let (name, rest) = line.split_once('{')?;
    if ![REQUESTED, GATES, ANSWERED].contains(&name) {
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
    fn requests_are_counted_and_what_others_answered_is_not() {
        let line = |code: u16, subresource: &str, count: &str| {
            format!(
                "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"services\",scope=\"resource\",subresource=\"{subresource}\",verb=\"GET\",version=\"v1\"}} {count}\n"
            )
        };
        let text = [
            line(200, "", "1.5e+03"),
            line(404, "", "20"),
            line(500, "", "3"),
            line(504, "status", "4"),
            line(503, "proxy", "900"),
            "process_start_time_seconds 1.76418064217e+09\n".to_owned(),
        ]
        .concat();
        let counts = RequestCounts {
            process_started: 1_764_180_642,
            total: 1527,
            failed: 7,
        };
        assert_eq!(requests(&text), Observed::Known(counts));
        let without = text.replace("process_start", "other");
        assert!(matches!(requests(&without), Observed::Unknown(_)));
        assert!(matches!(
            requests("process_start_time_seconds 1\n"),
            Observed::Unknown(_)
        ));
    }

    #[test]
    fn a_text_without_gates_does_not_say_that_all_are_off() {
        assert!(matches!(read("up 1\n").gates, Observed::Unknown(_)));
    }
}
