//! Warns as soon as somebody relies on network policies that nothing enforces.

use seedbed_crds::CniType;
use seedbed_crds::reasons::Reason;

use super::observe::Subject;
use crate::controllers::world::World;
use crate::events::EventType;

/// Publishes a warning that names the policies of a child whose plugin does not enforce them.
pub async fn warn(subject: &Subject, world: &World) {
    if subject.cluster.spec.cni.type_ != CniType::Bridge {
        return;
    }
    let Some(policies) = subject.view.network_policies.known().filter(|p| !p.is_empty()) else {
        return;
    };
    let mut named: Vec<String> = policies
        .iter()
        .map(|p| format!("{}/{}", p.namespace, p.name))
        .collect();
    named.sort();
    let note = format!(
        "NetworkPolicy {} in the cluster has no effect: cni.type Bridge does not enforce policies",
        named.join(", ")
    );
    if !world.policies.told(&subject.cluster, &note) {
        let reason = Reason::BridgeDoesNotEnforce.as_str();
        world
            .context
            .events
            .publish(&subject.cluster, EventType::Warning, reason, "Observe", &note)
            .await;
    }
}
