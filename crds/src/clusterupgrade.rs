//! `ClusterUpgrade`: one Kubernetes upgrade of a cluster, from its plan to its end.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::LocalReference;
use crate::soak::{UpgradeCheck, UpgradeWatch};

/// One Kubernetes upgrade of a `DevCluster`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "seedbed.dev",
    version = "v1alpha1",
    kind = "ClusterUpgrade",
    namespaced,
    status = "ClusterUpgradeStatus",
    derive = "PartialEq",
    shortname = "cu",
    category = "seedbed",
    doc = "One Kubernetes upgrade of a DevCluster: a plan of steps that can be undone up to the step Commit. With dryRun it is only planned and checked.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name", description = "The DevCluster that is upgraded."),
    printcolumn(name = "From", type_ = "string", json_path = ".status.from", description = "The version that the cluster runs."),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.version", description = "The version that is asked for."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Summary of the conditions."),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step", description = "How many of the plan's steps are done."),
    printcolumn(name = "Undoable", type_ = "string", json_path = ".status.undoable", description = "Whether the cluster can still be taken back to the old version."),
    printcolumn(name = "Errors", type_ = "integer", json_path = ".status.errorCount", description = "How many findings stop the upgrade.", priority = 1),
    printcolumn(name = "Warnings", type_ = "integer", json_path = ".status.warningCount", description = "How many findings do not stop it.", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Succeeded')].reason", priority = 1, description = "Why it has or has not succeeded."),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Succeeded')].message", priority = 1, description = "What was found and what to do."),
    validation = Rule::new("self.spec.clusterRef == oldSelf.spec.clusterRef").message("spec.clusterRef cannot be changed: create another ClusterUpgrade"),
    validation = Rule::new("self.spec.version == oldSelf.spec.version").message("spec.version cannot be changed: create another ClusterUpgrade"),
    validation = Rule::new("self.spec.dryRun == oldSelf.spec.dryRun").message("spec.dryRun cannot be changed: create another ClusterUpgrade")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!self.dryRun || !self.cancel", "spec.cancel has nothing to cancel with dryRun: delete the ClusterUpgrade"),
    validation = ("!has(self.skipPreflight) || !self.skipPreflight.exists(c, c in ['VersionPath', 'Skew', 'Release'])", "VersionPath, Skew and Release cannot be skipped: no upgrade can be carried out against them")
)]
pub struct ClusterUpgradeSpec {
    /// The `DevCluster` that is upgraded, in the same namespace.
    pub cluster_ref: LocalReference,
    /// The Kubernetes version to upgrade to: a newer patch of the cluster's minor version, or any patch of the next one.
    #[schemars(length(max = 20), regex(pattern = r"^v1\.[0-9]{1,3}\.[0-9]{1,3}$"))]
    pub version: String,
    /// Only plan and check: nothing is changed, neither in the cluster nor on its host.
    #[serde(default)]
    pub dry_run: bool,
    /// Takes the cluster back to the old version, from any step before `Commit`. Has no effect after it.
    #[serde(default)]
    pub cancel: bool,
    /// How long the new control plane is watched before `Commit`, such as `30m`.
    #[serde(default = "default_soak")]
    #[schemars(length(max = 10), regex(pattern = r"^[0-9]{1,6}(ms|s|m)$"))]
    pub soak: String,
    /// What follows where the upgrade fails after `Commit`: a step that failed three times, or a cluster that is not as it should be a quarter
    /// of an hour after the last one. May be changed at any time; `RestoreSnapshot` then also counts for what has failed already.
    #[serde(default)]
    pub on_failure_after_commit: OnFailureAfterCommit,
    /// What else has to hold while the new control plane is watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub checks: Vec<UpgradeCheck>,
    /// Whether `Commit` follows by itself, or waits for the annotation `seedbed.dev/approve: "true"`.
    #[serde(default)]
    pub approval: Approval,
    /// Checks whose findings do not stop the upgrade. They are still listed, as skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub skip_preflight: Vec<PreflightCheck>,
}

/// How long a new control plane is watched where nothing else is said.
pub fn default_soak() -> String {
    "5m".to_owned()
}

/// Annotation of a `ClusterUpgrade` with `approval: Manual`: with the value `true` it goes on to `Commit`.
pub const APPROVE_ANNOTATION: &str = "seedbed.dev/approve";

/// Who decides that an upgrade passes its point of no return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// Nobody: it follows when the control plane was watched for long enough.
    #[default]
    Automatic,
    /// A person, by an annotation.
    Manual,
}

