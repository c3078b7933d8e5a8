//! What does a user read whose definition cannot be executed?

use runyard_executor_core::contract::{AttemptState, Resources, TaskSpec};

use crate::{
    engines::{Engine, busybox_task},
    house::{failure, id, run},
};

/// Executes a task that fails, and returns the class and the message.
async fn fails(task: TaskSpec) -> (&'static str, String) {
    let house = Engine::Docker.house().await;
    let report = house.execute(task).await;
    let (class, message) = failure(&report);
    house.assert_clean().await;
    (class, message.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_registry_is_named() {
    let mut task = busybox_task("t", [run("true")]);
    task.runtime.containers[0].image = "127.0.0.1:1/x:1".into();
    let (class, message) = fails(task).await;
    assert_eq!(class, "infrastructure");
    assert!(message.contains("127.0.0.1:1/x:1") && message.contains("connection refused"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_image_is_named() {
    let mut task = busybox_task("t", [run("true")]);
    task.runtime.containers[0].image = "Not An Image".into();
    let (class, message) = fails(task).await;
    assert_eq!(class, "setup");
    assert!(message.contains("`Not An Image`") && message.contains("[registry/]name[:tag]"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_named() {
    let mut task = busybox_task("t", [run("true")]);
    task.user = Some("nobody-here".into());
    let (class, message) = fails(task).await;
    assert_eq!(class, "setup");
    assert!(message.contains("user `nobody-here` is not in /etc/passwd"), "{message}");
    let mut task = busybox_task("t", [run("true")]);
    task.runtime.containers[0].user = Some("nobody-here".into());
    let (class, message) = fails(task).await;
    assert_eq!(class, "setup");
    assert!(message.contains("nobody-here"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_in_the_way_is_named() {
    let mut task = busybox_task("t", [run("true")]);
    task.working_dir = Some("/etc/passwd".into());
    let (class, message) = fails(task).await;
    assert_eq!(class, "setup");
    assert!(message.contains("/etc/passwd"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_shell_says_so() {
    let mut task = busybox_task("t", [run("true")]);
    task.runtime.containers[0].image = "localhost/runyard-test/empty:1".into();
    let (class, message) = fails(task).await;
    assert_eq!(class, "setup");
    assert!(message.contains("command not found: /bin/sh"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entrypoint_that_cannot_be_started_is_named() {
    let mut task = busybox_task("t", [run("true")]);
    task.runtime.containers[0].entrypoint = Some("/no/such/program --flag".into());
    let (class, message) = fails(task).await;
    assert_eq!(class, "setup");
    assert!(message.contains("/no/such/program"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_has_no_memory_left_says_so() {
    let mut task = busybox_task("t", [run("head -c 200m /dev/zero | tail -c 199m | wc -c")]);
    task.shell = Some("/bin/sh -e -o pipefail".into());
    task.runtime.containers[0].resources = Resources { milli_cpus: Some(500), memory_max: Some(64 << 20) };
    let (class, message) = fails(task).await;
    assert_eq!(class, "exit");
    assert!(message.contains("step 1") && message.contains("no memory left"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_output_is_kept_as_it_is() {
    let house = Engine::Docker.house().await;
    let command = "printf '\\000\\377\\376text'; head -c 33554432 /dev/zero | tr '\\000' x; exit 3";
    let report = house.execute(busybox_task("t", [run(command)])).await;
    assert_eq!(report.steps[0].exit_code, Some(3));
    assert!(matches!(report.state, AttemptState::Failed(_)));
    let key = (id("t"), 1, runyard_executor_core::contract::StepRef::Step(0));
    let expected = [&b"\x00\xff\xfetext"[..], &vec![b'x'; 32 << 20]].concat();
    house.service.with(|stored| assert!(stored.logs[&key] == expected, "{} bytes", stored.logs[&key].len()));
    house.assert_clean().await;
}
