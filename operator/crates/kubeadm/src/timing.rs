//! Timing profiles: how patient a cluster's components are with themselves and with each other.
//!
//! `Standard` leaves every period at Kubernetes' own default. `Relaxed` is for hosts that emulate their guests' CPU:
//! there the defaults make an idle control plane burn more than a core, and leases are lost only because a renewal
//! was late. Every difference between the two is a row of [`DIFFERENCES`]; the renderer reads the same rows, so the
//! table cannot differ from what a cluster gets.
//!
//! What `Relaxed` deliberately leaves alone:
//!
//! - startup probes (every 10 s): a component must be seen as started soon after it has started;
//! - how often the kubelet looks at its static pod manifests (inotify, and every 20 s);

/// How patient a cluster's components are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimingProfile {
    /// The defaults of Kubernetes.
    Standard,
    /// Longer periods, for hosts that emulate their guests' CPU.
    Relaxed,
}

/// Where a setting is given to the component that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An argument of kube-apiserver.
    ApiServerArgument,
    /// An argument of kube-controller-manager.
    ControllerManagerArgument,
    /// An argument of kube-scheduler.
    SchedulerArgument,
    /// An argument of etcd.
    EtcdArgument,
    /// A field of `KubeletConfiguration`.
    KubeletConfiguration,
    /// A flag of the kubelet that has no field in its configuration.
    KubeletFlag,
    /// A field of the probes of the control plane's static pods, as `<probe>.<field>`.
    StaticPodProbe,
    /// A field of the probes of CoreDNS, as `<probe>.<field>`.
    CoreDnsProbe,
}

/// One setting that differs between the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where the setting is given.
    pub place: Place,
    /// The setting's name.
    pub name: &'static str,
    /// What holds with `Standard`: the default of Kubernetes 1.35, which is not written anywhere.
    pub standard: &'static str,
    /// What `Relaxed` sets.
    pub relaxed: &'static str,
    /// Why, and what it costs.
    pub reason: &'static str,
}

const ETCD_REASON: &str = "where etcd answers late, an API server that works would never be taken for ready, or be restarted; an etcd that hangs is noticed this much later";
const LEASE_REASON: &str = "a late renewal must not cost the lease: its holder ends then, and to start again takes an emulated processor a minute; a leader that died is replaced after as long";
const RENEW_REASON: &str = "as long as the lease leaves room for";
const RETRY_REASON: &str = "fewer writes of an idle cluster; what takes over from a leader that died looks this rarely whether it may";

