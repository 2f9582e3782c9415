//! Which timing profile the clusters of a host have.

use seedbed_crds::{DomainType, HypervisorHost, TimingProfile};

/// The host's own choice; without one, `Relaxed` where guests are emulated.
pub fn of(host: &HypervisorHost) -> TimingProfile {
    host.spec
        .timing_profile
        .unwrap_or(match host.spec.libvirt.domain_type {
            DomainType::Kvm => TimingProfile::Standard,
            DomainType::Qemu => TimingProfile::Relaxed,
        })
}
