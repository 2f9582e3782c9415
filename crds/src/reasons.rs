//! Condition types and the reasons they can have: one list, from which the documentation is generated too.

use std::fmt;

macro_rules! conditions {
    ($($(#[doc = $doc:literal])+ $name:ident = $type_:literal on [$($kind:literal),+],)+) => {
        /// Condition types. `Progressing`, `Stalled` and a summary are on every kind: `Ready`, or `Succeeded` where something comes to
        /// an end. kstatus reads `Ready` and `Stalled`.
        pub mod condition {
            $($(#[doc = $doc])+ pub const $name: &str = $type_;)+

            /// A condition type, for the documentation.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct Type {
                /// Its name as it stands in a condition.
                pub name: &'static str,
                /// What holds where it is True.
                pub meaning: &'static str,
                /// The kinds that have it.
                pub kinds: &'static [&'static str],
            }

            /// Every condition type there is.
            pub const ALL: &[Type] = &[
                $(Type { name: $type_, meaning: concat!($($doc,)+).trim_ascii(), kinds: &[$($kind),+] },)+
            ];
        }
    };
}

conditions! {
    /// Summary: the object is as asked for.
    READY = "Ready" on ["DevCluster", "NodePool", "DevMachine", "HypervisorHost", "KubernetesRelease"],
    /// Summary: what was asked for is done. With `dryRun`, that the upgrade is planned and the preflight found nothing that stops it.
    SUCCEEDED = "Succeeded" on ["ClusterUpgrade"],
    /// Something is being done about it.
    PROGRESSING = "Progressing" on ["DevCluster", "NodePool", "ClusterUpgrade", "DevMachine", "HypervisorHost", "KubernetesRelease"],
    /// Nothing can be done about it until a person changes something.
    STALLED = "Stalled" on ["DevCluster", "NodePool", "ClusterUpgrade", "DevMachine", "HypervisorHost", "KubernetesRelease"],
    /// The upgrade cannot be undone any more.
    POINT_OF_NO_RETURN_PASSED = "PointOfNoReturnPassed" on ["ClusterUpgrade"],
    /// The cluster runs another Kubernetes version than `spec.version` asks for.
    VERSION_DRIFT = "VersionDrift" on ["DevCluster"],
    /// What the schema cannot check about the spec was found right.
    SPEC_VALID = "SpecValid" on ["DevCluster"],
    /// The host can be reached.
    HOST_REACHABLE = "HostReachable" on ["DevCluster", "HypervisorHost"],
    /// The release is known and complete on the host.
    RELEASE_AVAILABLE = "ReleaseAvailable" on ["DevCluster", "KubernetesRelease"],
    /// The cluster's network is there.
    NETWORK_READY = "NetworkReady" on ["DevCluster"],
    /// kubeadm initialised the control plane; from then on there is data to lose.
    CONTROL_PLANE_INITIALIZED = "ControlPlaneInitialized" on ["DevCluster"],
    /// The API server answers and its node is Ready.
    CONTROL_PLANE_READY = "ControlPlaneReady" on ["DevCluster"],
    /// All workers are Ready.
    WORKERS_READY = "WorkersReady" on ["DevCluster"],
    /// Cluster DNS answers.
    DNS_READY = "DNSReady" on ["DevCluster"],
    /// `NetworkPolicy` objects have an effect.
    NETWORK_POLICY_ENFORCED = "NetworkPolicyEnforced" on ["DevCluster"],
    /// The virtual machine exists and runs.
    INFRASTRUCTURE_READY = "InfrastructureReady" on ["DevMachine"],
    /// kubeadm did its work on the machine.
    BOOTSTRAPPED = "Bootstrapped" on ["DevMachine"],
    /// The machine's node is Ready.
    NODE_READY = "NodeReady" on ["DevMachine"],
    /// All machines are of the present template.
    UP_TO_DATE = "UpToDate" on ["NodePool"],
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $remedy:literal,)+) => {
        /// Why a condition is as it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason as it stands in a condition.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The reason that stands so in a condition.
            pub fn of(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// What a person can do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }
        }
    };
}

