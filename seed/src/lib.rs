//! `seedbed-seed`.
