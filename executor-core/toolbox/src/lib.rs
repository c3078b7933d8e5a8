//! The helper program inside a pod: it supervises a step, packs and unpacks archives, renders cache keys.
//!
//! It runs wherever a pod runs: as the static binary `runyard-toolbox` in a container, or, for the process driver, as
//! the host's own binary started again . Executors use the same crate as a library: the
//! [`protocol`] of a supervisor's socket.
//!
//! Blocking code and std threads only.

pub mod protocol;
mod supervise;

pub use supervise::{ExitReason, ExitStatus, PidFile, ProcessId, SPEC_FILE, StepCommand, SuperviseSpec};
