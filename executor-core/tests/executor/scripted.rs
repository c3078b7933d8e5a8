//! An executor without processes, on a clock that does not wait.

use std::{io, sync::Arc, time::Duration};

use runyard_executor_core::{
    Executor, Settings,
    contract::{AttemptState, Command, StepRef, StepStatus, TaskReport, TaskSpec},
    driver::{DriverError, scripted::ScriptedDriver},
    testing::FakeRunService,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::house::{failure, id, run, task};

struct Stage {
    driver: ScriptedDriver,
    service: Arc<FakeRunService>,
    executor: Arc<Executor>,
    _dir: tempfile::TempDir,
    _shutdown: DropGuard,
}

impl Stage {
    async fn set() -> Self {
        let (driver, service) = (ScriptedDriver::new(), FakeRunService::new());
        let dir = tempfile::tempdir().expect("a directory");
        let executor = Executor::builder(service.clone(), Arc::new(driver.clone()))
            .settings(Settings { lost_after: Duration::from_secs(100), ..Settings::default() })
            .seed(1)
            .open(dir.path())
            .await
            .expect("it opens");
        let (executor, shutdown) = (Arc::new(executor), CancellationToken::new());
        tokio::spawn({
            let (executor, shutdown) = (executor.clone(), shutdown.clone());
            async move { executor.run(shutdown).await }
        });
        Self { driver, service, executor, _dir: dir, _shutdown: shutdown.drop_guard() }
    }

    async fn execute(&self, task: TaskSpec) -> TaskReport {
        let id = task.id.clone();
        self.service.assign(task);
        self.service.final_report(&id).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_breaks_is_an_infrastructure_failure_with_its_whole_message() {
    let stage = Stage::set().await;
    let broken = DriverError::failed("pulling image `x`", io::Error::other("connection refused"));
    stage.driver.fail_next_create(broken);
    let report = stage.execute(task("t", [run("echo x")])).await;
    assert_eq!(failure(&report), ("infrastructure", "pulling image `x` failed: connection refused"));
    assert_eq!(report.setup.status, StepStatus::Failed);
    let again = stage.execute(task("u", [run("echo x")])).await;
    assert_eq!(again.state, AttemptState::Success, "one failure does not harm the next task");
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_the_task_and_harms_no_other() {
    let stage = Stage::set().await;
    stage.driver.panic_next_create();
    let report = stage.execute(task("t", [run("echo x")])).await;
    let (class, message) = failure(&report);
    assert_eq!(class, "infrastructure");
    assert!(message.contains("an error of its own"), "{message}");
    assert_eq!(stage.execute(task("u", [run("echo x")])).await.state, AttemptState::Success);
}

#[tokio::test(start_paused = true)]
async fn what_is_assigned_again_while_it_is_being_forgotten_is_executed() {
    let stage = Stage::set().await;
    stage.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    // Told in one breath: the first assignment was taken back, and its task came to the same executor.
    stage.service.assign(task("t", [run("echo x")]));
    stage.service.tell(Command::Forget { task: id("t"), attempt: 1 });
    stage.service.assign(task("t", [run("echo x")]));
    let executed = tokio::time::timeout(Duration::from_secs(60), async { stage.service.final_report(&id("t")).await });
    assert_eq!(executed.await.expect("it is executed").state, AttemptState::Success);
    assert_eq!(stage.driver.created(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_supervisor_loses_the_task() {
    let stage = Stage::set().await;
    stage.service.assign(task("t", [run("echo ready\nsleep 100000")]));
    stage.service.wait_until(|stored| !stored.logs.is_empty() && stored.report(&id("t")).is_some()).await;
    stage.driver.lose_steps();
    assert_eq!(failure(&stage.service.final_report(&id("t")).await).0, "lost");
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_two_limits_counts_and_zero_is_none() {
    let stage = Stage::set().await;
    let mut spec = task("t", [run("sleep 3000"), run("sleep 3000")]);
    spec.timeout = Some(Duration::from_secs(5000));
    let report = stage.execute(spec.clone()).await;
    assert_eq!(report.steps[0].status, StepStatus::Success);
    assert_eq!(failure(&report), ("timeout", "step 2 (run) was stopped: the limit of 5000s was reached"));
    spec.id = id("none");
    spec.timeout = Some(Duration::ZERO);
    assert_eq!(stage.execute(spec).await.state, AttemptState::Success);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_coming_and_silence_ends_tasks() {
    let stage = Stage::set().await;
    stage.service.assign(task("t", [run("sleep 100000")]));
    stage.service.wait_until(|stored| stored.heartbeats == 100).await;
    stage.service.with(|stored| assert!(!stored.report(&id("t")).expect("a report").state.is_final()));
    stage.service.set_unavailable(true);
    stage.service.break_connection();
    tokio::time::sleep(Duration::from_secs(150)).await;
    stage.service.set_unavailable(false);
    assert_eq!(failure(&stage.service.final_report(&id("t")).await).0, "lost");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_stopped_while_logs_cannot_be_stored_ends_when_they_can() {
    let stage = Stage::set().await;
    stage.service.set_logs_unavailable(true);
    stage.service.assign(task("t", [run("echo kept\nsleep 100000")]));
    stage.service.wait_until(|stored| stored.reports.iter().any(|report| !report.steps.is_empty())).await;
    stage.service.tell(Command::Stop { task: id("t"), attempt: 1 });
    tokio::time::sleep(Duration::from_secs(60)).await;
    stage.service.with(|stored| assert!(!stored.report(&id("t")).expect("a report").state.is_final()));
    stage.service.set_logs_unavailable(false);
    let report = stage.service.final_report(&id("t")).await;
    assert_eq!(report.state, AttemptState::Stopped);
    assert_eq!(report.steps[0].log.as_ref().expect("its end").bytes, 5);
    assert_eq!(stage.driver.created(), 1);
    stage.executor.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_setup_can_be_stopped_and_does_not_delay_another_task() {
    let stage = Stage::set().await;
    stage.driver.delay_next_create(Duration::from_secs(100_000));
    stage.service.assign(task("slow", [run("echo x")]));
    let setup =
        |stored: &runyard_executor_core::testing::Stored| stored.log(&id("slow"), StepRef::Setup).contains("takes");
    stage.service.wait_until(setup).await;
    assert_eq!(stage.execute(task("quick", [run("echo x")])).await.state, AttemptState::Success);
    let asked = tokio::time::Instant::now();
    stage.service.tell(Command::Stop { task: id("slow"), attempt: 1 });
    let report = stage.service.final_report(&id("slow")).await;
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(report.state, AttemptState::Stopped);
    assert_eq!((report.setup.status, report.steps[0].status), (StepStatus::Stopped, StepStatus::NotStarted));
    assert_eq!(stage.driver.created(), 1, "only the quick one");
}
