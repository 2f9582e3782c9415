//! `seedbed-operator`.
