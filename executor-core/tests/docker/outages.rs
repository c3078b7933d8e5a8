//! What becomes of a task when its engine is restarted?

use std::{path::Path, process::Command, time::Duration};

use crate::{
    engines::{builder, busybox_task, house},
    house::{failure, id, run},
};

/// An engine of its own, which ends with the test.
struct OwnEngine {
    dir: tempfile::TempDir,
    host: String,
}

impl OwnEngine {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = script("up", dir.path());
        Self { dir, host: host.trim().to_owned() }
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
    let engine = OwnEngine::start();
    let host = engine.host.clone();
    let house = house(move || std::sync::Arc::new(builder(&host).open().expect("the engine is there"))).await;
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
