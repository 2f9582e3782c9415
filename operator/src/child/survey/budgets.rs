//! Disruption budgets, and how many pods they ever let go.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use seedbed_planner::upgrade::preflight::Budget;

pub(super) async fn all(client: &Client) -> Result<Vec<Budget>, kube::Error> {
    let api = Api::<PodDisruptionBudget>::all(client.clone());
    let mut budgets = Vec::new();
    super::each(&api, ListParams::default(), |budget| {
        budgets.extend(of(&budget));
    })
    .await?;
    Ok(budgets)
}

/// None for one that asks for nothing.
fn of(budget: &PodDisruptionBudget) -> Option<Budget> {
    let spec = budget.spec.as_ref()?;
    let (pods, allowed) = budget.status.as_ref().map_or((0, 0), |status| {
        (status.expected_pods, status.disruptions_allowed)
    });
    let (asks, spare) = match (&spec.min_available, &spec.max_unavailable) {
        (Some(least), _) => (
            format!("minAvailable: {}", shown(least)),
            pods - number(least, pods),
        ),
        (None, Some(most)) => (format!("maxUnavailable: {}", shown(most)), number(most, pods)),
        (None, None) => return None,
    };
    Some(Budget {
        namespace: budget.namespace().unwrap_or_default(),
        name: budget.name_any(),
        asks,
        pods,
        // What the API server allows now it allows.
        spare: spare.max(allowed),
    })
}

/// As the disruption controller counts: a percentage is rounded up, whatever it is of.
fn number(value: &IntOrString, pods: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent = text.trim_end_matches('%').parse().unwrap_or(0);
            let pods = i64::from(pods).saturating_mul(percent);
            i32::try_from((pods + 99) / 100).unwrap_or(i32::MAX)
        }
    }
}

fn shown(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spare(spec: &Value, pods: i32, allowed: i32) -> Option<(String, i32)> {
        let budget = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "cart"},
            "spec": spec,
            "status": {
                "expectedPods": pods, "disruptionsAllowed": allowed, "currentHealthy": pods, "desiredHealthy": pods,
            },
        }));
        of(&budget.unwrap()).map(|budget| (budget.asks, budget.spare))
    }

    #[test]
    fn a_budget_lets_go_what_it_has_to_spare() {
        let told = |asks: &str, spare: i32| Some((asks.to_owned(), spare));
        assert_eq!(
            spare(&json!({"minAvailable": 2}), 2, 0),
            told("minAvailable: 2", 0)
        );
        assert_eq!(
            spare(&json!({"minAvailable": 2}), 3, 0),
            told("minAvailable: 2", 1)
        );
        assert_eq!(
            spare(&json!({"minAvailable": "100%"}), 3, 0),
            told("minAvailable: 100%", 0)
        );
        assert_eq!(
            spare(&json!({"minAvailable": "50%"}), 3, 0),
            told("minAvailable: 50%", 1)
        );
        assert_eq!(
            spare(&json!({"maxUnavailable": 0}), 3, 0),
            told("maxUnavailable: 0", 0)
        );
        assert_eq!(
            spare(&json!({"maxUnavailable": "1%"}), 3, 0),
            told("maxUnavailable: 1%", 1)
        );
        assert_eq!(
            spare(&json!({"minAvailable": 3}), 2, 1),
            told("minAvailable: 3", 1)
        );
        assert_eq!(spare(&json!({}), 2, 0), None);
    }
}
