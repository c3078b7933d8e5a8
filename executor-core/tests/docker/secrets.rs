//! Where does a secret show? Nowhere but in the environment of the command.

use std::fs;

use runyard_executor_core::contract::{AttemptState, Value};

use crate::{
    engines::{Engine, busybox_task},
    house::{id, run, within},
};

const SECRETS: usize = 1_000;

fn secret(number: usize) -> String {
    format!("s3cret-{:016x}", (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The command lines of all processes of this machine, those in containers too.
fn command_lines() -> String {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_log_and_on_no_command_line_and_in_no_file_after_the_task() {
    let house = Engine::Docker.house().await;
    let command = "i=0; while [ $i -lt 1000 ]; do eval \"printf '%s' \\\"\\$SECRET_$i\\\"; echo\"; i=$((i+1)); done; \
                   echo printed; while ! test -e go; do sleep 0.05; done";
    let mut task = busybox_task("t", [run(command)]);
    for number in 0..SECRETS {
        task.environment.insert(format!("SECRET_{number}"), Value::secret(secret(number)));
    }
    house.service.assign(task);
    let ready = async { house.logged(&id("t"), 0, "printed").await };
    within(ready).await;
    let lines = command_lines();
    assert!(lines.contains("supervise"), "the supervisor is among them");
    assert!(!lines.contains("s3cret-"));
    let pods = house.any_driver().pods(house.executor().id()).await.unwrap();
    let step = runyard_executor_core::driver::StepSpec {
        step: 9,
        command: "touch ~/project/go".to_owned(),
        shell: vec!["/bin/sh".to_owned()],
        environment: Default::default(),
        working_dir: "/".to_owned(),
        user: None,
        tty: false,
        secrets: Vec::new(),
    };
    pods[0].start_step(step).await.unwrap();
    assert_eq!(house.report(&id("t")).await.state, AttemptState::Success);
    assert_eq!(house.log(&id("t"), 0), "***\n".repeat(SECRETS) + "printed\n");
    assert!(!house.setup_log(&id("t")).contains("s3cret-"));
    house.assert_clean().await;
    assert!(!holds(house.dir.path(), b"s3cret-"), "the journal is gone with the task");
}

fn holds(dir: &std::path::Path, text: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().flatten().any(|entry| match entry.file_type().unwrap().is_dir() {
        true => holds(&entry.path(), text),
        false => fs::read(entry.path()).unwrap().windows(text.len()).any(|window| window == text),
    })
}
