//! Does a task in a container notice that its executor is killed?

use std::time::Duration;

use crate::killed_executor::thirty_kills;

#[test]
fn a_task_in_a_container_runs_once_and_its_log_is_whole_though_its_executor_is_killed_thirty_times() {
    let engine = std::env::var("RUNYARD_TEST_DOCKER").expect("`scripts/test --real` starts an engine");
    let toolbox = std::env::var("RUNYARD_TEST_TOOLBOX").expect("`scripts/test --real` builds the toolbox");
    let arguments = ["--driver", "docker", "--docker-host", &engine, "--toolbox", &toolbox];
    thirty_kills("localhost/runyard-test/busybox:1", &arguments, Duration::from_millis(500));
}
