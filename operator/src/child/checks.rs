//! What an upgrade's own checks ask of a child cluster: requests to its Services, and Jobs.

use std::time::Duration;

use http::{Request, StatusCode};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::client::Body;
use kube::{Api, Client, ResourceExt};
use seedbed_crds::{HttpGetCheck, HttpScheme, UpgradeCheck};
use seedbed_planner::names::{CHECK_LABEL, UPGRADE_LABEL, check_job};
use seedbed_planner::upgrade::saga::CheckState;
use serde_json::{Map, Value, json};

use super::{ChildError, ChildKey};
use crate::client::Patience;
use crate::errors::status_code;

/// How long the answer to a request may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How much of a body is read for the API server's words.
const READ: usize = 4096;

/// A Job of a check that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSeen {
    /// The check that it is of.
    pub check: String,
    /// How far it is.
    pub state: CheckState,
    namespace: String,
    name: String,
    uid: Option<String>,
}

/// A Job of a check, as it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    upgrade: String,
    namespace: String,
    name: String,
    object: Value,
}

impl NewJob {
    /// The Job of that check; none where the check has none. It is not removed but by the operator: one that is gone when it has ended
    /// would be made again.
    pub fn of(upgrade: &str, check: &UpgradeCheck) -> Option<Self> {
        let job = check.job.as_ref()?;
        let name = check_job(upgrade, &check.name);
        let metadata = job.template.metadata.clone().unwrap_or_default();
        let mut labels = metadata.labels;
        labels.insert(UPGRADE_LABEL.to_owned(), upgrade.to_owned());
        labels.insert(CHECK_LABEL.to_owned(), check.name.clone());
        let mut spec: Map<String, Value> = job.template.spec.clone();
        spec.remove("ttlSecondsAfterFinished");
        let object = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": name, "namespace": job.namespace, "labels": labels, "annotations": metadata.annotations,
            },
            "spec": spec,
        });
        Some(Self {
            upgrade: upgrade.to_owned(),
            namespace: job.namespace.clone(),
            name,
            object,
        })
    }
}

/// Asks the Service by way of the API server: whether it answers as it should; if not, what it does.
/// See <https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls>.
pub(super) async fn probe(
    client: &Client,
    cluster: &ChildKey,
    probe: &HttpGetCheck,
) -> Result<Result<(), String>, ChildError> {
    let service = &probe.service;
    let what = format!(
        "port {} of Service {}/{}, path {}",
        service.port, service.namespace, service.name, probe.path
    );
    let failed = |error: kube::Error| ChildError::of(cluster, format!("ask {what}"), &error);
    let scheme = match service.scheme {
        HttpScheme::Http => "",
        HttpScheme::Https => "https:",
    };
    let path = format!(
        "/api/v1/namespaces/{}/services/{scheme}{}:{}/proxy{}",
        service.namespace, service.name, service.port, probe.path
    );
    let request = Request::get(path)
        .extension(Patience(ANSWERED_WITHIN))
        .body(Body::empty())
        .map_err(kube::Error::HttpError)
        .map_err(failed)?;
    let response = client.send(request).await.map_err(failed)?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(Ok(()));
    }
    let body = response.into_body().collect_bytes().await.unwrap_or_default();
    let words = words_of_api_server(&body).map(|words| format!(" ({words})"));
    Ok(Err(format!(
        "{what} answered {status}{}, expected 200 to 399",
        words.unwrap_or_default()
    )))
}

/// What the API server says where nobody answered: what an application answered is its own affair, and may be secret.
fn words_of_api_server(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body.get(..READ.min(body.len()))?).ok()?;
    let is_status = body["kind"] == "Status" && body["apiVersion"] == "v1";
    body["message"].as_str().filter(|_| is_status).map(str::to_owned)
}

/// Makes the Job, unless it is there. With `dry_run` it is only looked at as if it were to be made, and nothing is stored.
pub(super) async fn create(
    client: &Client,
    cluster: &ChildKey,
    job: &NewJob,
    dry_run: bool,
) -> Result<(), ChildError> {
    let NewJob { namespace, name, .. } = job;
    let what = format!("make Job {namespace}/{name}");
    let failed = |error: kube::Error| ChildError::of(cluster, what.clone(), &error);
    let dry = if dry_run { "&dryRun=All" } else { "" };
    // A field that the API server does not know would be left out without a word.
    let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs?fieldValidation=Strict{dry}");
    let request = Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(job.object.to_string().into_bytes())
        .map_err(kube::Error::HttpError)
        .map_err(failed)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(error) if status_code(&error) == Some(409) => {
            let api = Api::<Job>::namespaced(client.clone(), namespace);
            let found = api.get_metadata_opt(name).await.map_err(failed)?;
            if found.is_some_and(|found| found.labels().get(UPGRADE_LABEL) == Some(&job.upgrade)) {
                return Ok(());
            }
            Err(ChildError::Refused {
                cluster: cluster.clone(),
                operation: what,
                code: StatusCode::CONFLICT.as_u16(),
                message: "there is a Job of that name which is not this upgrade's: delete it".to_owned(),
            })
        }
        Err(error) => Err(failed(error)),
    }
}