reasons! {
    /// It is as it was asked for.
    AsAsked => "Nothing to do.",
    /// It has not been looked at yet.
    NotObserved => "Wait; if it stays, see whether the operator runs and holds its lease.",
    /// Work is under way.
    Reconciling => "Wait; the message names the step.",
    /// `spec.paused` is true: the operator changes nothing.
    Paused => "Set spec.paused to false to go on.",
    /// The object is being deleted.
    Deleting => "Wait; the message names what is still there.",
    /// The spec asks for something that cannot be; the message names the field, what was found and what is possible.
    InvalidSpec => "Change the field that the message names.",
    /// A patch of kubeadm's configuration cannot be applied, or makes a document that kubeadm would refuse.
    InvalidPatch => "Mend the patch that the message names by its number.",
    /// A Secret that a file of the spec takes its content from is missing or lacks the key.
    SecretNotFound => "Create the Secret with that key, or change the reference.",
    /// The `DevCluster` that `spec.clusterRef` names does not exist.
    ClusterNotFound => "Create the DevCluster, or delete this object.",
    /// Another object would have machines of the same names.
    NameConflict => "Rename one of the two objects, or remove what has the name on the host.",
    /// The `HypervisorHost` that `spec.hostRef` names does not exist.
    HostNotFound => "Create the HypervisorHost, or change spec.hostRef.",
    /// The host cannot be reached. Nothing is concluded from that: machines may run on.
    HostUnreachable => "See that the host's libvirt daemon runs and that spec.libvirt.uri of the HypervisorHost is right; of a simulated host, that seedbed-simulator runs and listens on spec.simulated.socket.",
    /// The host can be reached.
    HostReachable => "Nothing to do.",
    /// The host's storage pool is missing or not active.
    StoragePoolUnusable => "Define and start the pool on the host, or change spec.libvirt.storagePool.",
    /// No `KubernetesRelease` has the version that is asked for.
    ReleaseNotFound => "Create the KubernetesRelease, or ask for one of the versions that the message lists.",
    /// The release's guest image is being put on the host.
    ReleaseTransferring => "Wait.",
    /// A file of the release cannot be read, or its digest is not the one in its spec.
    ReleaseBroken => "Mend the release's url or sha256, as the message says.",
    /// The release is on the host.
    ReleasePresent => "Nothing to do.",
    /// A range overlaps another one that is in use on the host.
    CIDRInUse => "Choose another range, or leave network.nodeCIDR out to get a free one.",
    /// The host's address range has no free part left.
    AddressesExhausted => "Delete clusters, or give the HypervisorHost a wider nodeAddressRange.",
    /// The host has not enough memory or disk left for the machine.
    InsufficientCapacity => "Do what the message proposes with its numbers; the machine is made as soon as it fits.",
    /// The network is there.
    NetworkActive => "Nothing to do.",
    /// The host refused an operation.
    HostRefused => "The message has the host's words; the operation is tried again with growing pauses.",
    /// The virtual machine is being made.
    Provisioning => "Wait; the message names the step.",
    /// The virtual machine runs.
    Running => "Nothing to do.",
    /// The virtual machine is not running.
    NotRunning => "It is started again; if that fails, the message says why.",
    /// The guest's agent does not answer yet.
    WaitingForGuest => "Wait for the guest to boot; look at its console with virsh console if it takes long.",
    /// The machine waits for the control plane to be able to take new nodes.
    WaitingForControlPlane => "Wait for the control plane; see its DevMachine.",
    /// kubeadm runs.
    Bootstrapping => "Wait; the message names kubeadm's step.",
    /// kubeadm did its work.
    BootstrapSucceeded => "Nothing to do.",
    /// kubeadm failed and will be tried again.
    BootstrapFailed => "The message has the last lines of its log; mend the cause if it does not pass by itself.",
    /// kubeadm failed as often as it is tried.
    BootstrapGaveUp => "Mend what the last lines of the log in the message say, in the spec; the machine is then made anew. Or delete the DevMachine to try again.",
    /// The node is not there yet.
    NodeNotRegistered => "Wait; the kubelet registers it. A worker whose node was removed joins again after five minutes.",
    /// The node says it is Ready.
    NodeReady => "Nothing to do.",
    /// The node says it is not Ready.
    NodeNotReady => "The message has the kubelet's words.",
    /// The child cluster's API cannot be reached, so nothing is known of its nodes.
    ChildUnreachable => "See whether the control plane's machine runs; nothing is removed or replaced meanwhile.",
    /// The control plane is not initialised yet.
    NotInitialized => "Wait; see the control plane's DevMachine.",
    /// A Secret with the keys of an initialised cluster was deleted.
    KeysLost => "Restore the Secret from a backup, or delete the DevCluster and create it again.",
    /// The control plane is initialised.
    Initialized => "Nothing to do.",
    /// The API server answers and its nodes are Ready.
    ControlPlaneAvailable => "Nothing to do.",
    /// Some workers are not Ready.
    WorkersNotReady => "The message names them; see their DevMachines.",
    /// All workers are Ready.
    AllWorkersReady => "Nothing to do.",
    /// There is no `NodePool` for this cluster.
    NoWorkers => "Nothing to do, or create a NodePool.",
    /// Cluster DNS answers.
    DNSAvailable => "Nothing to do.",
    /// Cluster DNS is not available.
    DNSUnavailable => "See the coredns Deployment in the child cluster; it needs a node that takes its pods.",
    /// The Bridge plugin does not enforce network policies.
    BridgeDoesNotEnforce => "Use cni.type None and install a plugin that enforces them, where policies have to hold.",
    /// The plugin is the user's own: whether it enforces network policies is not known.
    UserManagedCNI => "See the documentation of the plugin that you installed.",
    /// Machines are being replaced because their template changed.
    RollingOut => "Wait; the message says how far it is.",
    /// Machines are being made or removed to reach the wanted number.
    Scaling => "Wait; the message says how far it is.",
    /// The upgrade is planned, and the preflight found nothing that stops it.
    PreflightPassed => "Read status.steps and the warnings in status.findings.",
    /// The preflight found something that stops the upgrade.
    PreflightFailed => "Do what the findings of severity Error in status.findings say; the upgrade is checked again by itself.",
    /// Something that the preflight has to know could not be seen.
    PreflightUnknown => "Mend what the findings of severity Unknown in status.findings name; the upgrade is checked again by itself.",
    /// Another upgrade of the cluster is under way.
    Queued => "Wait for the upgrade that the message names, or cancel it.",
    /// A step of an upgrade is under way.
    Upgrading => "Wait; the message names the step. Set spec.cancel to true to take the cluster back, as long as status.undoable is Yes.",
    /// The new control plane is watched.
    Soaking => "Wait; the message says for how long. Set spec.cancel to true to take the cluster back.",
    /// The upgrade waits for a person's word before its point of no return.
    WaitingForApproval => "kubectl annotate clusterupgrade NAME seedbed.dev/approve=true goes on; spec.cancel: true takes the cluster back.",
    /// A step of an upgrade failed, and is tried again.
    StepFailed => "The message has the last lines of its log; mend the cause if it does not pass by itself.",
    /// Pods cannot leave a node that is upgraded.
    DrainBlocked => "Make room in the PodDisruptionBudget that the message names, or delete the pod.",
    /// The upgrade is being undone.
    Undoing => "Wait; the message says why, and names the step.",
    /// A step of an upgrade could not be undone, and is tried again.
    UndoFailed => "The message has the last lines of its log, and what it would do; mend the cause if it does not pass by itself.",
    /// The cluster runs the version that was asked for.
    Upgraded => "Nothing to do.",
    /// The upgrade failed before its point of no return, and the cluster is as it was before.
    RolledBack => "Mend what the message says; then create another ClusterUpgrade.",
    /// The upgrade failed after its point of no return, and the snapshot that was taken before it is restored: what was written since is lost.
    RestoredFromSnapshot => "Make anew what was written since the time in the message; mend what the message says; then create another ClusterUpgrade.",
    /// The upgrade was cancelled, and the cluster is as it was before.
    Cancelled => "Nothing to do; delete the ClusterUpgrade when you have read it.",
    /// Everything that was done so far can be undone.
    CanBeUndone => "Nothing to do; spec.cancel: true takes the cluster back.",
    /// What was done cannot be undone any more.
    CannotBeUndone => "Nothing to do; the upgrade goes on until it is done. Where it cannot, spec.onFailureAfterCommit: RestoreSnapshot gives up what was written since its beginning.",
    /// An upgrade of the cluster is under way, or about to be; no machine is made or replaced meanwhile.
    UpgradeInProgress => "Wait for the ClusterUpgrade that the message names.",
    /// The cluster runs a newer version than its spec asks for.
    NewerThanAsked => "Set spec.version to the version that the cluster runs.",
    /// The upgrade to the version that is asked for failed or was cancelled.
    UpgradeFailed => "Mend what the ClusterUpgrade that the message names says, and delete it to try again; or set spec.version back.",
    /// No upgrade leads to the version that is asked for.
    NoUpgradePath => "Do what the message says, or set spec.version back.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
