//! What are a run config, a run and a task? Plain data, stored as it is.

mod config;
mod graph;
mod group;
mod run;

pub use config::{ConcurrencyPolicy, Condition, RetryPolicy, RunConfig, TaskConfig};
pub use graph::{Graph, on_cycles};
pub use group::{GROUP_BYTES_MAX, GroupPath, InvalidGroup};
pub(crate) use run::millis;
pub use run::{Assignment, EarlierAttempt, Run, RunPhase, RunResult, RunState, StepState, Task, TaskStatus, Times};