/// Every setting in which the two profiles differ.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        place: Place::ApiServerArgument,
        name: "etcd-healthcheck-timeout",
        standard: "2s",
        relaxed: "20s",
        reason: ETCD_REASON,
    },
    Difference {
        place: Place::ApiServerArgument,
        name: "etcd-readycheck-timeout",
        standard: "2s",
        relaxed: "20s",
        reason: ETCD_REASON,
    },
    Difference {
        place: Place::ControllerManagerArgument,
        name: "leader-elect-lease-duration",
        standard: "15s",
        relaxed: "100s",
        reason: LEASE_REASON,
    },
    Difference {
        place: Place::ControllerManagerArgument,
        name: "leader-elect-renew-deadline",
        standard: "10s",
        relaxed: "80s",
        reason: RENEW_REASON,
    },
    Difference {
        place: Place::ControllerManagerArgument,
        name: "leader-elect-retry-period",
        standard: "2s",
        relaxed: "20s",
        reason: RETRY_REASON,
    },
    Difference {
        place: Place::ControllerManagerArgument,
        name: "node-monitor-grace-period",
        standard: "50s",
        relaxed: "150s",
        reason: "five renewals of the node lease may be late, as with the default; a dead node is seen after 150 s",
    },
    Difference {
        place: Place::SchedulerArgument,
        name: "leader-elect-lease-duration",
        standard: "15s",
        relaxed: "100s",
        reason: LEASE_REASON,
    },
    Difference {
        place: Place::SchedulerArgument,
        name: "leader-elect-renew-deadline",
        standard: "10s",
        relaxed: "80s",
        reason: RENEW_REASON,
    },
    Difference {
        place: Place::SchedulerArgument,
        name: "leader-elect-retry-period",
        standard: "2s",
        relaxed: "20s",
        reason: RETRY_REASON,
    },
    Difference {
        place: Place::EtcdArgument,
        name: "heartbeat-interval",
        standard: "100",
        relaxed: "500",
        reason: "milliseconds; fewer wake-ups, and members of a busy host still hear each other in time",
    },
    Difference {
        place: Place::EtcdArgument,
        name: "election-timeout",
        standard: "1000",
        relaxed: "5000",
        reason: "milliseconds; ten heartbeats, as with the default",
    },
    Difference {
        place: Place::KubeletConfiguration,
        name: "syncFrequency",
        standard: "1m0s",
        relaxed: "5m0s",
        reason: "running pods are looked at less often; a changed ConfigMap or Secret reaches a mounted volume up to five minutes later",
    },
    Difference {
        place: Place::KubeletConfiguration,
        name: "nodeStatusUpdateFrequency",
        standard: "10s",
        relaxed: "20s",
        reason: "the node's state is computed half as often; not rarer, since a kubelet that waited long for its API server becomes Ready with one of these",
    },
    Difference {
        place: Place::KubeletConfiguration,
        name: "nodeStatusReportFrequency",
        standard: "5m0s",
        relaxed: "5m0s",
        reason: "Kubernetes' default, written out because it would otherwise follow nodeStatusUpdateFrequency",
    },
    Difference {
        place: Place::KubeletConfiguration,
        name: "nodeLeaseDurationSeconds",
        standard: "40",
        relaxed: "120",
        reason: "the lease is renewed after a quarter of it: every 30 s instead of every 10 s",
    },
    Difference {
        place: Place::KubeletFlag,
        name: "housekeeping-interval",
        standard: "10s",
        relaxed: "60s",
        reason: "container statistics are read less often; evictions decide on figures up to a minute old",
    },
    Difference {
        place: Place::StaticPodProbe,
        name: "livenessProbe.periodSeconds",
        standard: "10",
        relaxed: "60",
        reason: "each probe is a TLS handshake; a component that hangs is restarted after 8 minutes instead of 80 s",
    },
    Difference {
        place: Place::StaticPodProbe,
        name: "readinessProbe.periodSeconds",
        standard: "1",
        relaxed: "30",
        reason: "each probe is a TLS handshake; the kubelet probes at once when a component has started, so that it is Ready no later",
    },
    Difference {
        place: Place::CoreDnsProbe,
        name: "readinessProbe.timeoutSeconds",
        standard: "1",
        relaxed: "15",
        reason: "as for the API server: a busy emulated processor answers late, and a name server that answers late is better than none; one that hangs gets requests for up to 45 s",
    },
    Difference {
        place: Place::CoreDnsProbe,
        name: "livenessProbe.timeoutSeconds",
        standard: "5",
        relaxed: "15",
        reason: "a late answer must not cost a restart, which is what makes an emulated processor busy",
    },
    Difference {
        place: Place::CoreDnsProbe,
        name: "livenessProbe.periodSeconds",
        standard: "10",
        relaxed: "60",
        reason: "as for the static pods; one that hangs is restarted after 5 minutes instead of 50 s",
    },
];

impl TimingProfile {
    /// The profile's name, as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::Relaxed => "Relaxed",
        }
    }

    /// What the profile sets in the given place, as name and value. Nothing for `Standard`.
    pub fn settings(self, place: Place) -> impl Iterator<Item = (&'static str, &'static str)> {
        DIFFERENCES
            .iter()
            .filter(move |row| self == Self::Relaxed && row.place == place)
            .map(|row| (row.name, row.relaxed))
    }
}
