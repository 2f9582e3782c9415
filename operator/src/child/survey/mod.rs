//! One look at what is in the way of an upgrade. Nothing but GETs is sent.

mod budgets;
mod definitions;
mod metrics;
mod pods;
mod webhooks;

use std::fmt::Debug;
use std::time::Duration;

use http::Request;
use kube::api::ListParams;
use kube::{Api, Client};
use seedbed_crds::RequestCounts;
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::{ControlPlanePod, Survey};
use serde::de::DeserializeOwned;

use super::{ChildError, ChildKey};
use crate::client::Patience;

/// How long the look at one part may take, all of its pages together. An API server has millions of bytes of metrics, and one whose
/// processor is emulated takes tens of seconds to write them.
const LIMIT: Duration = Duration::from_mins(1);
/// How many objects are asked for at a time.
const PAGE: u32 = 100;

/// Looks at all parts.
pub(super) async fn survey(client: &Client, cluster: &ChildKey) -> Survey {
    let (pods, told, custom_kinds, webhooks, budgets) = futures::join!(
        control_plane_pods(client, cluster),
        bounded(cluster, "read /metrics", metrics(client)),
        bounded(
            cluster,
            "list CustomResourceDefinitions",
            definitions::unserved(client)
        ),
        bounded(cluster, "list webhooks", webhooks::needed(client)),
        bounded(cluster, "list PodDisruptionBudgets", budgets::all(client)),
    );
    let (requested, gates) = match told {
        Observed::Known(told) => (Observed::Known(told.requested), told.gates),
        Observed::Unknown(why) => (Observed::Unknown(why.clone()), Observed::Unknown(why)),
    };
    Survey {
        pods,
        requested,
        gates,
        custom_kinds,
        webhooks,
        budgets,
    }
}

/// The pods of the control plane.
pub(super) async fn control_plane_pods(
    client: &Client,
    cluster: &ChildKey,
) -> Observed<Vec<ControlPlanePod>> {
    bounded(cluster, "list the control plane's pods", pods::all(client)).await
}

/// What the API server has answered since it was started.
pub(super) async fn requests(client: &Client, cluster: &ChildKey) -> Observed<RequestCounts> {
    match bounded(cluster, "read /metrics", text_of_metrics(client)).await {
        Observed::Known(text) => metrics::requests(&text),
        Observed::Unknown(why) => Observed::Unknown(why),
    }
}

async fn metrics(client: &Client) -> Result<metrics::Told, kube::Error> {
    Ok(metrics::read(&text_of_metrics(client).await?))
}

async fn text_of_metrics(client: &Client) -> Result<String, kube::Error> {
    let request = Request::get("/metrics")
        .extension(Patience(LIMIT))
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}

/// What the work gives within the limit.
async fn bounded<T>(
    cluster: &ChildKey,
    operation: &str,
    work: impl Future<Output = Result<T, kube::Error>>,
) -> Observed<T> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(Ok(value)) => Observed::Known(value),
        Ok(Err(error)) => Observed::Unknown(ChildError::of(cluster, operation, &error).to_string()),
        Err(_) => Observed::Unknown(format!(
            "cluster {cluster}: {operation}: not done within {} s",
            LIMIT.as_secs()
        )),
    }
}

/// Gives every object to `each`, a page at a time.
async fn each<K>(api: &Api<K>, params: ListParams, mut each: impl FnMut(K)) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = params.limit(PAGE);
    loop {
        let list = api.list(&params).await?;
        list.items.into_iter().for_each(&mut each);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Asked, client, refusal};

    fn key() -> ChildKey {
        ChildKey {
            namespace: "default".into(),
            name: "demo".into(),
        }
    }

    fn list(items: &Value) -> (u16, Value) {
        (200, json!({"metadata": {}, "items": items}))
    }

    #[tokio::test(start_paused = true)]
    async fn it_only_reads_and_what_one_part_is_refused_the_others_still_tell() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let client = client(move |request: Asked| {
            noted.lock().unwrap().push(request.method.clone());
            let forbidden = request.path.ends_with("/poddisruptionbudgets");
            std::future::ready(if forbidden {
                refusal(403, "Forbidden", "not for you")
            } else {
                list(&json!([]))
            })
        });
        let seen = Box::pin(survey(&client, &key())).await;
        assert_eq!(seen.pods, Observed::Known(Vec::new()));
        assert_eq!(seen.webhooks, Observed::Known(Vec::new()));
        let Observed::Unknown(why) = &seen.budgets else {
            panic!("{seen:?}");
        };
        assert!(
            why.contains("list PodDisruptionBudgets") && why.contains("not for you"),
            "{why}"
        );
        let Observed::Unknown(why) = &seen.gates else {
            panic!("{seen:?}");
        };
        assert!(why.contains("kubernetes_feature_enabled"), "{why}");
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|method| method == "GET"), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_read_to_its_last_page() {
        let client = client(|request: Asked| {
            assert!(request.query.contains("limit=100"), "{}", request.query);
            let pod = |name: &str| json!([{"metadata": {"name": name}}]);
            std::future::ready(if request.query.contains("continue=more") {
                list(&pod("b"))
            } else {
                (200, json!({"metadata": {"continue": "more"}, "items": pod("a")}))
            })
        });
        let pods = pods::all(&client).await.unwrap();
        let names: Vec<_> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_never_answers_ends_the_look() {
        let client = client(|_| std::future::pending());
        let seen = Box::pin(survey(&client, &key())).await;
        let Observed::Unknown(why) = &seen.pods else {
            panic!("{seen:?}");
        };
        assert!(why.contains("not done within 60 s"), "{why}");
    }
}
