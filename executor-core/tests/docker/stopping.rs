//! Does a task end when it is asked to, whatever it is doing, and is nothing of it left?

use std::time::Duration;

use runyard_executor_core::contract::{AttemptState, Command, Contents, SaveToWorkspaceStep, Step, StepStatus};
use tokio::{io::AsyncReadExt as _, net::TcpListener, time::Instant};

use crate::{
    engines::{Engine, GRACE, busybox, busybox_task},
    house::{House, id, run},
};

/// Asks the task to stop, and checks that it ends in time.
async fn stop(house: &House) {
    let asked = Instant::now();
    house.service.tell(Command::Stop { task: id("t"), attempt: 1 });
    assert_eq!(house.report(&id("t")).await.state, AttemptState::Stopped);
    let took = asked.elapsed();
    assert!(took < GRACE + Duration::from_secs(1), "{took:?}");
    house.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_image_is_pulled() {
    // A registry that takes every call and answers none.
    let registry = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let house = Engine::Docker.house().await;
    let mut task = busybox_task("t", [run("true")]);
    let address = registry.local_addr().unwrap();
    task.runtime.containers[0].image = format!("{address}/slow:1");
    house.service.assign(task);
    let (mut call, _) = registry.accept().await.unwrap();
    call.read_u8().await.unwrap();
    stop(&house).await;
    assert!(house.setup_log(&id("t")).contains("stopped on request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_containers_are_made() {
    let house = Engine::Docker.house().await;
    let mut task = busybox_task("t", [run("true")]);
    task.runtime.containers = vec![busybox(); 4];
    house.service.assign(task);
    house.service.wait_until(|stored| stored.accepted.contains(&(id("t"), 1))).await;
    stop(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_command_ignores_it() {
    for engine in [Engine::Docker, Engine::Podman] {
        let house = engine.house().await;
        let command = "trap '' TERM; (trap '' TERM; setsid sleep 1000 &); echo ready; while :; do sleep 0.05; done";
        house.service.assign(busybox_task("t", [run(command), run("true")]));
        house.logged(&id("t"), 0, "ready").await;
        stop(&house).await;
        assert_eq!(house.log(&id("t"), 0), "ready\n");
        let report = house.report(&id("t")).await;
        assert_eq!([report.steps[0].status, report.steps[1].status], [StepStatus::Stopped, StepStatus::NotStarted]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_files_are_archived() {
    let house = Engine::Docker.house().await;
    let contents = vec![Contents { source_dir: ".".into(), dest_dir: String::new(), paths: vec!["**".into()] }];
    let save = Step::SaveToWorkspace(SaveToWorkspaceStep { contents, ..SaveToWorkspaceStep::default() });
    house.service.assign(busybox_task("t", [run("dd if=/dev/urandom of=big bs=1M count=400 2>/dev/null"), save]));
    let saving = house.service.wait_until(|stored| {
        stored.report(&id("t")).is_some_and(|report| report.steps[1].status == StepStatus::Running)
    });
    tokio::time::timeout(Duration::from_secs(60), saving).await.expect("it comes to the archive");
    stop(&house).await;
}
