//! What is done for an upgrade.

crate::effect::effects! {
    /// What is done for an upgrade: at most one thing to a machine in a pass.
    pub enum Effect of "ClusterUpgrade" {
        /// Keep the object until its end, and have the cluster's journal, of which there is one, say that it is this upgrade's turn.
        Begin => "beginning the upgrade",
        /// Give the guest the disk with what is new.
        AttachDisk => "attaching the upgrade disk",
        /// Take the disk away from the guest.
        DetachDisk => "detaching the upgrade disk",
        /// Start the step's job in the guest.
        StartJob => "starting the step's job in the guest",
        /// Have the host keep what is on the machine's disk now.
        KeepDisk => "keeping the machine's disk as it is",
        /// Have the host put what was written since into the machine's disk.
        MergeDisk => "putting what was written since into the machine's disk",
        /// Cut the machine's power, give up what was written to its disk since it was kept, and start it again.
        RevertDisk => "taking the machine's disk back to what was kept of it",
        /// Close the node for new pods, and note on it that this upgrade did so.
        Cordon => "closing the node for new pods",
        /// Ask the pods to leave.
        Evict => "asking the pods to leave",
        /// Open the node, where this upgrade closed it.
        Uncordon => "opening the node for new pods",
        /// Start a check's Job in the cluster, unless it is there.
        StartCheck => "starting a check's Job in the cluster",
        /// Remove the Jobs of the upgrade's checks from the cluster.
        RemoveChecks => "removing the checks' Jobs from the cluster",
        /// Remove the cluster's journal.
        Finish => "ending the upgrade",
        /// Let the object go.
        RemoveFinalizer => "letting the object go",
    }
}
