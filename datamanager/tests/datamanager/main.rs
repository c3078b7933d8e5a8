//! Data managers from outside: what they promise, what they survive, what they cost.
#![expect(clippy::unwrap_used, reason = "a test that meets an error is to fail")]

mod checkpoints;
mod conformance;
mod contention;
mod costs;
mod crashes;
mod damage;
mod fairness;
mod fuzzing;
mod golden;
mod leading;
mod outages;
mod owners;
mod processes;
mod properties;
mod recovery;
mod script;
mod sharing;
mod support;
