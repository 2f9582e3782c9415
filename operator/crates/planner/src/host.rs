//! What is done to a host.

crate::effect::effects! {
    /// What is done to a host.
    pub enum Effect of "HypervisorHost" {
        /// Remove a virtual machine that has lost its owner, with its volumes.
        RemoveOrphanedDomain => "removing a virtual machine that has lost its owner",
        /// Remove a network that has lost its owner.
        RemoveOrphanedNetwork => "removing a network that has lost its owner",
    }
}
