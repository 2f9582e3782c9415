//! `seedbed-hypervisor`.
