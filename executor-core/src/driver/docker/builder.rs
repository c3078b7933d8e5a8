//! Which engine, and how is it used?

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{DockerDriver, engine::Engine, toolbox::Toolbox};
use crate::driver::Result;

/// When an image is asked for from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// [`Always`](Self::Always) for the tag `latest`, also where it is not written; else [`Missing`](Self::Missing). The
    /// rule of Kubernetes.
    #[default]
    Auto,
    /// For every task, so that each is shown to be allowed to use the image.
    Always,
    /// Only if the engine does not have it.
    Missing,
    /// Never: the engine has it, or the task fails.
    Never,
}

/// Puts a [`DockerDriver`] together.
#[derive(Clone, Debug, Default)]
pub struct DockerDriverBuilder {
    host: Option<String>,
    network: Option<String>,
    pull: PullPolicy,
    toolbox: Option<PathBuf>,
}

impl DockerDriverBuilder {
    /// The address of the engine: `unix:///path/of/its.sock`, `tcp://host:port`. Default: the variable `DOCKER_HOST`, else
    /// `unix:///var/run/docker.sock`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// The network of the engine that pods are in. Default: the engine's own.
    #[must_use]
    pub fn network(mut self, network: impl Into<String>) -> Self {
        self.network = Some(network.into());
        self
    }

    /// When images are asked for from their registries.
    #[must_use]
    pub fn pull(mut self, pull: PullPolicy) -> Self {
        self.pull = pull;
        self
    }

    /// The program `runyard-toolbox`, linked statically: it runs in containers of any image. Default: `runyard-toolbox`
    /// beside the running program, else the running program itself, which then has to be linked statically and to call
    /// [`run_toolbox_if_invoked`](crate::run_toolbox_if_invoked) first in its `main`.
    #[must_use]
    pub fn toolbox(mut self, program: impl Into<PathBuf>) -> Self {
        self.toolbox = Some(program.into());
        self
    }

    /// Opens the driver. That the engine answers is found out by
    /// [`prepare`](crate::driver::ExecutorDriver::prepare).
    ///
    /// # Errors
    /// If the address cannot be understood, its socket does not exist, or the toolbox cannot be read.
    pub fn open(self) -> Result<DockerDriver> {
        let engine = Engine::connect(self.host, self.network, self.pull)?;
        let toolbox = Toolbox::find(self.toolbox)?;
        Ok(DockerDriver { engine: Arc::new(engine), toolbox: Arc::new(toolbox) })
    }
}
