//! `supervise STEP_DIR`: runs one step, keeps its output until it is acknowledged, and records how it ended.

mod clock;
mod command;
mod connection;
mod files;
mod kill;
mod lifecycle;
mod memory;
pub(crate) mod processes;
mod run;
mod signals;
mod socket;
mod spec;
mod spool;
mod step_dir;
mod step_dirs;
mod stop;
mod tree;
mod user;

pub use kill::kill_marked;
pub use run::READY_LINE;
pub use socket::connect;
pub use spec::{ExitReason, ExitStatus, PidFile, ProcessId, SPEC_FILE, StepCommand, SuperviseSpec};
pub use spool::{SpoolChunk, SpoolChunks};
pub use step_dir::{OutputSource, StepDir};
pub use step_dirs::{COMMAND_FILE, StepDirs};

pub(crate) use command::{become_user, expand_home};
pub(crate) use kill::kill_until_gone;
pub(crate) use run::run;
pub(crate) use user::{Identity, home_of, resolve as resolve_user};
