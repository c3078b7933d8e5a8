//! `supervise STEP_DIR`: runs one step, keeps its output until it is acknowledged, and records how it ended.

mod spec;

pub use spec::{ExitReason, ExitStatus, PidFile, ProcessId, SPEC_FILE, StepCommand, SuperviseSpec};