/// The Jobs of the upgrade's checks. One that has the labels of such a Job and not its name is somebody else's.
pub(super) async fn jobs(
    client: &Client,
    cluster: &ChildKey,
    upgrade: &str,
) -> Result<Vec<JobSeen>, ChildError> {
    let labelled = ListParams::default().labels(&format!("{UPGRADE_LABEL}={upgrade}"));
    let found = Api::<Job>::all(client.clone()).list(&labelled).await;
    let found = found.map_err(|error| ChildError::of(cluster, "list the Jobs of checks", &error))?;
    let seen = found.items.iter().filter_map(|job| {
        let check = job.labels().get(CHECK_LABEL)?;
        (job.name_any() == check_job(upgrade, check)).then(|| JobSeen {
            check: check.clone(),
            state: state(job),
            namespace: job.namespace().unwrap_or_default(),
            name: job.name_any(),
            uid: job.uid(),
        })
    });
    Ok(seen.collect())
}

/// See <https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup>.
fn state(job: &Job) -> CheckState {
    let conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut ended = conditions.filter(|condition| condition.status == "True");
    ended
        .find_map(|condition| match condition.type_.as_str() {
            "Complete" => Some(CheckState::Complete),
            "Failed" => {
                let of = |text: &Option<String>| text.clone().unwrap_or_default();
                let (reason, message) = (of(&condition.reason), of(&condition.message));
                Some(CheckState::Failed(format!("{reason}: {message}")))
            }
            _ => None,
        })
        .unwrap_or(CheckState::Running)
}

/// Removes the Job and its pods. Gone already, or another one of that name, is no error and nothing is removed.
pub(super) async fn delete(client: &Client, cluster: &ChildKey, job: &JobSeen) -> Result<(), ChildError> {
    // The API server would leave the pods of a Job where nothing is said of them.
    let only_this_one = DeleteParams::background().preconditions(Preconditions {
        uid: job.uid.clone(),
        resource_version: None,
    });
    let api = Api::<Job>::namespaced(client.clone(), &job.namespace);
    match api.delete(&job.name, &only_this_one).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(status_code(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(ChildError::of(
            cluster,
            format!("delete Job {}/{}", job.namespace, job.name),
            &error,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &Value) -> UpgradeCheck {
        let job = json!({"name": "smoke", "job": {"namespace": "shop", "template": template}});
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_job_is_marked_as_the_upgrades_whatever_the_template_says() {
        let template = json!({
            "metadata": {"labels": {"app": "smoke", UPGRADE_LABEL: "other"}, "annotations": {"a": "b"}},
            "spec": {"backoffLimit": 1, "ttlSecondsAfterFinished": 0, "template": {}},
        });
        let job = NewJob::of("uid", &check(&template)).unwrap();
        let metadata = &job.object["metadata"];
        assert_eq!(
            metadata["labels"],
            json!({"app": "smoke", UPGRADE_LABEL: "uid", CHECK_LABEL: "smoke"})
        );
        assert_eq!(metadata["annotations"], json!({"a": "b"}));
        assert_eq!(metadata["namespace"], "shop");
        assert_eq!(job.object["spec"], json!({"backoffLimit": 1, "template": {}}));
        let name = metadata["name"].as_str().unwrap();
        assert!(name.starts_with("seedbed-smoke-") && name.len() < 63, "{name}");
    }

    #[test]
    fn a_job_has_ended_when_it_says_so() {
        let of = |conditions: Value| {
            let job = json!({"metadata": {}, "status": {"active": 0, "conditions": conditions}});
            state(&serde_json::from_value(job).unwrap())
        };
        let told = |type_: &str, status: &str| json!([{"type": type_, "status": status, "reason": "R", "message": "m"}]);
        assert_eq!(of(json!([])), CheckState::Running);
        assert_eq!(of(told("SuccessCriteriaMet", "True")), CheckState::Running);
        assert_eq!(of(told("Complete", "False")), CheckState::Running);
        assert_eq!(of(told("Complete", "True")), CheckState::Complete);
        assert_eq!(of(told("Failed", "True")), CheckState::Failed("R: m".into()));
    }

    #[test]
    fn the_api_servers_words_are_told_and_an_applications_are_not() {
        let status = br#"{"kind":"Status","apiVersion":"v1","message":"no endpoints available"}"#;
        assert_eq!(
            words_of_api_server(status).as_deref(),
            Some("no endpoints available")
        );
        assert_eq!(words_of_api_server(br#"{"message":"password: x"}"#), None);
        assert_eq!(words_of_api_server(b"<html>"), None);
        assert_eq!(words_of_api_server(b""), None);
    }
}
