//! What does an executor not do?

use runyard_executor_core::{
    Executor, ExecutorError, Settings,
    contract::{AttemptState, Command, Container, StepStatus},
};

use crate::house::{House, failure, id, is_running, run, task, within};

#[tokio::test]
async fn never_more_tasks_than_the_limit() {
    let house = House::start_with(Settings::default(), 2).await;
    let alone = "mkdir -p DIR; touch DIR/$$; ls DIR | wc -l; sleep 0.1; rm DIR/$$";
    let alone = alone.replace("DIR", house.dir.path().join("running").to_str().unwrap());
    let tasks: Vec<_> = (0..6).map(|number| format!("t{number}")).collect();
    for name in &tasks {
        house.service.assign(task(name, [run(&alone)]));
    }
    for name in &tasks {
        assert_eq!(house.report(&id(name)).await.state, AttemptState::Success);
        let seen: u32 = house.log(&id(name), 0).trim().parse().unwrap();
        assert!(seen <= 2, "{seen} at a time");
    }
    house.assert_clean().await;
}

#[tokio::test]
async fn a_draining_executor_finishes_what_it_has_and_takes_nothing() {
    let house = House::start().await;
    house.service.assign(task("t", [run("echo ready; sleep 0.2")]));
    house.logged(&id("t"), 0, "ready").await;
    let executor = house.executor().clone();
    within(executor.drain()).await;
    house.service.with(|stored| {
        assert_eq!(stored.report(&id("t")).unwrap().state, AttemptState::Success);
        assert_eq!(stored.registrations.last().unwrap().task_limit, 0);
    });
    house.service.assign(task("late", [run("true")]));
    assert_eq!(executor.held(), 0);
}

#[tokio::test]
async fn an_executor_that_the_run_service_drains_ends_when_its_tasks_have_ended() {
    let mut house = House::start().await;
    let gate = house.dir.path().join("gate");
    house
        .service
        .assign(task("t", [run(&format!("echo ready; while ! test -e {}; do sleep 0.01; done", gate.display()))]));
    house.logged(&id("t"), 0, "ready").await;
    house.service.tell(Command::Drain);
    house.service.wait_until(|stored| stored.registrations.last().is_some_and(|status| status.task_limit == 0)).await;
    house.service.assign(task("late", [run("true")]));
    std::fs::write(gate, "").unwrap();
    within(house.ended()).await.unwrap();
    house.service.with(|stored| {
        assert_eq!(stored.report(&id("t")).unwrap().state, AttemptState::Success);
        assert!(stored.report(&id("late")).is_none());
    });
}

#[tokio::test]
async fn what_the_driver_cannot_do_fails_the_setup_with_a_reason() {
    let house = House::start().await;
    type Change = fn(&mut Vec<Container>);
    let refused: [(&str, Change, &str); 3] = [
        ("several", |containers| containers.push(Container::default()), "2 containers"),
        ("privileged", |containers| containers[0].privileged = true, "allow_privileged_containers"),
        ("user", |containers| containers[0].user = Some("nobody-else".into()), "user `nobody-else`"),
    ];
    for (name, change, reason) in refused {
        let mut spec = task(name, [run("true")]);
        change(&mut spec.runtime.containers);
        let report = house.execute(spec).await;
        let (class, message) = failure(&report);
        assert_eq!(class, "setup");
        assert!(message.contains(reason), "{message}");
        assert!(house.setup_log(&id(name)).contains(reason));
        assert_eq!(report.setup.status, StepStatus::Failed);
        assert_eq!(report.steps[0].status, StepStatus::NotStarted);
    }
    house.assert_clean().await;
}

#[tokio::test]
async fn an_image_is_ignored_with_a_line_in_the_setup_log() {
    let house = House::start().await;
    let mut spec = task("t", [run("true")]);
    spec.runtime.containers[0].image = "alpine:3".into();
    assert_eq!(house.execute(spec).await.state, AttemptState::Success);
    let log = house.setup_log(&id("t"));
    assert!(log.contains("image `alpine:3` is ignored"), "{log}");
}

