//! `seedbed-crds`.
