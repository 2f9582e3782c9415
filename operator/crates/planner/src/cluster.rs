//! What to do with a cluster as a whole now: its identity, its network, its control plane's machine.

use seedbed_crds::reasons::Reason;
use seedbed_planted::planted;

use crate::Observed;
use crate::upgrade::desired::Desired;

/// The cluster's control plane machine as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlaneMachine {
    /// Whether it is made from what the spec says now.
    pub up_to_date: bool,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// Whether kubeadm was begun on it, which gives it the cluster's keys.
    pub begun: bool,
}

/// Everything that was seen of a cluster that should exist.
#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one observation, and none follows from another"
)]
pub struct Seen {
    /// Whether `spec.paused` is set.
    pub paused: bool,
    /// What is wrong with the spec, as far as the schema cannot say.
    pub spec: Result<(), Problem>,
    /// Whether the host can be reached.
    pub host: Observed<()>,
    /// Whether a network range was written down.
    pub allocated: bool,
    /// Whether another cluster was given the same range, of which nothing was made here yet.
    pub contested: bool,
    /// Whether all CA Secrets are there; only looked at once there is a machine for them.
    pub pki: bool,
    /// Whether the network is up; a network of that name that is not ours is told.
    pub network: Observed<NetworkState>,
    /// Whether the network reserves addresses that no machine has been allotted.
    pub stray_addresses: bool,
    /// Whether the address of a machine that runs is not reserved any more: a call that was carried out late took it off the network, or
    /// somebody did.
    pub lost_addresses: bool,
    /// Whether there are nodes of machines that are gone.
    pub stray_nodes: bool,
    /// Whether the kubeconfig Secret is there and for the present address.
    pub kubeconfig: bool,
    /// Whether the control plane was ever initialised.
    pub initialized: bool,
    /// Whether that is written down beside the status, which may be lost.
    pub noted: bool,
    /// The control plane's machine.
    pub control_plane: Option<ControlPlaneMachine>,
    /// Whether the address of the control plane's machine is known.
    pub endpoint_known: bool,
    /// What follows from the version that the spec asks for; nothing before the control plane is initialised.
    pub version: Option<Desired>,
    /// Names of upgrades that came to their end and are more than are kept.
    pub old_upgrades: Vec<String>,
}

/// What is wrong with a cluster's spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Why.
    pub reason: Reason,
    /// What was found, what was expected, what to do.
    pub message: String,
}

/// The cluster's network on its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkState {
    /// It is up.
    Active,
    /// It is not there, or not started.
    Missing,
    /// One of that name is there and is not ours; whose it is.
    Foreign(String),
}

crate::effect::effects! {
    /// What is done to a cluster: at most one in a pass.
    pub enum Effect of "DevCluster" {
        /// Keep the object until all that it stands for is gone.
        AddFinalizer => "keeping the object until its end",
        /// Choose a network range and write it down.
        Allocate => "choosing a network range",
        /// Give the range back that another cluster was given, too: the writing of one was under way when the other was chosen.
        ReturnRange => "giving back a network range that another cluster has",
        /// Make the certificate authorities and write them down.
        CreatePki => "making the certificate authorities",
        /// Make and start the network.
        EnsureNetwork => "making the network",
        /// Take reservations off the network that no machine has been allotted.
        ReleaseAddresses => "releasing addresses that no machine has",
        /// Reserve again what machines that run were allotted.
        ReserveAddresses => "reserving the addresses of machines again",
        /// Remove nodes of machines that are gone: they went while the cluster's API could not be reached, or a snapshot of before that
        /// was restored.
        DeleteStrayNodes => "removing nodes whose machines are gone",
        /// Make the object of the control plane's machine.
        CreateControlPlane => "making the control plane's machine",
        /// Delete the object of a control plane that was never initialised and is not made from the present spec.
        ReplaceControlPlane => "replacing the control plane's machine",
        /// Write down that the control plane came up, once the status says so and its spec cannot be changed any more.
        NoteInitialized => "writing down that the control plane came up",
        /// Write the administrator's kubeconfig.
        WriteKubeconfig => "writing the kubeconfig",
        /// Make the object of the next upgrade on the way to the version that the spec asks for.
        CreateUpgrade => "making the upgrade to the version that is asked for",
        /// Delete upgrades that are not asked for any more, or are more than are kept; all that the cluster made, where it goes.
        DeleteUpgrades => "deleting upgrades that are not kept",
        /// Delete the objects of all machines.
        DeleteMachines => "deleting the machines",
        /// Remove the network.
        DeleteNetwork => "removing the network",
        /// Take our mark off the network, which stays as it is.
        DisownNetwork => "leaving the network to itself",
        /// Remove Secrets and allocations.
        DeleteSecrets => "removing Secrets and allocations",
        /// Let the object go.
        RemoveFinalizer => "letting the object go",
    }
}

