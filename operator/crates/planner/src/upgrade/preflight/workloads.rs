//! Whether what runs in the cluster lets itself be moved, and lets requests through.

use seedbed_crds::PreflightCheck;

use super::{Findings, Seen};
use crate::Observed;

pub(super) fn webhooks(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::Webhooks;
    let object = format!("DevCluster {}", seen.cluster);
    let Some(webhooks) = findings.known(check, object, "its webhooks", &seen.survey.webhooks) else {
        return;
    };
    for webhook in webhooks {
        let object = webhook.configuration.clone();
        let (namespace, service) = (&webhook.service.namespace, &webhook.service.name);
        match &webhook.has_endpoint {
            Observed::Known(true) => {}
            Observed::Unknown(why) => {
                let what = format!(
                    "the endpoints of Service {namespace}/{service}, which {} is called by",
                    webhook.name
                );
                findings.unknown(check, object, &what, why);
            }
            Observed::Known(false) => {
                let message = format!(
                    "webhook {} has failurePolicy Fail, and its Service {namespace}/{service} has no endpoint that is ready, so that every request it is called for fails: start what answers there, or delete the webhook",
                    webhook.name
                );
                if webhook.meets_upgrade {
                    findings.error(check, object, message);
                } else {
                    findings.warning(check, object, message);
                }
            }
        }
    }
}

pub(super) fn budgets(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::DisruptionBudgets;
    let object = format!("DevCluster {}", seen.cluster);
    let Some(budgets) = findings.known(check, object, "its disruption budgets", &seen.survey.budgets) else {
        return;
    };
    for budget in budgets {
        if budget.pods > 0 && budget.spare <= 0 {
            let message = format!(
                "it asks for {}, which leaves none of its {} pods in namespace {} to be moved at any time: nodes that have one are drained until the drain's time is over; give the workload another replica, or the budget room for one",
                budget.asks, budget.pods, budget.namespace
            );
            findings.warning(
                check,
                format!("PodDisruptionBudget {}/{}", budget.namespace, budget.name),
                message,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use seedbed_crds::PreflightSeverity;

    use super::super::seen::tests::{has, only, surveyed};
    use super::super::{Budget, ServiceName, Webhook, check};
    use super::*;

    fn webhook(meets_upgrade: bool, has_endpoint: Observed<bool>) -> Seen {
        surveyed(|survey| {
            survey.webhooks = Observed::Known(vec![Webhook {
                configuration: "ValidatingWebhookConfiguration policy".into(),
                name: "policy.example.com".into(),
                service: ServiceName {
                    namespace: "policy".into(),
                    name: "server".into(),
                },
                meets_upgrade,
                has_endpoint,
            }]);
        })
    }

    #[rstest]
    #[case(true, PreflightSeverity::Error)]
    #[case(false, PreflightSeverity::Warning)]
    fn a_webhook_that_nobody_answers_is_as_bad_as_what_it_is_called_for(
        #[case] meets_upgrade: bool,
        #[case] expected: PreflightSeverity,
    ) {
        let (severity, object, message) = only(&webhook(meets_upgrade, Observed::Known(false)));
        assert_eq!(
            (severity, object.as_str()),
            (expected, "ValidatingWebhookConfiguration policy")
        );
        has(
            &message,
            &[
                "policy.example.com",
                "Service policy/server",
                "failurePolicy Fail",
            ],
        );
    }

    #[test]
    fn a_webhook_that_is_answered_is_fine_and_one_of_which_nothing_is_known_is_not() {
        assert_eq!(check(&webhook(true, Observed::Known(true)), &[]), []);
        let (severity, _, message) = only(&webhook(true, Observed::Unknown("timed out".into())));
        assert_eq!(severity, PreflightSeverity::Unknown);
        has(&message, &["Service policy/server", "timed out"]);
    }

    #[rstest]
    #[case(2, 0, true)]
    #[case(2, -1, true)]
    #[case(2, 1, false)]
    #[case(0, 0, false)]
    fn a_budget_that_never_lets_a_pod_go_is_a_warning(
        #[case] pods: i32,
        #[case] spare: i32,
        #[case] told: bool,
    ) {
        let seen = surveyed(|survey| {
            survey.budgets = Observed::Known(vec![Budget {
                namespace: "shop".into(),
                name: "cart".into(),
                asks: "minAvailable: 2".into(),
                pods,
                spare,
            }]);
        });
        if !told {
            assert_eq!(check(&seen, &[]), []);
            return;
        }
        let (severity, object, message) = only(&seen);
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Warning, "PodDisruptionBudget shop/cart")
        );
        has(&message, &["minAvailable: 2", "namespace shop"]);
    }
}
