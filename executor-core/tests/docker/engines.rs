//! Which engines are there to be tested?

use std::{sync::Arc, time::Duration};

use runyard_executor_core::{
    Settings,
    contract::{Container, Step, TaskSpec},
    driver::{DockerDriver, DockerDriverBuilder, ExecutorDriver},
};

use crate::house::{House, task};

/// How long a command has to end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// An engine that `scripts/docker` has started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Docker,
    Podman,
}

impl Engine {
    pub(crate) fn host(self) -> String {
        environment(match self {
            Self::Docker => "RUNYARD_TEST_DOCKER",
            Self::Podman => "RUNYARD_TEST_PODMAN",
        })
    }

    /// A driver for it, to be changed.
    pub(crate) fn builder(self) -> DockerDriverBuilder {
        builder(&self.host())
    }

    /// A driver for it.
    pub(crate) fn driver(self) -> Arc<dyn ExecutorDriver> {
        Arc::new(self.builder().open().expect("the engine is there"))
    }

    /// An executor with it that runs.
    pub(crate) async fn house(self) -> House {
        house(move || self.driver()).await
    }
}

/// A driver for the engine at `host`, to be changed.
pub(crate) fn builder(host: &str) -> DockerDriverBuilder {
    DockerDriver::builder().host(host).toolbox(environment("RUNYARD_TEST_TOOLBOX"))
}

/// An executor that runs, with the driver that is opened for each start of it.
pub(crate) async fn house(open: impl Fn() -> Arc<dyn ExecutorDriver> + Send + Sync + 'static) -> House {
    let settings = Settings { stop_grace: GRACE, allow_privileged_containers: true, ..Settings::default() };
    House::start_on(Some(Arc::new(open)), settings, 4).await
}

pub(crate) fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `scripts/test --real`, which starts engines"))
}

/// A container with a shell.
pub(crate) fn busybox() -> Container {
    Container { image: "localhost/runyard-test/busybox:1".to_owned(), ..Container::default() }
}

/// A task in one container with a shell.
pub(crate) fn busybox_task(id: &str, steps: impl IntoIterator<Item = Step>) -> TaskSpec {
    let mut task = task(id, steps);
    task.runtime.containers = vec![busybox()];
    task
}
