//! Which images can be had from a registry, and with whose credentials?

use std::collections::BTreeMap;

use runyard_executor_core::{
    contract::{AttemptState, RegistryAuth, TaskSpec, Value},
    driver::PullPolicy,
};

use crate::{
    engines::{Engine, busybox_task, environment, house},
    house::{failure, id, run},
};

fn task(image: &str, password: Option<&str>) -> TaskSpec {
    let registry = environment("RUNYARD_TEST_REGISTRY");
    let mut task = busybox_task("t", [run("echo here")]);
    task.runtime.containers[0].image = format!("{registry}/{image}");
    if let Some(password) = password {
        let auth = RegistryAuth::Basic { username: "ci".into(), password: Value::secret(password) };
        task.registries_auth = BTreeMap::from([(registry, auth)]);
    }
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_with_the_credentials_of_its_registry() {
    let open = || std::sync::Arc::new(Engine::Docker.builder().pull(PullPolicy::Always).open().unwrap()) as _;
    let house = house(open).await;
    let report = house.execute(task("busybox:1", Some("registry-secret"))).await;
    let setup = house.setup_log(&id("t"));
    assert_eq!(report.state, AttemptState::Success, "{setup}");
    assert!(setup.contains("pulling image") && setup.contains("with the task's credentials"), "{setup}");
    assert!(setup.contains("was pulled in") && !setup.contains("registry-secret"), "{setup}");
    house.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_pulled_says_why() {
    for (image, password, expected) in [
        ("busybox:1", None, "add credentials for its registry"),
        ("busybox:1", Some("wrong-password"), "does not accept the credentials"),
        ("nothing:1", Some("registry-secret"), "Check its name and its tag"),
    ] {
        let open = || std::sync::Arc::new(Engine::Docker.builder().pull(PullPolicy::Always).open().unwrap()) as _;
        let house = house(open).await;
        let report = house.execute(task(image, password)).await;
        let (class, message) = failure(&report);
        assert_eq!(class, "setup", "{message}");
        assert!(message.contains(image) && message.contains(expected), "{message}");
        assert!(house.setup_log(&id("t")).contains(message), "it is in the setup log too");
        house.assert_clean().await;
    }
}
