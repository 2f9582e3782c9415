//! The embedded seed: what somebody gets who has no seed cluster.
//!
//! An [`Instance`] is a name. What belongs to it on this machine is kept apart by that name: a folder, and (unless the
//! machine's own libvirt is used) a network and a mount namespace with a libvirtd; etcd and kube-apiserver; the operator; a
//! supervisor that keeps these running; ports and an address range. [`Instance::up`] makes or completes all this,
//! [`Instance::down`] removes it without a trace. Both can be interrupted anywhere and repeated.
//!
//! No process is recognised by its name: pid files hold the time at which the process started.

mod command;
mod credentials;
mod down;
mod error;
mod files;
mod instance;
pub mod kubeconfig;
mod kubectl;
mod kvm;
mod leftovers;
mod libvirt;
mod manifests;
mod namespace;
mod plane;
mod process;
mod proxy;
mod report;
mod simulator;
mod slots;
mod status;
mod supervisor;
mod up;

#[cfg(test)]
mod testing;

pub use self::{
    credentials::{OPERATOR_USER, SEED_CONTEXT},
    down::DownOptions,
    error::{Error, Result},
    instance::{DEFAULT_NAME, DEFAULT_ROOT, Instance, Mode, Settings},
    kubectl::{Kubectl, Manifest},
    libvirt::URI as LIBVIRT_URI,
    manifests::{LOCAL_HOST, SYSTEM_NAMESPACE},
    process::ProcessId,
    report::{Outcome, Report, Silent},
    supervisor::supervise,
    up::{OPERATOR_UNIT, SIMULATOR_UNIT, Seed, UpOptions},
};
