//! The API of a child cluster through a client of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use seedbed_crds::{HttpGetCheck, RequestCounts};
use seedbed_kubeadm::token::BootstrapToken;
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::{ControlPlanePod, Survey};
use serde_json::json;
use tokio::sync::Notify;
use x509_parser::pem::Pem;

use super::watch::Seen;
use super::{
    ChildAccess, ChildApi, ChildError, ChildKey, ChildView, Eviction, JobSeen, NewJob, NodeShape, PodRef,
    Serving, checks, node, pods, serving, survey, token,
};
use crate::client;

/// The API of a child cluster through a client of its own.
pub(super) struct KubeChild {
    key: ChildKey,
    client: Client,
    seen: Arc<Mutex<Seen>>,
    again: Arc<Notify>,
}

impl KubeChild {
    /// What its watches see is in `seen`; `again` has them look at once.
    pub(super) fn new(key: ChildKey, client: Client, seen: Arc<Mutex<Seen>>, again: Arc<Notify>) -> Self {
        Self {
            key,
            client,
            seen,
            again,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, operation: &str) -> impl FnOnce(kube::Error) -> ChildError {
        move |error| ChildError::of(&self.key, operation, &error)
    }
}

#[async_trait]
impl ChildApi for KubeChild {
    fn view(&self) -> ChildView {
        self.seen().view()
    }

    fn has_looked(&self) -> bool {
        self.seen().has_looked()
    }

    fn look_again(&self) {
        self.seen().look_again();
        self.again.notify_one();
    }

    fn node(&self, name: &str) -> Observed<Option<Node>> {
        self.seen().node(name)
    }

    async fn cluster_info_ready(&self) -> Result<bool, ChildError> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), "kube-public");
        let found = api.get_metadata_opt("cluster-info").await;
        Ok(found
            .map_err(self.failed("look at ConfigMap kube-public/cluster-info"))?
            .is_some())
    }

    async fn ensure_token(
        &self,
        token: &BootstrapToken,
        expires: Timestamp,
        description: &str,
    ) -> Result<(), ChildError> {
        token::ensure(&self.client, &self.key, token, expires, description).await
    }

    async fn has_token(&self, id: &str) -> Result<bool, ChildError> {
        token::exists(&self.client, &self.key, id).await
    }

    async fn delete_token(&self, id: &str) -> Result<(), ChildError> {
        token::delete(&self.client, &self.key, id).await
    }

    async fn node_now(&self, name: &str) -> Result<Option<Node>, ChildError> {
        node::get(&self.client, &self.key, name).await
    }

    async fn shape_node(&self, name: &str, shape: &NodeShape) -> Result<bool, ChildError> {
        node::shape(&self.client, &self.key, name, shape).await
    }

    async fn cordon(&self, name: &str) -> Result<bool, ChildError> {
        node::cordon(&self.client, &self.key, name).await
    }

    async fn close_node(&self, name: &str, who: &str) -> Result<bool, ChildError> {
        node::close(&self.client, &self.key, name, who).await
    }

    async fn open_node(&self, name: &str, who: &str) -> Result<bool, ChildError> {
        node::open(&self.client, &self.key, name, who).await
    }

    async fn cluster_configuration(&self) -> Result<String, ChildError> {
        let what = "read ConfigMap kube-system/kubeadm-config";
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), "kube-system");
        let found = api.get("kubeadm-config").await.map_err(self.failed(what))?;
        let text = found
            .data
            .and_then(|mut data| data.remove("ClusterConfiguration"));
        text.ok_or_else(|| ChildError::Unusable {
            cluster: self.key.clone(),
            what: "ConfigMap kube-system/kubeadm-config".to_owned(),
            message: "it has no key ClusterConfiguration, without which kubeadm upgrades nothing: restore it"
                .to_owned(),
        })
    }

    async fn serving(&self) -> Result<Serving, ChildError> {
        serving::get(&self.client)
            .await
            .map_err(self.failed("read /version"))
    }

    async fn control_plane_pods(&self) -> Observed<Vec<ControlPlanePod>> {
        survey::control_plane_pods(&self.client, &self.key).await
    }

    async fn requests(&self) -> Observed<RequestCounts> {
        survey::requests(&self.client, &self.key).await
    }

    async fn probe(&self, probe: &HttpGetCheck) -> Result<Result<(), String>, ChildError> {
        checks::probe(&self.client, &self.key, probe).await
    }

    async fn make_job(&self, job: &NewJob) -> Result<(), ChildError> {
        checks::create(&self.client, &self.key, job, false).await
    }

    async fn try_job(&self, job: &NewJob) -> Result<(), ChildError> {
        checks::create(&self.client, &self.key, job, true).await
    }

    async fn check_jobs(&self, upgrade: &str) -> Result<Vec<JobSeen>, ChildError> {
        checks::jobs(&self.client, &self.key, upgrade).await
    }

    async fn delete_job(&self, job: &JobSeen) -> Result<(), ChildError> {
        checks::delete(&self.client, &self.key, job).await
    }

    async fn evictable_pods(&self, node: &str) -> Result<Vec<PodRef>, ChildError> {
        pods::evictable(&self.client, &self.key, node).await
    }

    async fn evict(&self, pod: &PodRef) -> Result<Eviction, ChildError> {
        pods::evict(&self.client, &self.key, pod).await
    }

    async fn delete_node(&self, name: &str, uid: &str) -> Result<(), ChildError> {
        node::delete(&self.client, &self.key, name, uid).await
    }

    async fn survey(&self) -> Survey {
        Box::pin(survey::survey(&self.client, &self.key)).await
    }
}

/// A client of the child's API, as its administrator, over TLS. Calls have their answer within `limit`.
pub fn connect(key: &ChildKey, access: &ChildAccess, limit: Duration) -> Result<Client, ChildError> {
    let unusable = |what: &str, message: String| ChildError::Unusable {
        cluster: key.clone(),
        what: what.to_owned(),
        message,
    };
    let url = access.endpoint.parse().map_err(|error: http::uri::InvalidUri| {
        unusable(&format!("the endpoint {}", access.endpoint), error.to_string())
    })?;
    let mut config = Config::new(url);
    let roots: Vec<Vec<u8>> = Pem::iter_from_buffer(access.ca_pem.as_bytes())
        .map(|pem| pem.map(|pem| pem.contents))
        .collect::<Result<_, _>>()
        .map_err(|error| unusable("the CA certificate", error.to_string()))?;
    if roots.is_empty() {
        return Err(unusable(
            "the CA certificate",
            "found no PEM block, expected one".to_owned(),
        ));
    }
    config.root_cert = Some(roots);
    config.auth_info = serde_json::from_value::<AuthInfo>(json!({
        "client-certificate-data": STANDARD.encode(&access.certificate_pem),
        "client-key-data": STANDARD.encode(&access.key_pem),
    }))
    .map_err(|error| unusable("the administrator's certificate", error.to_string()))?;
    client::build(config, limit)
        .map_err(|error| unusable("the administrator's certificate or its key", error.to_string()))
}
