//! Where do the containers of a task live, and how does an executor reach into them?
//!
//! [`ExecutorDriver`] makes pods, [`Pod`] is one of them, [`Attachment`] is the output of one of its steps. A driver
//! keeps no state that [`ExecutorDriver::pods`] cannot find again: an executor that was killed opens the same driver
//! and goes on with the pods that are still there. How a driver marks its pods is its private affair.

pub mod bridge;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "docker")]
mod docker;
mod error;
mod pod;
mod process;
#[cfg(feature = "docker")]
mod registry;
#[cfg(feature = "test-util")]
pub mod scripted;
mod tool;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "docker")]
pub use docker::{DockerDriver, DockerDriverBuilder, PullPolicy};
pub(crate) use error::chain;
pub use error::{DriverError, Result};
pub use pod::{
    Attachment, Pod, PodId, PodSpec, StepEnd, StepEvent, StepSpec, ToolboxCall, ToolboxEnd, ToolboxFailed, ToolboxRun,
};
pub use process::{Inherit, ProcessDriver, ProcessDriverBuilder};

use crate::contract::{Arch, ExecutorId};

/// Where [`ExecutorDriver::create_pod`] says what it does, for the eyes of the task's user.
pub trait SetupLog: Send + Sync {
    /// Adds one line, without its line break.
    fn line(&self, text: &str);
}

/// Makes pods and finds them again.
#[async_trait]
pub trait ExecutorDriver: Send + Sync + fmt::Debug + 'static {
    /// Makes ready whatever all pods need, and checks that pods can be made at all. Called once before anything else.
    async fn prepare(&self, executor: &ExecutorId) -> Result<()>;

    /// The architectures that pods can have here.
    async fn archs(&self) -> Result<Vec<Arch>>;

    /// The group of executors that work on the same cluster. By default an executor is a group of its own.
    async fn group(&self, executor: &ExecutorId) -> Result<String> {
        Ok(executor.to_string())
    }

    /// The other executors of the group. By default there are none.
    async fn siblings(&self, _executor: &ExecutorId) -> Result<Vec<ExecutorId>> {
        Ok(Vec::new())
    }

    /// Makes a pod in which steps can be started.
    ///
    /// When it fails or is cancelled, it has removed what it had made. When its future is dropped, what it has made
    /// is found by [`ExecutorDriver::pods`].
    ///
    /// # Errors
    /// [`DriverError::Refused`] if the specification asks for what this driver cannot do, [`DriverError::Cancelled`]
    /// if `cancel` came first.
    async fn create_pod(&self, spec: PodSpec, log: &dyn SetupLog, cancel: &CancellationToken) -> Result<Arc<dyn Pod>>;

    /// Every pod of `owner` of which anything is left, whoever made it, complete or not.
    async fn pods(&self, owner: &ExecutorId) -> Result<Vec<Arc<dyn Pod>>>;
}
