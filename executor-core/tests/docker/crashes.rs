//! What is lost when an executor is killed at any moment? Nothing.

use std::time::Duration;

use rand::{
    RngExt as _, SeedableRng as _, TryRng as _,
    rngs::{StdRng, SysRng},
};
use runyard_executor_core::contract::{AttemptState, Value};

use crate::{
    engines::{Engine, busybox_task},
    house::{House, id, run},
};

const CRASHES: usize = 30;
const LINES: usize = 12_000;

/// Set it to the seed that a failed test has printed.
const SEED: &str = "RUNYARD_TEST_SEED";

const SECRET: &str = "hunter2-and-then-some";

#[tokio::test(flavor = "multi_thread")]
async fn a_task_does_not_notice_that_its_executor_dies() {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => SysRng.try_next_u64().expect("randomness"),
    };
    println!("{SEED}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut house = Engine::Docker.house().await;
    // A line each millisecond, cut anywhere between the line's two writes.
    let command = format!(
        "echo started >> ~/started; i=0; \
         while [ $i -lt {LINES} ]; do i=$((i+1)); printf \"$i hunter2-\"; echo and-then-some; usleep 1000; done"
    );
    let mut task = busybox_task("t", [run(&command), run("wc -l < ~/started")]);
    task.run_environment.insert("PASSWORD".to_owned(), Value::secret(SECRET));
    house.service.assign(task);
    for crash in 0..CRASHES {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..350))).await;
        assert!(!has_ended(&house), "the task lasts too short for crash {crash}");
        house.crash().await;
        house.open().await;
    }
    let report = tokio::time::timeout(Duration::from_secs(120), house.service.final_report(&id("t"))).await;
    assert_eq!(report.expect("it ends").state, AttemptState::Success);
    let expected: String = (1..=LINES).map(|line| format!("{line} ***\n")).collect();
    let log = house.log(&id("t"), 0);
    assert!(log == expected, "{}", first_difference(&log, &expected));
    assert_eq!(house.log(&id("t"), 1), "1\n", "no step is started twice");
    house.assert_clean().await;
}

fn has_ended(house: &House) -> bool {
    house.service.with(|stored| stored.report(&id("t")).is_some_and(|report| report.state.is_final()))
}

fn first_difference(found: &str, expected: &str) -> String {
    let mut lines = found.lines().zip(expected.lines()).enumerate();
    match lines.find(|(_, (found, expected))| found != expected) {
        Some((number, (found, expected))) => format!("line {number} is {found:?} and not {expected:?}"),
        None => format!("{} bytes instead of {}", found.len(), expected.len()),
    }
}
