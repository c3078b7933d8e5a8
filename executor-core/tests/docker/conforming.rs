//! Does the driver keep the promises of every driver?

use runyard_executor_core::{contract::Container, driver::conformance};

use crate::engines::{Engine, busybox};

#[tokio::test(flavor = "multi_thread")]
async fn docker_conforms() {
    conformance::check(|| Engine::Docker.driver(), busybox(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_conforms() {
    conformance::check(|| Engine::Podman.driver(), busybox(), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_image_has_a_user_conforms() {
    let container = Container { image: "localhost/runyard-test/user:1".to_owned(), ..Container::default() };
    conformance::check(|| Engine::Docker.driver(), container, true).await;
}
