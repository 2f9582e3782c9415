//! `seedbed-planner`.
