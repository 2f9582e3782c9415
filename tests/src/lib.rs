//! `seedbed-tests`.
