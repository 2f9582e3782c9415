//! Pure rendering of everything that a machine needs to become a node of a kubeadm cluster.
//!
//! Nothing here reads a file, a clock or the network: times are arguments, and the only randomness is that of the
//! keys which [`pki`] makes and of the bytes that a caller gives to [`token::BootstrapToken::from_random`].
//!
//! | module | gives |
//! |---|---|
//! | [`pki`] | the cluster's certificate authorities and certificates signed by them |
//! | [`kubeconfig`] | kubeconfig files |
//! | [`token`] | bootstrap tokens |
//! | [`timing`] | the timing profiles and the table of what each changes |
//! | [`config`] | kubeadm `v1beta4` documents for init and join, with the user's patches applied |
//! | [`patch`] | strategic merge and JSON 6902 patches, and the rules for what they may change |
//! | [`cni`] | the `Bridge` network: pod ranges, routes, masquerading, the CNI configuration |
//! | [`cloudinit`] | user-data, meta-data and the CIDATA disk image |
//! | [`containerd`] | registry mirrors and trusted certificate authorities |
//! | [`job`] | the scripts that make a node of a guest, and the files they want |
//! | [`upgrade`] | the scripts that upgrade one, or undo that |

pub mod cloudinit;
pub mod cni;
pub mod config;
pub mod containerd;
mod document;
pub mod file;
pub mod job;
pub mod kubeconfig;
pub mod patch;
pub mod pki;
pub mod timing;
pub mod token;
pub mod upgrade;

pub use file::GuestFile;
pub use timing::TimingProfile;
