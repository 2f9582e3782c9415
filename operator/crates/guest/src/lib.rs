//! `seedbed-guest`.
