//! Evicting pods.

use jiff::Timestamp;
use serde_json::Value;

use crate::metadata::text;
use crate::{Kind, Preconditions, Refusal, Selector, Store, Subresource};

impl Store {
    /// Deletes the pod, if its disruption budgets allow that now. Each that allows it allows one fewer from then on, until whoever
    /// keeps budgets counts anew.
    pub fn evict(
        &mut self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        conditions: &Preconditions,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let pod = self.get(kind, namespace, name)?.clone();
        let budgets = self.kinds().of_plural("poddisruptionbudgets").cloned();
        let covering: Vec<(Kind, Value)> = budgets
            .iter()
            .filter(|_| !ignores_budgets(&pod))
            .flat_map(|kind| {
                let all = self.list(kind, namespace, Selector::all());
                all.filter(|budget| covers(budget, &pod))
                    .map(|budget| (kind.clone(), budget.clone()))
            })
            .collect();
        match covering.as_slice() {
            [] => {}
            [(kind, budget)] => {
                let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
                let budget_name = budget["metadata"]["name"].as_str().unwrap_or_default();
                let allowed = number("disruptionsAllowed");
                if allowed <= 0 {
                    let (wanted, healthy) = (number("desiredHealthy"), number("currentHealthy"));
                    return Err(Refusal::budget(budget_name, wanted, healthy));
                }
                let mut counted = budget.clone();
                counted["status"]["disruptionsAllowed"] = (allowed - 1).into();
                self.replace(kind, namespace, budget_name, counted, Subresource::Status)?;
            }
            _ => {
                return Err(Refusal::internal(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        }
        self.delete(kind, namespace, name, conditions, now).map(drop)
    }
}

/// Whether the pod may be evicted whatever its budgets say: it goes already, or does not run.
fn ignores_budgets(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or("Pending");
    text(pod, "deletionTimestamp").is_some() || ["Succeeded", "Failed", "Pending"].contains(&phase)
}

/// Whether all labels that the budget wants are the pod's.
pub fn covers(budget: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
    wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}