/// What follows where an upgrade fails after its point of no return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailureAfterCommit {
    /// It is tried again and again, and a person is asked.
    #[default]
    Stall,
    /// The snapshot that was taken before the upgrade is restored: everything that was written to the cluster's API since then is lost.
    RestoreSnapshot,
}

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What is looked at before an upgrade.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum PreflightCheck { $($(#[doc = $doc])+ $name,)+ }

        impl PreflightCheck {
            /// Every check there is, in the order in which their findings are listed.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

checks! {
    /// The target is a newer patch of the same minor version, or the next minor version.
    VersionPath,
    /// No kubelet is newer than the API server, or more than three minor versions older than the target.
    Skew,
    /// The target's `KubernetesRelease` is on the cluster's host.
    Release,
    /// The cluster is Ready.
    ClusterReady,
    /// The cluster is not paused.
    Paused,
    /// No machine of the cluster is being made, replaced or removed.
    OtherOperation,
    /// Every machine has a node that is Ready.
    NodesReady,
    /// No node is short of memory, disk or process IDs.
    NodePressure,
    /// etcd, kube-apiserver, kube-controller-manager and kube-scheduler are Ready on every control plane.
    ControlPlanePods,
    /// etcd has a leader, no alarm, and room in its database.
    Etcd,
    /// No certificate of a control plane expires while it is upgraded, or soon.
    Certificates,
    /// Every machine has memory and disk space for what an upgrade takes.
    GuestResources,
    /// Nothing is asked for, or stored, in API versions that the target does not serve any more.
    RemovedAPIs,
    /// No alpha feature is on: the new API server cannot emulate the old version with one.
    AlphaGates,
    /// Every webhook without which requests fail has an endpoint that is ready.
    Webhooks,
    /// Every `PodDisruptionBudget` allows its pods to be moved at some time.
    DisruptionBudgets,
    /// The host has room for the snapshots of the control planes' disks.
    HostCapacity,
    /// Those of `spec.checks` hold before anything is begun, as far as that can be tried.
    Checks,
}

/// What was found of an upgrade.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterUpgradeStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; `Succeeded` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Summary of the conditions for people. Never read by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// UID of the cluster that it was begun on: another one of the same name is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<String>,
    /// The version that the cluster's API server says it runs; of an upgrade that was begun, the version before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version to upgrade to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The plan, in the order of its steps. None where there is no way from the one version to the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<UpgradeStep>,
    /// How many steps of the plan are done, such as `4/12`; while the upgrade is undone, how many still stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// `Yes` as long as the cluster can be taken back to the old version; absent where nothing was begun, or everything was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoable: Option<String>,
    /// Why the upgrade is undone, or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UpgradeUndo>,
    /// How often a step has changed its state: of two copies of the steps, the one with the higher number is the later one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transitions: i64,
    /// Id of the step after which the cluster cannot be taken back to the old version any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_of_no_return: Option<String>,
    /// What the preflight found, the worst first, and at most 200 of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<PreflightFinding>,
    /// How many findings stop the upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_count: Option<i32>,
    /// How many findings do not stop it, those that are skipped left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning_count: Option<i32>,
}

/// One step of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStep {
    /// Names the step within its upgrade.
    pub id: String,
    /// The part of the upgrade that it belongs to.
    pub phase: UpgradePhase,
    /// What it is done to.
    pub target: UpgradeTarget,
    /// Version of what it changes, before; absent where it changes no version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Version of what it changes, after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What is done.
    pub message: String,
    /// How it is undone; absent where it cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<String>,
    /// How far it is.
    pub state: UpgradeStepState,
    /// How often it was tried; while it is undone, how often that was.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempt: i32,
    /// How often it had been tried when it was begun to be undone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tried: i32,
    /// Names the present attempt's jobs in the guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When the present attempt was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Since when something is wrong that a step which watches the cluster does not bear for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwell_since: Option<Time>,
    /// What a step that watches the cluster has noted of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<UpgradeWatch>,
}

/// The parts of an upgrade, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum UpgradePhase {
    /// The cluster is looked at.
    Preflight,
    /// What is needed to restore the control plane is kept.
    Snapshot,
    /// What the new version needs is put on every node.
    Preload,
    /// The control plane's programs are replaced.
    ControlPlane,
    /// The new control plane is watched.
    Soak,
    /// The new version takes effect: the point of no return.
    Commit,
    /// etcd is replaced.
    Etcd,
    /// The kubelets are replaced.
    Nodes,
    /// kube-proxy and cluster DNS are replaced.
    Addons,
    /// The upgraded cluster is looked at.
    Verify,
}

/// What a step is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeTarget {
    /// Its kind.
    pub kind: UpgradeTargetKind,
    /// Its name.
    pub name: String,
}

/// Kind of what a step is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UpgradeTargetKind {
    /// The cluster as a whole.
    DevCluster,
    /// All machines of a pool.
    NodePool,
    /// One machine.
    DevMachine,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpgradeStepState {
    /// It belongs to the plan and was not begun.
    Planned,
    /// It is under way: written down before anything of it is done.
    Running,
    /// It is done.
    Succeeded,
    /// The last attempt failed.
    Failed,
    /// It is being undone: written down before anything of that is done.
    Undoing,
    /// The last attempt to undo it failed.
    UndoFailed,
    /// It is undone.
    Undone,
}

/// Why an upgrade is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeUndo {
    /// What made it so.
    pub cause: UndoCause,
    /// In words.
    pub message: String,
    /// Since when.
    pub since: Time,
    /// Where a snapshot is restored: since when what was written to the cluster's API is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_lost_since: Option<Time>,
    /// Names of the machines whose disks were taken back to when the snapshot was taken, because that could not be used as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reverted_disks: Vec<String>,
}

/// What made an upgrade be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UndoCause {
    /// A person wanted it: `spec.cancel`, or the upgrade's deletion.
    Cancelled,
    /// A step failed as often as it is tried.
    StepFailed,
    /// The new control plane was not well while it was watched.
    SoakFailed,
    /// It failed after its point of no return, and `spec.onFailureAfterCommit` is `RestoreSnapshot`.
    FailedAfterCommit,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Something that the preflight found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreflightFinding {
    /// The check that found it.
    pub check: PreflightCheck,
    /// Kind and name of what it was found at.
    pub object: String,
    /// How much it matters.
    pub severity: PreflightSeverity,
    /// What was found, what was expected, and what to do.
    pub message: String,
    /// Whether the check is in `spec.skipPreflight`, so that the finding does not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PreflightSeverity {
    /// The upgrade would fail or do harm: it is not begun.
    Error,
    /// It could not be seen, and does not count as right.
    Unknown,
    /// The upgrade can be carried out, and somebody should know.
    Warning,
}
