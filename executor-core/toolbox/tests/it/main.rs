//! The toolbox as processes: what its library promises, seen from outside.
#![expect(clippy::unwrap_used, reason = "helpers of tests, in a file that holds nothing else")]

mod commands;
mod supervise;
mod support;
