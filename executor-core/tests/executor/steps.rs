//! What does a task do, in which order, and what does the run service hear of it?

use runyard_executor_core::contract::{AttemptState, Environment, RunStep, Step, StepStatus, Value};

use crate::house::{House, failure, id, run, task};

#[tokio::test]
async fn steps_run_in_order_and_reports_only_go_forward() {
    let house = House::start().await;
    let report = house.execute(task("t", [run("echo one > f"), run("cat f; echo two")])).await;
    assert_eq!(report.state, AttemptState::Success);
    assert_eq!(house.log(&id("t"), 0), "");
    assert_eq!(house.log(&id("t"), 1), "one\ntwo\n");
    for (index, bytes) in [(0, 0), (1, 8)] {
        let step = &report.steps[index];
        assert_eq!((step.status, step.exit_code), (StepStatus::Success, Some(0)));
        let log = step.log.as_ref().unwrap();
        assert_eq!(log.bytes, bytes);
        assert!(log.sha256.is_some());
    }
    let setup = house.setup_log(&id("t"));
    assert!(setup.contains("pod pod-") && setup.contains("working directory /"), "{setup}");
    assert_eq!(report.setup.status, StepStatus::Success);
    assert_eq!(report.setup.log.as_ref().unwrap().bytes, setup.len() as u64);
    let rank = |status: StepStatus| match status {
        StepStatus::NotStarted => 0,
        StepStatus::Running => 1,
        _ => 2,
    };
    house.service.with(|stored| {
        assert_eq!(stored.accepted, [(id("t"), 1)]);
        for pair in stored.reports.windows(2) {
            assert!(pair[0].sequence < pair[1].sequence);
            assert!(rank(pair[0].setup.status) <= rank(pair[1].setup.status));
            for (before, after) in pair[0].steps.iter().zip(&pair[1].steps) {
                assert!(rank(before.status) <= rank(after.status));
            }
        }
    });
    house.assert_clean().await;
}

#[tokio::test]
async fn a_task_without_steps_has_a_setup_log() {
    let house = House::start().await;
    let report = house.execute(task("t", [])).await;
    assert_eq!(report.state, AttemptState::Success);
    assert!(!house.setup_log(&id("t")).is_empty());
}

#[tokio::test]
async fn the_first_step_that_fails_ends_the_task() {
    let house = House::start().await;
    let failing = Step::Run(RunStep { name: "test".into(), command: "exit 3".into(), ..RunStep::default() });
    let report = house.execute(task("t", [run("true"), failing, run("true")])).await;
    assert_eq!(failure(&report), ("exit", "command `exit 3` of step 2 (test) exited with status 3"));
    let statuses: Vec<_> = report.steps.iter().map(|step| (step.status, step.exit_code)).collect();
    assert_eq!(
        statuses,
        [(StepStatus::Success, Some(0)), (StepStatus::Failed, Some(3)), (StepStatus::NotStarted, None)]
    );
}

#[tokio::test]
async fn a_command_that_a_signal_ends_has_its_status() {
    let house = House::start().await;
    let report = house.execute(task("t", [run("kill -KILL $$")])).await;
    assert_eq!(report.steps[0].exit_code, Some(137));
    assert_eq!(failure(&report).0, "exit");
}

#[tokio::test]
async fn commands_see_the_environment_of_every_layer() {
    let house = House::start().await;
    let layer = |names: &[&str], value: &str| -> Environment {
        names.iter().map(|name| ((*name).to_owned(), Value::from(value))).collect()
    };
    let step = Step::Run(RunStep {
        command: "echo $A $B $C $D $E; echo $HOME; pwd; env | sort | cut -d= -f1 | tr '\\n' ' '".into(),
        environment: layer(&["E"], "step"),
        ..RunStep::default()
    });
    let mut spec = task("t", [step]);
    spec.runtime.containers[0].environment = layer(&["A", "B", "C", "D", "E"], "container");
    spec.environment = layer(&["B", "C", "D", "E"], "task");
    spec.static_environment = layer(&["C", "D", "E"], "static");
    spec.run_environment = layer(&["D", "E"], "run");
    house.execute(spec).await;
    let log = house.log(&id("t"), 0);
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "container task static run step");
    assert!(lines[1].ends_with("/home"), "{log}");
    assert_eq!(lines[2], format!("{}/project", lines[1]));
    assert!(!lines[3].contains("CARGO"), "nothing of ours is inherited that is not listed: {log}");
}

#[tokio::test]
async fn any_program_can_be_the_shell() {
    let house = House::start().await;
    let step = |command: &str, shell: &str| {
        Step::Run(RunStep { command: command.into(), shell: Some(shell.into()), ..RunStep::default() })
    };
    let report = house
        .execute(task(
            "t",
            [
                step("import sys\nprint('python', sys.argv[0].endswith('command'))\n", "python3 -B"),
                step("BEGIN { print \"awk\" }", "awk -f"),
                step("true", "/no/such/shell"),
            ],
        ))
        .await;
    assert_eq!(house.log(&id("t"), 0), "python True\n");
    assert_eq!(house.log(&id("t"), 1), "awk\n");
    let (class, message) = failure(&report);
    assert_eq!(class, "setup");
    assert!(message.contains("/no/such/shell"), "{message}");
}

#[tokio::test]
async fn directories_of_steps_are_seen_from_the_working_directory() {
    let house = House::start().await;
    let inside =
        |dir: &str| Step::Run(RunStep { command: "pwd".into(), working_dir: Some(dir.into()), ..RunStep::default() });
    let mut spec = task("t", [run("mkdir sub; pwd"), inside("sub"), inside("/"), inside("~")]);
    spec.working_dir = Some("~/a/b".into());
    let report = house.execute(spec).await;
    assert_eq!(report.state, AttemptState::Success, "{}", house.log(&id("t"), 1));
    let log = |step| house.log(&id("t"), step).trim_end().to_owned();
    assert!(log(0).ends_with("/home/a/b"), "{}", log(0));
    assert_eq!(log(1), log(0) + "/sub");
    assert_eq!(log(2), "/");
    assert!(log(3).ends_with("/home"), "{}", log(3));
}

#[tokio::test]
async fn a_step_with_a_terminal_has_one() {
    let house = House::start().await;
    let step = Step::Run(RunStep { command: "test -t 1 && echo terminal".into(), tty: true, ..RunStep::default() });
    house.execute(task("t", [step])).await;
    assert_eq!(house.log(&id("t"), 0), "terminal\r\n");
}

#[tokio::test]
async fn a_long_output_arrives_whole() {
    let house = House::start().await;
    let report = house.execute(task("t", [run("seq 1 200000")])).await;
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(house.log(&id("t"), 0) == expected);
    assert_eq!(report.steps[0].log.as_ref().unwrap().bytes, expected.len() as u64);
}