impl Effect {
    /// Whether it makes or removes objects of upgrades, and nothing of the cluster itself.
    pub fn is_of_upgrades(self) -> bool {
        matches!(self, Self::CreateUpgrade | Self::DeleteUpgrades)
    }

    /// Whether what it changes is seen by a watch alone, which tells when it is so: whoever looks before that sees it as it was, and
    /// would do it again and again.
    pub fn is_watched(self) -> bool {
        matches!(
            self,
            Self::DeleteStrayNodes
                | Self::CreateControlPlane
                | Self::ReplaceControlPlane
                | Self::DeleteMachines
                | Self::CreateUpgrade
                | Self::DeleteUpgrades
        )
    }
}

/// What to do with a cluster now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Do this, and look again.
    Do(Effect),
    /// Nothing goes on until something outside changes.
    Blocked(Reason, String),
    /// A person has to change something.
    Stalled(Reason, String),
    /// The cluster's own part is done; its machines and its API decide whether it is Ready.
    Settled,
}

/// What to do with a cluster that should exist.
pub fn advance(seen: &Seen) -> Decision {
    if seen.paused {
        return Decision::Blocked(Reason::Paused, "spec.paused is true".to_owned());
    }
    if let Err(problem) = &seen.spec {
        return Decision::Stalled(problem.reason, problem.message.clone());
    }
    if let Observed::Unknown(why) = &seen.host {
        return Decision::Blocked(Reason::HostUnreachable, why.clone());
    }
    if !seen.allocated {
        return Decision::Do(Effect::Allocate);
    }
    if seen.contested && !seen.initialized {
        return Decision::Do(Effect::ReturnRange);
    }
    if seen.initialized && !seen.noted {
        return Decision::Do(Effect::NoteInitialized);
    }
    // The machine first: while the network is made it is allotted an address, which the network then has from the start.
    let control_plane = match &seen.control_plane {
        None if seen.initialized => {
            return Decision::Stalled(
                Reason::NotInitialized,
                "the control plane's DevMachine is gone and with it the cluster's data: delete the DevCluster and create it again".to_owned(),
            );
        }
        None => return Decision::Do(Effect::CreateControlPlane),
        Some(machine) => machine,
    };
    if !seen.pki {
        return without_keys(seen, control_plane);
    }
    match &seen.network {
        Observed::Unknown(why) => return Decision::Blocked(Reason::HostUnreachable, why.clone()),
        Observed::Known(NetworkState::Foreign(whose)) => {
            return Decision::Stalled(
                Reason::NameConflict,
                format!(
                    "a network of this cluster's name exists on the host and is not this cluster's ({whose}); it is left alone: remove it on the host, or give the cluster another name"
                ),
            );
        }
        Observed::Known(NetworkState::Missing) => return Decision::Do(Effect::EnsureNetwork),
        Observed::Known(NetworkState::Active) => {}
    }
    if !control_plane.up_to_date && !seen.initialized && !control_plane.deleting {
        return Decision::Do(Effect::ReplaceControlPlane);
    }
    if seen.endpoint_known && !seen.kubeconfig {
        return Decision::Do(Effect::WriteKubeconfig);
    }
    if seen.stray_addresses {
        return Decision::Do(Effect::ReleaseAddresses);
    }
    if seen.lost_addresses {
        return Decision::Do(Effect::ReserveAddresses);
    }
    if seen.stray_nodes {
        return Decision::Do(Effect::DeleteStrayNodes);
    }
    match &seen.version {
        Some(Desired::Make(..)) => return Decision::Do(Effect::CreateUpgrade),
        Some(Desired::Forget(_)) => return Decision::Do(Effect::DeleteUpgrades),
        _ if !seen.old_upgrades.is_empty() => return Decision::Do(Effect::DeleteUpgrades),
        _ => {}
    }
    Decision::Settled
}

