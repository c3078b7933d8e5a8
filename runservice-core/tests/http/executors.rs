//! A whole executor, with scripts for commands, on each way to its run service.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use runyard_executor_core::{
    Executor,
    contract::{Contents, RestoreCacheStep, SaveCacheStep, Step, StepRef},
    driver::scripted::ScriptedDriver,
    http::HttpClient,
};
use runyard_runservice_core::{
    LogRef, LogRequest, NewJoinToken,
    model::{Run, RunResult},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    hand::{config, with_workspace},
    world::{Way, World, group, name},
};

struct Running {
    _dir: tempfile::TempDir,
    _task: AbortOnDropHandle<()>,
}

async fn executor(world: &World) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    let driver = Arc::new(ScriptedDriver::new());
    let executor = match world.way {
        Way::InProcess => Executor::builder(world.runs.client(), driver).open(dir.path()).await.expect("it opens"),
        Way::Http | Way::Breaking => {
            let client = HttpClient::new(world.endpoint("executors"));
            let executor =
                Executor::builder(Arc::new(client.clone()), driver).open(dir.path()).await.expect("it opens");
            let join = world.runs.create_join_token(NewJoinToken { uses: Some(1), ..Default::default() }).await;
            client.join(&join.expect("made").token, executor.id()).await.expect("joined");
            executor
        }
    };
    let run = async move { executor.run(CancellationToken::new()).await.expect("the executor goes on") };
    Running { _dir: dir, _task: AbortOnDropHandle::new(tokio::spawn(run)) }
}

fn failures(detail: &runyard_runservice_core::RunDetail) -> Vec<String> {
    let failed = detail.tasks.values().filter_map(|task| task.failure.as_ref());
    failed.map(|failure| failure.message.clone()).collect()
}

async fn text(world: &World, run: &Run, task: &str, step: u32) -> String {
    let log = LogRef { run: run.id.clone(), task: name(task), attempt: None, step: StepRef::Step(step) };
    let log = world.runs.log(&LogRequest { log, offset: 0, follow: false }).await.expect("there is such a log");
    let pieces: Vec<bytes::Bytes> = log.boxed().try_collect().await.expect("readable");
    String::from_utf8(pieces.concat()).expect("text")
}

async fn finishes_runs(way: Way) {
    let world = World::new(way).await;
    let _executor = executor(&world).await;
    let mut last = None;
    for branch in 0..5 {
        let many: String = (0..200).map(|line| format!("echo line {line} of a\n")).collect();
        let first = format!("a = {many}");
        let mut config = with_workspace(config(&[&first, "b: a = echo b", "c: b = echo c"]), "a", "b");
        config.group = group(&format!("branch{branch}"));
        let contents = vec![Contents { paths: vec!["deps".into()], ..Contents::default() }];
        let key = format!("deps-{}", branch / 2);
        let save = Step::SaveCache(SaveCacheStep { name: "save".into(), key: key.clone(), contents });
        let restore = RestoreCacheStep { name: "restore".into(), keys: vec![key], dest_dir: ".".into() };
        let steps = &mut config.tasks.get_mut(&name("c")).expect("there is one").steps.0;
        steps.extend([save, Step::RestoreCache(restore)]);
        last = Some(world.create(config).await);
    }
    let mut page = world.runs.list(&Default::default()).await.expect("listed").runs;
    assert_eq!(page.len(), 5);
    for run in page.drain(..) {
        let detail = world.finished(&run).await;
        assert_eq!(detail.run.result, RunResult::Success, "{:?}", failures(&detail));
        let expected: String = (0..200).map(|line| format!("line {line} of a\n")).collect();
        assert_eq!(text(&world, &run, "a", 0).await, expected);
        assert_eq!(text(&world, &run, "c", 0).await, "c\n");
    }
    let last = last.expect("there is one");
    let restored = text(&world, &last, "b", 1).await;
    assert!(restored.contains("restored "), "the workspace went through: {restored}");
    let restored = text(&world, &last, "c", 2).await;
    assert!(restored.contains("restored "), "the cache went through: {restored}");
}

#[tokio::test]
async fn an_executor_finishes_runs_in_process() {
    finishes_runs(Way::InProcess).await;
}

#[tokio::test]
async fn an_executor_finishes_runs_over_http() {
    finishes_runs(Way::Http).await;
}

#[tokio::test]
async fn an_executor_finishes_runs_over_a_breaking_network() {
    finishes_runs(Way::Breaking).await;
}
