//! What is done to a release.

crate::effect::effects! {
    /// What is done to a release.
    pub enum Effect of "KubernetesRelease" {
        /// Put a file of it on a host.
        Transfer => "putting a file on a host",
    }
}
