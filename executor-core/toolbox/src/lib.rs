//! The helper program inside a pod: it supervises a step, packs and unpacks archives, renders cache keys.
//!
//! It runs wherever a pod runs: as the static binary `runyard-toolbox` in a container, or, for the process driver, as
//! the host's own binary started again (see [`run_if_invoked`]). Executors use the same crate as a library: the
//! [`protocol`] of a supervisor's socket, and [`StepDir`] for what a supervisor left.
//!
//! Blocking code and std threads only.

pub mod archive;
pub mod bridge;
pub mod cachekey;
mod cli;
mod install;
mod mask;
mod pause;
pub mod protocol;
mod supervise;

pub use cli::{TOOLBOX_WORD, main, run_if_invoked};
pub use install::{PROGRAM, layer};
pub use mask::{MASK, MASKED_BYTES_MIN, Masker};
pub use supervise::{
    COMMAND_FILE, ExitReason, ExitStatus, OutputSource, PidFile, ProcessId, READY_LINE, SPEC_FILE, SpoolChunk,
    SpoolChunks, StepCommand, StepDir, StepDirs, SuperviseSpec, connect, kill_marked,
};

pub(crate) use cli::home;
