//! Simulated hosts in real time, in a process of their own: what `seedbed-simulator` is made of.
//!
//! It is to simulated machines what libvirt's daemon is to real ones: the operator reaches it through a Unix socket
//! ([`server::serve`]), and the machines go on while no operator runs. Each control plane's API is served over TLS at the machine's
//! own address on loopback ([`planes::Planes`]). Nothing is kept on disk: with the process all its machines are gone.

mod access;
mod hosts;
pub mod planes;
pub mod server;
mod timers;

pub use hosts::Hosts;
pub use timers::RealTime;
