//! How does a task end before its time?

use std::time::Duration;

use runyard_executor_core::contract::{AttemptState, Command, RunStep, Step, StepStatus};

use crate::house::{House, failure, id, is_running, run, task, within};

fn stop(task: &str) -> Command {
    Command::Stop { task: id(task), attempt: 1 }
}

#[tokio::test]
async fn a_stopped_command_may_clean_up_and_what_it_printed_is_kept() {
    let house = House::start().await;
    house.service.assign(task(
        "t",
        [run("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"), run("true")],
    ));
    house.logged(&id("t"), 0, "ready").await;
    house.service.tell(stop("t"));
    let report = house.report(&id("t")).await;
    assert_eq!(report.state, AttemptState::Stopped);
    // The shell itself may say something of the `sleep` that was ended.
    let log = house.log(&id("t"), 0);
    assert!(log.starts_with("ready\n") && log.ends_with("bye\n"), "{log}");
    assert_eq!(report.steps[0].status, StepStatus::Stopped);
    assert_eq!(report.steps[1].status, StepStatus::NotStarted);
    house.assert_clean().await;
}

#[tokio::test]
async fn a_command_that_ignores_the_request_is_killed_after_the_grace_period() {
    let house = House::start().await;
    house.service.assign(task("t", [run("trap '' TERM; echo ready; while :; do sleep 0.05; done")]));
    house.logged(&id("t"), 0, "ready").await;
    let asked = tokio::time::Instant::now();
    house.service.tell(stop("t"));
    assert_eq!(house.report(&id("t")).await.state, AttemptState::Stopped);
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_timeout_of_the_step_ends_it() {
    let house = House::start().await;
    let step = RunStep {
        name: "slow".into(),
        command: "echo begun; sleep 60".into(),
        timeout: Some(Duration::from_millis(300)),
        ..RunStep::default()
    };
    let report = house.execute(task("t", [Step::Run(step)])).await;
    assert_eq!(failure(&report), ("timeout", "step 1 (slow) was stopped: the limit of 300ms was reached"));
    assert_eq!(house.log(&id("t"), 0), "begun\n");
}

#[tokio::test]
async fn the_timeout_of_the_task_counts_over_all_steps() {
    let house = House::start().await;
    let mut spec = task("t", [run("sleep 0.3"), run("sleep 60")]);
    spec.timeout = Some(Duration::from_millis(600));
    let report = house.execute(spec).await;
    assert_eq!(report.steps[0].status, StepStatus::Success);
    assert_eq!(failure(&report), ("timeout", "step 2 (run) was stopped: the limit of 600ms was reached"));
}

#[tokio::test]
async fn what_is_left_in_the_background_ends_with_the_task() {
    let house = House::start().await;
    let report = house.execute(task("t", [run("setsid sleep 1000 & echo $!"), run("setsid sleep 1000 &")])).await;
    assert_eq!(report.state, AttemptState::Success);
    assert!(!is_running(house.log(&id("t"), 0).trim()), "the final report comes after the last process");
    house.assert_clean().await;
}

#[tokio::test]
async fn a_forgotten_task_is_removed_and_not_reported() {
    let house = House::start().await;
    house.service.assign(task("t", [run("echo ready; sleep 1000")]));
    house.logged(&id("t"), 0, "ready").await;
    house.service.tell(Command::Forget { task: id("t"), attempt: 1 });
    house.assert_clean().await;
    house.service.with(|stored| assert!(stored.report(&id("t")).is_none_or(|report| !report.state.is_final())));
}

#[tokio::test]
async fn a_fenced_task_is_removed() {
    let house = House::start().await;
    house.service.assign(task("t", [run("echo ready; sleep 0.2; echo more; sleep 1000")]));
    house.logged(&id("t"), 0, "ready").await;
    house.service.fence(&id("t"));
    house.assert_clean().await;
}

#[tokio::test]
async fn a_task_that_waits_for_a_slot_can_be_stopped() {
    let house = House::start_with(runyard_executor_core::Settings::default(), 1).await;
    house.service.assign(task("first", [run("echo ready; sleep 1000")]));
    house.logged(&id("first"), 0, "ready").await;
    house.service.assign(task("second", [run("true")]));
    house.service.tell(stop("second"));
    let report = house.report(&id("second")).await;
    assert_eq!(report.state, AttemptState::Stopped);
    assert_eq!(report.setup.status, StepStatus::NotStarted);
    house.service.tell(stop("first"));
    within(house.service.final_report(&id("first"))).await;
}