/// What to do without the keys. A control plane that may have had them trusts no others: new ones are made for a new one only.
fn without_keys(seen: &Seen, control_plane: &ControlPlaneMachine) -> Decision {
    if seen.initialized {
        return Decision::Stalled(
            Reason::KeysLost,
            "a Secret with the cluster's certificate authorities or keys was deleted, and its nodes trust no others: restore it from a backup, or delete the DevCluster and create it again".to_owned(),
        );
    }
    if !control_plane.begun {
        return Decision::Do(Effect::CreatePki);
    }
    if control_plane.deleting {
        return Decision::Settled;
    }
    Decision::Do(Effect::ReplaceControlPlane)
}

/// Everything that was seen of a cluster that should go.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Whether `spec.paused` is set.
    pub paused: bool,
    /// Whether machines and network stay on the host.
    pub retain: bool,
    /// Machines whose deletion was not asked for yet.
    pub machines_staying: usize,
    /// All machines that are still there.
    pub machines: usize,
    /// Upgrades that the cluster made and whose deletion was not asked for yet.
    pub upgrades_staying: usize,
    /// All upgrades that it made and that are still there.
    pub upgrades: usize,
    /// Whether the network is still there and ours.
    pub network: Observed<bool>,
    /// Whether Secrets or allocations are still there.
    pub secrets: bool,
}

