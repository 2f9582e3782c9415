//! The APIs of the child clusters.
//!
//! One shared set of watches for each child; what they saw last is its [`ChildView`], read without waiting. Calls that change
//! something are idempotent.

mod access;
mod checks;
mod error;
mod keeper;
mod kube_child;
mod node;
mod pods;
mod serving;
mod survey;
mod token;
mod view;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use seedbed_crds::{HttpGetCheck, RequestCounts};
use seedbed_kubeadm::token::BootstrapToken;
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::{ControlPlanePod, Survey};

pub use access::{ChildAccess, ChildKey};
pub use checks::{JobSeen, NewJob};
pub use error::ChildError;
pub use keeper::ChildKeeper;
pub use kube_child::connect;
pub use node::{CLOSED_BY_ANNOTATION, NODE_LABELS_ANNOTATION, NodeShape};
pub use pods::{Eviction, PodRef};
pub use serving::Serving;
pub use view::{ChildView, ObjectName};

/// Gives the APIs of child clusters.
pub trait Children: Send + Sync + 'static {
    /// The API of that child: the same one, with the same watches, for as long as the access stays the same. Fails where the
    /// access itself cannot be used, such as a certificate that is none.
    fn api(&self, key: &ChildKey, access: &ChildAccess) -> Result<Arc<dyn ChildApi>, ChildError>;

    /// Ends the watches of a child that is deleted.
    fn forget(&self, key: &ChildKey);

    /// Children of which something that matters changed.
    fn triggers(&self) -> BoxStream<'static, ChildKey>;
}

/// The API of one child cluster. Every call has its answer within a limit; an error tells whether the child said it itself.
#[async_trait]
pub trait ChildApi: Send + Sync + 'static {
    /// What the watches saw last. Never waits.
    fn view(&self) -> ChildView;

    /// Whether the first look is over, whatever came of it. Before that, nothing is known only because nobody had the time to look.
    fn has_looked(&self) -> bool;

    /// Has a child that did not answer so far looked at again at once, since there is reason to think that it does now. Until that look
    /// is over, nobody has looked.
    fn look_again(&self);

    /// The node of that name, as in [`Self::view`].
    fn node(&self, name: &str) -> Observed<Option<Node>>;

    /// Whether `kube-public/cluster-info` is there, which joining nodes read.
    async fn cluster_info_ready(&self) -> Result<bool, ChildError>;

    /// Makes the bootstrap token with that expiry, or gives the one that is there that expiry.
    async fn ensure_token(
        &self,
        token: &BootstrapToken,
        expires: Timestamp,
        description: &str,
    ) -> Result<(), ChildError>;

    /// Whether there is a bootstrap token of that id.
    async fn has_token(&self, id: &str) -> Result<bool, ChildError>;

    /// Deletes the bootstrap token of that id. Gone already is no error.
    async fn delete_token(&self, id: &str) -> Result<(), ChildError>;

    /// The node of that name as it is now, and not as the watch saw it last.
    async fn node_now(&self, name: &str) -> Result<Option<Node>, ChildError>;

    /// Gives the node that form where it has another one; whether anything was written.
    async fn shape_node(&self, name: &str, shape: &NodeShape) -> Result<bool, ChildError>;

    /// Marks the node as one that takes no new pods; whether anything was written.
    async fn cordon(&self, name: &str) -> Result<bool, ChildError>;

    /// Closes the node for new pods on behalf of `who`, and notes that on it; a node that is closed already stays as it is. Whether
    /// anything was written.
    async fn close_node(&self, name: &str, who: &str) -> Result<bool, ChildError>;

    /// Opens the node where `who` closed it; whether anything was written.
    async fn open_node(&self, name: &str, who: &str) -> Result<bool, ChildError>;

    /// kubeadm's `ClusterConfiguration` as it stands in the cluster.
    async fn cluster_configuration(&self) -> Result<String, ChildError>;

    /// What the API server runs, and what it behaves like, now.
    async fn serving(&self) -> Result<Serving, ChildError>;

    /// The pods of the control plane.
    async fn control_plane_pods(&self) -> Observed<Vec<ControlPlanePod>>;

    /// What the API server has answered since it was started, by its metrics, within a minute: it writes millions of bytes for that.
    async fn requests(&self) -> Observed<RequestCounts>;

    /// Asks a Service by way of the API server: whether it answers as it should; if not, what it does.
    async fn probe(&self, probe: &HttpGetCheck) -> Result<Result<(), String>, ChildError>;

    /// Makes the Job of a check, unless it is there.
    async fn make_job(&self, job: &NewJob) -> Result<(), ChildError>;

    /// Has the API server look at the Job of a check as if it were to be made. Nothing is stored.
    async fn try_job(&self, job: &NewJob) -> Result<(), ChildError>;

    /// The Jobs of the checks of the upgrade with that UID.
    async fn check_jobs(&self, upgrade: &str) -> Result<Vec<JobSeen>, ChildError>;

    /// Removes the Job and its pods. Gone already is no error.
    async fn delete_job(&self, job: &JobSeen) -> Result<(), ChildError>;

    /// The pods of the node that a drain has to move: neither mirror pods nor those of `DaemonSet`s, nor finished ones.
    async fn evictable_pods(&self, node: &str) -> Result<Vec<PodRef>, ChildError>;

    /// Asks for the pod to be evicted, as its disruption budgets allow.
    async fn evict(&self, pod: &PodRef) -> Result<Eviction, ChildError>;

    /// Deletes the node of that name and UID. Gone already, or another one of that name, is no error and nothing is deleted.
    async fn delete_node(&self, name: &str, uid: &str) -> Result<(), ChildError>;

    /// Looks once at what is in the way of an upgrade, within a minute. Nothing is changed.
    async fn survey(&self) -> Survey;
}
