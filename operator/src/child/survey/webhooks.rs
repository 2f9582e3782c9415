//! Webhooks without which requests fail, and whether somebody answers them.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::{ServiceName, Webhook};

use crate::errors::api_message;

/// Label by which the slices of a Service are found.
const SERVICE: &str = "kubernetes.io/service-name";
/// Groups in which kubeadm, kubelets and drained pods write something during an upgrade.
const UPGRADED: [&str; 5] = [
    "*",
    "",
    "apps",
    "coordination.k8s.io",
    "rbac.authorization.k8s.io",
];

/// A webhook as it stands in its configuration, whatever its kind.
struct Entry<'a> {
    name: &'a str,
    failure_policy: Option<&'a str>,
    client: &'a WebhookClientConfig,
    rules: Option<&'a Vec<RuleWithOperations>>,
}

/// Adds what there is in configurations of that kind: the two kinds have webhooks of two types that say the same.
macro_rules! add_all_of {
    ($kind:ty, $client:expr, $webhooks:expr) => {
        super::each(
            &Api::<$kind>::all($client.clone()),
            ListParams::default(),
            |found| {
                let configuration = format!("{} {}", <$kind>::kind(&()), found.name_any());
                $webhooks.extend(found.webhooks.iter().flatten().filter_map(|w| {
                    let entry = Entry {
                        name: &w.name,
                        failure_policy: w.failure_policy.as_deref(),
                        client: &w.client_config,
                        rules: w.rules.as_ref(),
                    };
                    webhook(&configuration, &entry)
                }));
            },
        )
        .await?
    };
}

pub(super) async fn needed(client: &Client) -> Result<Vec<Webhook>, kube::Error> {
    let mut webhooks = Vec::new();
    add_all_of!(ValidatingWebhookConfiguration, client, webhooks);
    add_all_of!(MutatingWebhookConfiguration, client, webhooks);
    look_at_endpoints(client, &mut webhooks).await;
    Ok(webhooks)
}

/// None where requests do not fail without it, or where it is called by a URL, of which nothing can be seen here.
fn webhook(configuration: &str, entry: &Entry<'_>) -> Option<Webhook> {
    if entry.failure_policy.is_some_and(|policy| policy != "Fail") {
        return None;
    }
    let service = entry.client.service.as_ref()?;
    let groups = entry.rules.into_iter().flatten();
    let groups = groups.flat_map(|rule| rule.api_groups.iter().flatten());
    let mut groups = groups.map(String::as_str);
    Some(Webhook {
        configuration: configuration.to_owned(),
        name: entry.name.to_owned(),
        service: ServiceName {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
        },
        meets_upgrade: groups.any(|group| UPGRADED.contains(&group)),
        has_endpoint: Observed::Unknown("it was not looked for".to_owned()),
    })
}

/// Looks once at each Service.
async fn look_at_endpoints(client: &Client, webhooks: &mut [Webhook]) {
    let mut known: BTreeMap<ServiceName, Observed<bool>> = BTreeMap::new();
    for webhook in webhooks {
        if !known.contains_key(&webhook.service) {
            let found = has_endpoint(client, &webhook.service).await;
            known.insert(webhook.service.clone(), found);
        }
        if let Some(found) = known.get(&webhook.service) {
            webhook.has_endpoint = found.clone();
        }
    }
}

async fn has_endpoint(client: &Client, service: &ServiceName) -> Observed<bool> {
    let api = Api::<EndpointSlice>::namespaced(client.clone(), &service.namespace);
    let selected = ListParams::default().labels(&format!("{SERVICE}={}", service.name));
    let mut found = false;
    let looked = super::each(&api, selected, |slice| found |= is_ready(&slice)).await;
    match looked {
        Ok(()) => Observed::Known(found),
        Err(error) => Observed::Unknown(api_message(&error)),
    }
}

/// One that does not say counts as ready.
fn is_ready(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().any(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|c| c.ready).unwrap_or(true)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Asked, client};

    fn configuration(name: &str, policy: &str, groups: &[&str], to: &Value) -> Value {
        json!({"metadata": {"name": name}, "webhooks": [{
            "name": format!("{name}.example.com"), "failurePolicy": policy, "clientConfig": to, "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "rules": [{"apiGroups": groups, "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}],
        }]})
    }

    fn service(name: &str) -> Value {
        json!({"service": {"namespace": "hooks", "name": name}})
    }

    fn slice(ready: &Value) -> Value {
        let endpoint = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}});
        json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [endpoint]})
    }

    #[tokio::test]
    async fn those_without_which_requests_fail_are_told_with_whether_somebody_answers() {
        let validating = json!([
            configuration("up", "Fail", &[""], &service("up")),
            configuration("down", "Fail", &["example.com"], &service("down")),
            configuration("lenient", "Ignore", &[""], &service("down")),
            configuration(
                "elsewhere",
                "Fail",
                &[""],
                &json!({"url": "https://hook.example.com"})
            ),
        ]);
        let mutating = json!([configuration("mutating", "Fail", &["*"], &service("down"))]);
        let client = client(move |request: Asked| {
            let items = match request.path.rsplit('/').next().unwrap_or_default() {
                "validatingwebhookconfigurations" => validating.clone(),
                "mutatingwebhookconfigurations" => mutating.clone(),
                _ if request.query.contains("service-name%3Dup") => {
                    json!([slice(&json!(false)), slice(&Value::Null)])
                }
                _ => json!([slice(&json!(false))]),
            };
            std::future::ready((200, json!({"metadata": {}, "items": items})))
        });
        let found = needed(&client).await.unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|w| (w.configuration.as_str(), w.meets_upgrade, w.has_endpoint.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("ValidatingWebhookConfiguration up", true, Observed::Known(true)),
                (
                    "ValidatingWebhookConfiguration down",
                    false,
                    Observed::Known(false)
                ),
                (
                    "MutatingWebhookConfiguration mutating",
                    true,
                    Observed::Known(false)
                ),
            ]
        );
    }
}
