//! Which engines are there to be tested?

use std::sync::Arc;

use runyard_executor_core::{
    contract::Container,
    driver::{DockerDriver, DockerDriverBuilder, ExecutorDriver},
};

/// An engine that `scripts/docker` has started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Docker,
    Podman,
}

impl Engine {
    fn host(self) -> String {
        let variable = match self {
            Self::Docker => "RUNYARD_TEST_DOCKER",
            Self::Podman => "RUNYARD_TEST_PODMAN",
        };
        environment(variable)
    }

    /// A driver for it, to be changed.
    pub(crate) fn builder(self) -> DockerDriverBuilder {
        DockerDriver::builder().host(self.host()).toolbox(environment("RUNYARD_TEST_TOOLBOX"))
    }

    /// A driver for it.
    pub(crate) fn driver(self) -> Arc<dyn ExecutorDriver> {
        Arc::new(self.builder().open().expect("the engine is there"))
    }
}

fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `scripts/test --real`, which starts engines"))
}

/// A container with a shell.
pub(crate) fn busybox() -> Container {
    Container { image: "localhost/runyard-test/busybox:1".to_owned(), ..Container::default() }
}
