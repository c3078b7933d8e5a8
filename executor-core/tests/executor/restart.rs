//! What survives the end of an executor?

use std::time::Duration;

use runyard_executor_core::contract::{AttemptState, Command, ExecutorStatus, RunServiceClient as _, StepRef};

use crate::house::{House, failure, id, is_running, run, task, within};

#[tokio::test]
async fn a_running_step_goes_on_and_its_log_has_every_byte_once() {
    let mut house = House::start().await;
    let command = "echo started >> ../started; for i in $(seq 1 3000); do echo line $i; done; \
                   echo middle; sleep 0.3; for i in $(seq 3001 6000); do echo line $i; done";
    house.service.assign(task("t", [run(command), run("wc -l < ../started")]));
    house.logged(&id("t"), 0, "line 1000\n").await;
    house.crash().await;
    house.open().await;
    house.logged(&id("t"), 0, "line 3100\n").await;
    house.crash().await;
    house.open().await;
    let report = house.report(&id("t")).await;
    assert_eq!(report.state, AttemptState::Success);
    let lines = |from: u32, to: u32| (from..=to).map(|i| format!("line {i}\n")).collect::<String>();
    assert!(house.log(&id("t"), 0) == lines(1, 3000) + "middle\n" + &lines(3001, 6000));
    assert_eq!(house.log(&id("t"), 1).trim(), "1", "no step is started twice");
    house.service.with(|stored| {
        let held: Vec<_> = stored.registrations.iter().map(|status| status.held.len()).collect();
        assert_eq!(held, [0, 1, 1]);
        assert_eq!(stored.registrations[0].id, stored.registrations[2].id);
    });
    house.assert_clean().await;
}

#[tokio::test]
async fn a_step_whose_supervisor_had_not_begun_is_started_once_by_the_next_executor() {
    let mut house = House::start().await;
    assert!(house.shut_down().await.is_ok());
    let at = |name: &str| house.dir.path().join(name);
    let (script, held, gate, ended) = (at("held-toolbox"), at("held"), at("gate"), at("ended"));
    let [held_text, gate_text, ended_text] = [&held, &gate, &ended].map(|path| path.display());
    // It ends with the directory of the test, also when that fails.
    let text = format!(
        "touch {held_text}; while ! test -e {gate_text}; do test -e {held_text} || exit; sleep 0.02; done; \"$@\"; echo $? >{ended_text}.new; \
         mv {ended_text}.new {ended_text}\n"
    );
    std::fs::write(&script, text).unwrap();
    let toolbox =
        std::mem::replace(&mut house.toolbox, vec!["/bin/sh".into(), script, crate::toolbox::path().to_owned()]);
    house.open().await;
    house.service.assign(task(
        "t",
        [run("echo started >> ../started"), run("while ! test -e ../go; do sleep 0.02; done; wc -l < ../started")],
    ));
    within(exists(&held)).await;
    house.crash().await;
    // The executor of before started a supervisor that has not yet looked at its step.
    house.toolbox = toolbox;
    house.open().await;
    let pod = house.pod_dir();
    within(exists(&pod.join("steps/1/pid"))).await;
    std::fs::write(&gate, "").unwrap();
    within(exists(&ended)).await;
    assert_ne!(std::fs::read_to_string(&ended).unwrap().trim(), "0", "the late supervisor has nothing to do");
    std::fs::write(pod.join("home/go"), "").unwrap();
    let report = house.report(&id("t")).await;
    assert_eq!(report.state, AttemptState::Success);
    assert_eq!(house.log(&id("t"), 1).trim(), "1");
    house.assert_clean().await;
}

