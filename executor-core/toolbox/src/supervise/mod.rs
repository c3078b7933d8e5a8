//! `supervise STEP_DIR`: runs one step, keeps its output until it is acknowledged, and records how it ended.

mod command;
mod connection;
mod files;
mod kill;
mod lifecycle;
mod processes;
mod run;
mod signals;
mod socket;
mod spec;
mod spool;
mod step_dir;
mod tree;
mod user;

pub use kill::kill_marked;
pub use run::READY_LINE;
pub use socket::{SocketPath, connect, socket_path};
pub use spec::{ExitReason, ExitStatus, PidFile, ProcessId, SPEC_FILE, StepCommand, SuperviseSpec};
pub use spool::{SpoolChunk, SpoolChunks};
pub use step_dir::StepDir;

pub(crate) use command::expand_home;
pub(crate) use run::run;
pub(crate) use user::home_of;
