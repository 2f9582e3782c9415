//! Which timing profile a cluster has.

use seedbed_crds::{DevCluster, HypervisorHost, TimingProfile};

/// The profile that the cluster was made with; for one that is still to be made the host's own choice, and without one `Relaxed`
/// where guests are emulated.
pub fn of(cluster: &DevCluster, host: &HypervisorHost) -> TimingProfile {
    let made_with = cluster
        .status
        .as_ref()
        .filter(|s| s.initialized)
        .and_then(|s| s.timing_profile);
    made_with
        .or(host.spec.timing_profile)
        .unwrap_or(if host.spec.is_emulated() {
            TimingProfile::Relaxed
        } else {
            TimingProfile::Standard
        })
}
