//! The behaviour of the run engine, rule by rule.

mod approvals;
mod attempts;
mod effects;
mod groups;
mod kit;
mod lifecycle;
mod properties;
mod restarts;
mod rules;
mod stops;