/// What to do with a cluster that should go.
pub fn leave(seen: &Leaving) -> Decision {
    if seen.paused {
        return Decision::Blocked(
            Reason::Paused,
            "spec.paused is true; set it to false to let the deletion go on".to_owned(),
        );
    }
    if seen.machines_staying > 0 {
        return Decision::Do(Effect::DeleteMachines);
    }
    if seen.machines > 0 {
        return Decision::Blocked(
            Reason::Deleting,
            format!("{} machines are still there", seen.machines),
        );
    }
    // They would keep their names from a cluster that is made again.
    if seen.upgrades_staying > 0 {
        return Decision::Do(Effect::DeleteUpgrades);
    }
    if seen.upgrades > 0 {
        return Decision::Blocked(
            Reason::Deleting,
            format!("{} ClusterUpgrades are still there", seen.upgrades),
        );
    }
    match &seen.network {
        Observed::Unknown(why) => return Decision::Blocked(Reason::HostUnreachable, why.clone()),
        Observed::Known(true) if planted!(FinalizerBeforeNetwork) => {}
        Observed::Known(true) if seen.retain => return Decision::Do(Effect::DisownNetwork),
        Observed::Known(true) => return Decision::Do(Effect::DeleteNetwork),
        Observed::Known(false) => {}
    }
    if seen.secrets {
        return Decision::Do(Effect::DeleteSecrets);
    }
    Decision::Do(Effect::RemoveFinalizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_cluster() -> Seen {
        Seen {
            paused: false,
            spec: Ok(()),
            host: Observed::Known(()),
            allocated: false,
            contested: false,
            pki: false,
            network: Observed::Known(NetworkState::Missing),
            stray_addresses: false,
            lost_addresses: false,
            stray_nodes: false,
            kubeconfig: false,
            initialized: false,
            noted: false,
            control_plane: None,
            endpoint_known: false,
            version: None,
            old_upgrades: Vec::new(),
        }
    }

    /// The cluster after the effect, where its machine is allotted an address as soon as it is there.
    fn after(mut seen: Seen, effect: Effect) -> Seen {
        match effect {
            Effect::Allocate => seen.allocated = true,
            Effect::CreateControlPlane => {
                seen.control_plane = Some(ControlPlaneMachine {
                    up_to_date: true,
                    deleting: false,
                    begun: false,
                });
                seen.endpoint_known = true;
            }
            Effect::CreatePki => seen.pki = true,
            Effect::EnsureNetwork => seen.network = Observed::Known(NetworkState::Active),
            Effect::WriteKubeconfig => seen.kubeconfig = true,
            other => panic!("{other:?} of a new cluster"),
        }
        seen
    }

    #[test]
    fn the_machine_is_there_before_the_network_and_the_authorities_before_a_machine_can_start() {
        let mut seen = new_cluster();
        let mut effects = Vec::new();
        while let Decision::Do(effect) = advance(&seen) {
            effects.push(effect);
            seen = after(seen, effect);
        }
        assert_eq!(advance(&seen), Decision::Settled);
        assert_eq!(
            effects,
            [
                Effect::Allocate,
                Effect::CreateControlPlane,
                Effect::CreatePki,
                Effect::EnsureNetwork,
                Effect::WriteKubeconfig
            ]
        );
    }

    #[test]
    fn a_range_that_two_were_given_is_given_back_before_anything_is_made_and_never_after_that() {
        let mut seen = Seen {
            allocated: true,
            contested: true,
            ..new_cluster()
        };
        assert_eq!(advance(&seen), Decision::Do(Effect::ReturnRange));
        (seen.initialized, seen.noted) = (true, true);
        assert_ne!(advance(&seen), Decision::Do(Effect::ReturnRange));
    }

    #[test]
    fn a_cluster_goes_when_all_that_it_made_is_gone_and_its_keys_go_last() {
        let mut seen = Leaving {
            paused: false,
            retain: false,
            machines_staying: 2,
            machines: 2,
            upgrades_staying: 1,
            upgrades: 1,
            network: Observed::Known(true),
            secrets: true,
        };
        let mut effects = Vec::new();
        loop {
            match leave(&seen) {
                Decision::Do(effect) => effects.push(effect),
                // What it was asked for has its time.
                Decision::Blocked(Reason::Deleting, _) if seen.machines > 0 => seen.machines = 0,
                Decision::Blocked(Reason::Deleting, _) => seen.upgrades = 0,
                other => panic!("{other:?} of a cluster that goes"),
            }
            match effects.last() {
                Some(Effect::DeleteMachines) => seen.machines_staying = 0,
                Some(Effect::DeleteUpgrades) => seen.upgrades_staying = 0,
                Some(Effect::DeleteNetwork) => seen.network = Observed::Known(false),
                Some(Effect::DeleteSecrets) => seen.secrets = false,
                _ => break,
            }
        }
        assert_eq!(
            effects,
            [
                Effect::DeleteMachines,
                Effect::DeleteUpgrades,
                Effect::DeleteNetwork,
                Effect::DeleteSecrets,
                Effect::RemoveFinalizer
            ]
        );
    }

    fn without_keys(initialized: bool, begun: bool) -> Decision {
        advance(&Seen {
            initialized,
            noted: initialized,
            allocated: true,
            control_plane: Some(ControlPlaneMachine {
                up_to_date: true,
                deleting: false,
                begun,
            }),
            ..new_cluster()
        })
    }

    #[test]
    fn keys_that_were_lost_are_made_anew_for_a_new_control_plane_only() {
        assert_eq!(without_keys(false, false), Decision::Do(Effect::CreatePki));
        assert_eq!(
            without_keys(false, true),
            Decision::Do(Effect::ReplaceControlPlane)
        );
        // Whether kubeadm was begun stands in the machine's status, which may be lost.
        for begun in [true, false] {
            assert!(matches!(
                without_keys(true, begun),
                Decision::Stalled(Reason::KeysLost, _)
            ));
        }
    }

    #[test]
    fn a_lost_control_plane_is_not_made_anew() {
        let seen = Seen {
            initialized: true,
            noted: true,
            allocated: true,
            pki: true,
            ..new_cluster()
        };
        assert!(matches!(
            advance(&seen),
            Decision::Stalled(Reason::NotInitialized, _)
        ));
    }

    #[test]
    fn a_control_plane_that_came_up_is_not_replaced_and_that_it_did_is_written_down() {
        let mut seen = Seen {
            initialized: true,
            allocated: true,
            pki: true,
            network: Observed::Known(NetworkState::Active),
            control_plane: Some(ControlPlaneMachine {
                up_to_date: false,
                deleting: false,
                begun: false,
            }),
            kubeconfig: true,
            ..new_cluster()
        };
        assert_eq!(advance(&seen), Decision::Do(Effect::NoteInitialized));
        seen.noted = true;
        assert_eq!(advance(&seen), Decision::Settled);
        (seen.initialized, seen.noted) = (false, false);
        assert_eq!(advance(&seen), Decision::Do(Effect::ReplaceControlPlane));
    }
}
