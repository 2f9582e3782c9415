//! `seedbed-kubeadm`.
