//! Pods that are containers of an engine with Docker's API: Docker itself, or Podman.
//!
//! The first container of a pod runs the steps; the others are services, in its network. All of them carry labels that
//! say whose they are, and nothing else is known of a pod: whoever has the labels has it again.
//!
//! ```text
//! volume runyard-toolbox-HASH   the toolbox, read-only in every first container at /.runyard/toolbox
//! container runyard-POD-0       the first process is the toolbox, which only waits; steps are started by its `bridge`
//!   anonymous volume            /.runyard/pod: spools and exit statuses of the steps
//! container runyard-POD-1 …     services
//! ```

mod builder;
mod cleaning;
mod containers;
mod creation;
mod engine;
mod errors;
mod images;
mod labels;
mod pod;
mod toolbox;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use self::builder::{DockerDriverBuilder, PullPolicy};
use self::{engine::Engine, pod::DockerPod, toolbox::Toolbox};
use super::{DriverError, ExecutorDriver, Pod, PodSpec, Result, SetupLog};
use crate::contract::{Arch, ExecutorId};

/// Runs commands in containers, by Docker's API.
///
/// ```no_run
/// use runyard_executor_core::driver::DockerDriver;
///
/// // The engine of `DOCKER_HOST`, or the one of this host.
/// let driver = DockerDriver::builder().open()?;
/// # Ok::<(), runyard_executor_core::driver::DriverError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DockerDriver {
    engine: Arc<Engine>,
    toolbox: Arc<Toolbox>,
}

impl DockerDriver {
    /// A driver with default settings, unless they are changed.
    pub fn builder() -> DockerDriverBuilder {
        DockerDriverBuilder::default()
    }
}

#[async_trait]
impl ExecutorDriver for DockerDriver {
    /// Checks that the engine answers, and puts the toolbox where containers find it.
    async fn prepare(&self, executor: &ExecutorId) -> Result<()> {
        self.toolbox.install(&self.engine, executor).await
    }

    async fn archs(&self) -> Result<Vec<Arch>> {
        Ok(self.engine.arch().await?.into_iter().collect())
    }

    async fn create_pod(&self, spec: PodSpec, log: &dyn SetupLog, cancel: &CancellationToken) -> Result<Arc<dyn Pod>> {
        if spec.containers.is_empty() {
            let message = "the task has no container, and the docker driver needs at least one with an image";
            return Err(DriverError::Refused { message: message.to_owned() });
        }
        let pod = creation::create(&self.engine, &self.toolbox, spec, log, cancel).await?;
        Ok(Arc::new(pod))
    }

    async fn pods(&self, owner: &ExecutorId) -> Result<Vec<Arc<dyn Pod>>> {
        let found = self.engine.list(&labels::of_executor(owner)).await?;
        let pods = labels::pods(found.into_iter());
        Ok(pods.into_iter().map(|found| Arc::new(DockerPod::found(&self.engine, &self.toolbox, found)) as _).collect())
    }
}
