//! What do a run service and an executor say to each other?
//!
//! Plain values and one trait, [`RunServiceClient`]. The run service implements it in process and over a network; an
//! executor takes either. Both sides share the definition of a step.

mod client;
mod environment;
mod executor;
mod ids;
mod report;
mod step;
mod task;

pub use client::{ByteStream, CacheHit, CachePut, ClientError, Registration, Result, RunServiceClient, StreamError};
pub use environment::{Environment, Value};
pub use executor::{Command, ExecutorStatus, HeldTask, Siblings};
pub use ids::{ExecutorId, ID_BYTES_MAX, InvalidName, NAME_BYTES_MAX, RunId, StepRef, TaskId, TaskName};
pub use report::{AttemptState, Failure, FailureClass, LogEnd, StepReport, StepStatus, TaskReport};
pub use step::{
    Contents, RestoreCacheStep, RestoreWorkspaceStep, RunStep, SaveCacheStep, SaveToWorkspaceStep, Step, Steps,
};
pub use task::{Arch, Container, Fence, RegistryAuth, Resources, Runtime, TaskSpec, TmpfsVolume, WorkspaceArchive};