async fn exists(path: &std::path::Path) {
    while !path.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_step_that_ends_while_nobody_looks_is_finished_by_the_next_executor() {
    let mut house = House::start().await;
    house
        .service
        .assign(task("t", [run("echo ready; while ! test -e ../go; do sleep 0.02; done; seq 1 50000; exit 7")]));
    house.logged(&id("t"), 0, "ready").await;
    let pod = house.pod_dir();
    assert!(house.shut_down().await.is_ok());
    std::fs::write(pod.join("home/go"), "").unwrap();
    within(async {
        while !pod.join("steps/0/exit.json").exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.open().await;
    let report = house.report(&id("t")).await;
    assert_eq!(failure(&report).0, "exit");
    assert_eq!(report.steps[0].exit_code, Some(7));
    let expected = "ready\n".to_owned() + &(1..=50_000).map(|number| format!("{number}\n")).collect::<String>();
    assert!(house.log(&id("t"), 0) == expected);
    house.assert_clean().await;
}

#[tokio::test]
async fn a_step_whose_supervisor_was_killed_is_lost_and_nothing_of_it_runs_on() {
    let house = House::start().await;
    house.service.assign(task("t", [run("echo $$; sleep 1000"), run("true")]));
    house.logged(&id("t"), 0, "\n").await;
    kill_supervisor(&house);
    let report = house.report(&id("t")).await;
    assert_eq!(failure(&report).0, "lost");
    let log = house.log(&id("t"), 0);
    assert!(log.contains("output after this point is lost"), "{log}");
    let pid = log.lines().next().unwrap();
    assert!(!is_running(pid), "{pid}");
    house.assert_clean().await;
}

#[tokio::test]
async fn a_supervisor_that_is_killed_between_two_executors_is_found_lost() {
    let mut house = House::start().await;
    house.service.assign(task("t", [run("echo ready; sleep 1000")]));
    house.logged(&id("t"), 0, "ready\n").await;
    house.crash().await;
    kill_supervisor(&house);
    house.open().await;
    assert_eq!(failure(&house.report(&id("t")).await).0, "lost");
    house.assert_clean().await;
}

fn kill_supervisor(house: &House) {
    let step = runyard_toolbox::StepDir::open(house.pod_dir().join("steps/0")).expect("the step");
    let pids = step.pids().expect("readable").expect("it was started");
    let pid = rustix::process::Pid::from_raw(pids.supervisor.pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
}

#[tokio::test]
async fn a_task_whose_pod_is_gone_is_lost_not_started_again() {
    let mut house = House::start().await;
    house.service.assign(task("t", [run("echo ready; sleep 1000")]));
    house.logged(&id("t"), 0, "ready\n").await;
    house.crash().await;
    let pod = house.pod_dir();
    runyard_toolbox::kill_marked("RUNYARD_POD", &pod.file_name().unwrap().to_string_lossy()).unwrap();
    std::fs::remove_dir_all(pod).unwrap();
    house.open().await;
    let report = house.report(&id("t")).await;
    assert_eq!(failure(&report).0, "lost");
    let log = house.log(&id("t"), 0);
    assert!(log.starts_with("ready\n") && log.contains("output after this point is lost"), "{log}");
    assert_eq!(report.steps[0].log.as_ref().unwrap().bytes, log.len() as u64);
    house.assert_clean().await;
}

#[tokio::test]
async fn a_task_that_was_forgotten_while_the_executor_was_away_is_removed() {
    let mut house = House::start().await;
    house.service.assign(task("t", [run("echo ready; sleep 1000")]));
    house.logged(&id("t"), 0, "ready\n").await;
    house.crash().await;
    house.service.fence(&id("t"));
    house.open().await;
    house.assert_clean().await;
}

#[tokio::test]
async fn an_assignment_that_was_not_accepted_begins_once_after_the_restart() {
    let mut house = House::start().await;
    house.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    // The command reaches the executor, its acceptance does not reach the service.
    house.service.set_unavailable(true);
    house.service.assign(task("t", [run("echo x >> ../x; wc -l < ../x")]));
    let journal = house.dir.path().join("executor/journal/t.1.json");
    within(async {
        while !journal.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.crash().await;
    house.service.set_unavailable(false);
    house.open().await;
    assert_eq!(house.report(&id("t")).await.state, AttemptState::Success);
    assert_eq!(house.log(&id("t"), 0).trim(), "1");
    house.assert_clean().await;
}

#[tokio::test]
async fn an_outage_of_the_run_service_costs_no_byte() {
    let house = House::start().await;
    house.service.assign(task("t", [run("for i in $(seq 1 300); do echo line $i; sleep 0.002; done")]));
    house.logged(&id("t"), 0, "line 20\n").await;
    house.service.set_unavailable(true);
    house.service.break_connection();
    tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>()).await.unwrap_err();
    house.service.set_unavailable(false);
    let report = house.report(&id("t")).await;
    assert_eq!(report.state, AttemptState::Success);
    let expected: String = (1..=300).map(|i| format!("line {i}\n")).collect();
    assert_eq!(house.log(&id("t"), 0), expected);
    house.service.with(|stored| {
        assert!(stored.registrations.len() > 1);
        assert_eq!(stored.registrations.last().unwrap().held.len(), 1);
        assert_eq!(stored.logs[&(id("t"), 1, StepRef::Step(0))].len(), expected.len());
    });
}

#[tokio::test]
async fn a_second_executor_with_the_same_id_replaces_the_first() {
    let mut house = House::start().await;
    house.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    let status: ExecutorStatus = house.service.with(|stored| stored.registrations[0].clone());
    let _second = house.service.register(status).await.unwrap();
    let error = within(house.ended()).await.unwrap_err();
    assert!(error.to_string().contains("registered by another process"), "{error}");
}

#[tokio::test]
async fn a_silent_run_service_ends_the_tasks_after_a_while() {
    let settings = runyard_executor_core::Settings {
        lost_after: Duration::from_millis(400),
        heartbeat_interval: Duration::from_millis(50),
        ..Default::default()
    };
    let house = House::start_with(settings, 4).await;
    house.service.assign(task("t", [run("echo ready; sleep 1000")]));
    house.logged(&id("t"), 0, "ready\n").await;
    let pid_file = house.pod_dir().join("steps/0/exit.json");
    house.service.set_unavailable(true);
    house.service.break_connection();
    within(async {
        while !pid_file.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.service.set_unavailable(false);
    let report = house.report(&id("t")).await;
    assert_eq!(failure(&report).0, "lost");
    house.service.tell(Command::Forget { task: id("t"), attempt: 1 });
    house.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_crashes_no_byte_and_no_step_is_lost_or_repeated() {
    use rand::{Rng as _, SeedableRng as _};
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut house = House::start().await;
    let step =
        |number: u32| run(&format!("echo {number} >> ../steps; for i in $(seq 1 400); do echo {number} line $i; done"));
    house.service.assign(task("t", (0..6).map(step)));
    let stored = |stored: &runyard_executor_core::testing::Stored| stored.logs.values().map(Vec::len).sum::<usize>();
    while house.service.with(|seen| seen.report(&id("t")).is_none_or(|report| !report.state.is_final())) {
        let enough = house.service.with(stored) + (random.next_u32() % 6000) as usize;
        let is_over = |seen: &runyard_executor_core::testing::Stored| {
            stored(seen) >= enough || seen.report(&id("t")).is_some_and(|report| report.state.is_final())
        };
        within(house.service.wait_until(is_over)).await;
        house.crash().await;
        house.open().await;
    }
    let report = house.report(&id("t")).await;
    assert_eq!(report.state, AttemptState::Success);
    for number in 0..6 {
        let expected: String = (1..=400).map(|i| format!("{number} line {i}\n")).collect();
        assert!(house.log(&id("t"), number) == expected, "step {number}");
        assert_eq!(report.steps[number as usize].log.as_ref().unwrap().bytes, expected.len() as u64);
    }
    assert_eq!(report.setup.log.as_ref().unwrap().bytes, house.setup_log(&id("t")).len() as u64);
    house.assert_clean().await;
}
