//! Where do tasks run: as processes of this machine, or in containers?

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use runyard_executor_core::driver::{DockerDriver, ExecutorDriver, ProcessDriver, PullPolicy};

use super::Failure;
use crate::{server::data_dir::DataDir, tool_homes};

/// Where tasks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DriverKind {
    /// Processes of this machine
    Process,
    /// Containers of Docker, or of Podman's service
    Docker,
}

/// When an image is asked for from its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pull {
    /// Always for the tag `latest`, else if it is missing
    Auto,
    /// For every task
    Always,
    /// If it is missing
    Missing,
    /// Never
    Never,
}

/// How tasks run.
#[derive(Debug, Args)]
pub(super) struct DriverArgs {
    /// Where tasks run
    #[arg(long, env = "RUNYARD_DRIVER", value_name = "DRIVER", default_value = "process")]
    driver: DriverKind,
    /// The engine of the docker driver: unix:///PATH or tcp://HOST:PORT; default: that of DOCKER_HOST, else the one of
    /// this machine
    #[arg(long, env = "RUNYARD_DOCKER_HOST", value_name = "URL")]
    docker_host: Option<String>,
    /// The network of the engine that containers are in, such as `host`; default: the engine's own
    #[arg(long, env = "RUNYARD_DOCKER_NETWORK", value_name = "NAME")]
    docker_network: Option<String>,
    /// When the docker driver asks for an image from its registry
    #[arg(long, env = "RUNYARD_PULL", value_name = "POLICY", default_value = "auto")]
    pull: Pull,
    /// The program `runyard-toolbox` for containers, which `scripts/toolbox` builds; default: the one beside this program,
    /// else this program if it is linked statically
    #[arg(long, env = "RUNYARD_TOOLBOX", value_name = "FILE")]
    toolbox: Option<PathBuf>,
    /// Let tasks have privileged containers: they can do whatever the engine can
    #[arg(long, env = "RUNYARD_ALLOW_PRIVILEGED")]
    allow_privileged: bool,
    /// With less than this free in the data directory, no new task is taken, in MiB
    #[arg(long, env = "RUNYARD_DISK_FREE_MIN", value_name = "MIB", default_value_t = 512)]
    disk_free_min: u64,
    /// The most tasks at a time; default: as many as the machine has processors
    #[arg(long, env = "RUNYARD_TASK_LIMIT", value_name = "NUMBER")]
    task_limit: Option<u32>,
}

impl DriverArgs {
    /// The driver, with what it needs in `directory`.
    pub(super) fn open(&self, directory: &DataDir) -> Result<Arc<dyn ExecutorDriver>, Failure> {
        if self.driver == DriverKind::Process {
            let driver = ProcessDriver::builder().environment(tool_homes::here()).open(directory.pods())?;
            return Ok(Arc::new(driver));
        }
        let mut builder = DockerDriver::builder().pull(match self.pull {
            Pull::Auto => PullPolicy::Auto,
            Pull::Always => PullPolicy::Always,
            Pull::Missing => PullPolicy::Missing,
            Pull::Never => PullPolicy::Never,
        });
        if let Some(host) = &self.docker_host {
            builder = builder.host(host);
        }
        if let Some(network) = &self.docker_network {
            builder = builder.network(network);
        }
        if let Some(toolbox) = &self.toolbox {
            builder = builder.toolbox(toolbox);
        }
        Ok(Arc::new(builder.open()?))
    }

    /// The numbers of the executor.
    pub(super) fn settings(&self) -> runyard_executor_core::Settings {
        runyard_executor_core::Settings {
            allow_privileged_containers: self.allow_privileged,
            disk_free_min: self.disk_free_min.saturating_mul(1 << 20),
            ..Default::default()
        }
    }

    pub(super) fn task_limit(&self) -> u32 {
        let processors = || std::thread::available_parallelism().map_or(2, |number| number.get() as u32);
        self.task_limit.unwrap_or_else(processors)
    }

    /// What tasks will not be able to do, if the server is at `url` for them.
    pub(super) fn warning(&self, url: &str) -> Option<String> {
        let host = url.split("//").nth(1)?.split('/').next()?;
        let is_loopback = ["127.", "localhost", "[::1]", "0.0.0.0", "[::]"].iter().any(|start| host.starts_with(start));
        let is_apart = self.driver == DriverKind::Docker && self.docker_network.as_deref() != Some("host");
        (is_loopback && is_apart).then(|| {
            format!(
                "tasks clone from {url}, which a container cannot reach: say where the server is for them with --url, or \
                 give them this machine's network with --docker-network host"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        driver: DriverArgs,
    }

    fn warning(options: &str, url: &str) -> bool {
        let line = Line::parse_from(["x"].into_iter().chain(options.split_whitespace()));
        line.driver.warning(url).is_some()
    }

    #[test]
    fn an_address_that_containers_cannot_reach_is_warned_of() {
        assert!(warning("--driver docker", "http://127.0.0.1:8080"));
        assert!(warning("--driver docker --docker-network ci", "http://localhost:8080/ci"));
        assert!(!warning("--driver docker --docker-network host", "http://127.0.0.1:8080"));
        assert!(!warning("--driver docker", "http://ci.example.org"));
        assert!(!warning("--driver process", "http://127.0.0.1:8080"));
    }
}
