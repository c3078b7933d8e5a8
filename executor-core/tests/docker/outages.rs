//! What becomes of tasks and executors when their engine is restarted, or loses something?

use std::{path::Path, process::Command, time::Duration};

use runyard_executor_core::contract::AttemptState;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    engines::{builder, busybox_task, house},
    house::{House, failure, id, run},
};

/// Engines that start at the same time get into each other's way: they share the bridge of the machine and its rules.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// An engine of its own, which ends with the test.
struct OwnEngine {
    dir: tempfile::TempDir,
    host: String,
    _alone: MutexGuard<'static, ()>,
}

impl OwnEngine {
    async fn start() -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let host = script("up", dir.path());
        Self { dir, host: host.trim().to_owned(), _alone: alone }
    }

    /// An executor with it that runs.
    async fn house(&self) -> House {
        let host = self.host.clone();
        house(move || std::sync::Arc::new(builder(&host).open().expect("the engine is there"))).await
    }

    /// Calls its API; what it answers.
    fn call(&self, method: &str, path: &str) -> String {
        let socket = self.host.trim_start_matches("unix://");
        let url = format!("http://engine{path}");
        let output = Command::new("curl").args(["-sS", "--fail", "--unix-socket", socket, "-X", method, &url]).output();
        let output = output.expect("curl starts");
        assert!(output.status.success(), "{method} {path}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        script("down", self.dir.path());
    }
}

fn script(what: &str, dir: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/docker");
    let output = Command::new(script).arg(what).arg(dir).output().expect("the script starts");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_engine_fails_the_task_and_says_so() {
    let engine = OwnEngine::start().await;
    let house = engine.house().await;
    house.service.assign(busybox_task("t", [run("echo ready; sleep 1000"), run("true")]));
    house.logged(&id("t"), 0, "ready").await;
    script("kill", engine.dir.path());
    script("restart", engine.dir.path());
    let report = tokio::time::timeout(Duration::from_secs(60), house.service.final_report(&id("t"))).await;
    let report = report.expect("it does not hang");
    let (class, message) = failure(&report);
    assert_eq!(class, "lost");
    assert!(message.contains("step 1") && message.contains("engine was restarted"), "{message}");
    assert!(house.log(&id("t"), 0).starts_with("ready\n"));
    house.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toolbox_that_somebody_has_pruned_comes_back() {
    let engine = OwnEngine::start().await;
    let house = engine.house().await;
    assert_eq!(house.execute(busybox_task("before", [run("true")])).await.state, AttemptState::Success);
    house.assert_clean().await;
    let volumes = engine.call("GET", "/volumes");
    let name = volumes.split('"').find(|word| word.starts_with("runyard-toolbox-")).expect("the volume of the toolbox");
    engine.call("DELETE", &format!("/volumes/{name}"));
    let report = house.execute(busybox_task("after", [run("true")])).await;
    assert_eq!(report.state, AttemptState::Success, "{}", house.setup_log(&id("after")));
    house.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_outlives_its_engine() {
    let engine = OwnEngine::start().await;
    let house = engine.house().await;
    house.service.wait_until(|stored| !stored.registrations.is_empty()).await;
    script("kill", engine.dir.path());
    // It wants to register again, and cannot say what it can run.
    house.service.break_connection();
    script("restart", engine.dir.path());
    let again = house.service.wait_until(|stored| stored.registrations.len() > 1);
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("it registers again");
    assert_eq!(house.execute(busybox_task("t", [run("true")])).await.state, AttemptState::Success);
    house.assert_clean().await;
}