#[tokio::test]
async fn a_flood_of_output_is_cut_with_a_mark() {
    // More than a spool holds: what is dropped has to be acknowledged too.
    let settings = Settings { log_bytes_max: 100_000, ..Settings::default() };
    let house = House::start_with(settings, 1).await;
    let report = house.execute(task("t", [run("head -c 80000000 /dev/zero | tr '\\0' x")])).await;
    assert_eq!(report.state, AttemptState::Success);
    let log = house.log(&id("t"), 0);
    let (kept, mark) = log.split_at(100_000);
    assert!(kept.bytes().all(|byte| byte == b'x'));
    assert_eq!(mark, "\n[runyard: the log has reached its limit of 100000 bytes; the rest is dropped]\n");
}

#[tokio::test]
async fn a_flood_that_was_cut_goes_on_after_a_restart() {
    let settings = Settings { log_bytes_max: 1000, ..Settings::default() };
    let mut house = House::start_with(settings, 1).await;
    let flood = "seq 1 100000; while ! test -e ../go; do seq 1 1000; sleep 0.01; done; exit 9";
    house.service.assign(task("t", [run(flood)]));
    house.logged(&id("t"), 0, "limit").await;
    let dropped = house.dir.path().join("executor/logs/t.1/0.dropped");
    within(async {
        while !std::fs::read_to_string(&dropped).is_ok_and(|offset| offset.len() > 5) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.crash().await;
    house.open().await;
    std::fs::write(house.pod_dir().join("home/go"), "").unwrap();
    let report = house.report(&id("t")).await;
    assert_eq!(report.steps[0].exit_code, Some(9), "{:?}", report.state);
    assert_eq!(house.log(&id("t"), 0).matches("limit").count(), 1);
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_fails_the_task_before_it_starts() {
    let house = House::start().await;
    house.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    let journal = house.dir.path().join("executor/journal");
    std::fs::remove_dir_all(&journal).unwrap();
    let report = house.execute(task("t", [run("true")])).await;
    let (class, message) = failure(&report);
    assert_eq!(class, "infrastructure");
    assert!(message.starts_with("the executor cannot write its journal: "), "{message}");
    assert_eq!(report.steps[0].status, StepStatus::NotStarted);
    std::fs::create_dir(&journal).unwrap();
    house.assert_clean().await;
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_does_not_keep_the_executor_from_starting() {
    let mut house = House::start().await;
    let broken = house.dir.path().join("pods/pod-broken");
    house.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    house.crash().await;
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("pod.json"), "").unwrap();
    house.open().await;
    assert_eq!(house.execute(task("t", [run("true")])).await.state, AttemptState::Success);
    assert!(broken.exists());
}

#[tokio::test]
async fn pods_of_unknown_tasks_are_removed() {
    let mut house = House::start().await;
    house.service.assign(task("t", [run("echo $$; sleep 1000")]));
    house.logged(&id("t"), 0, "\n").await;
    house.crash().await;
    std::fs::remove_file(house.dir.path().join("executor/journal/t.1.json")).unwrap();
    std::fs::remove_dir_all(house.dir.path().join("executor/logs/t.1")).unwrap();
    house.open().await;
    house.assert_clean().await;
    assert!(!is_running(house.log(&id("t"), 0).trim()));
}

#[tokio::test]
async fn a_directory_belongs_to_one_executor() {
    let house = House::start().await;
    let driver = std::sync::Arc::new(house.driver());
    let second = Executor::builder(house.service.clone(), driver).open(house.dir.path().join("executor")).await;
    assert!(matches!(second.unwrap_err(), ExecutorError::DirectoryInUse { .. }));
    house.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    let again = house.executor().run(Default::default()).await;
    assert!(matches!(again.unwrap_err(), ExecutorError::AlreadyRunning));
}

#[tokio::test]
async fn an_executor_without_room_on_its_disk_says_so() {
    let settings = Settings { disk_free_min: u64::MAX, ..Settings::default() };
    let house = House::start_with(settings, 1).await;
    let says = |stored: &runyard_executor_core::testing::Stored| {
        let status = stored.registrations.last()?;
        status.not_ready.clone()
    };
    within(house.service.wait_until(|stored| says(stored).is_some())).await;
    let why = house.service.with(says).unwrap();
    assert!(why.contains("its disk has"), "{why}");
}
