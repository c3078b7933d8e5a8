//! A CI engine inside another program: a directory, four parts, and a run of two tasks.
//!
//! `cargo run --example embed`

use std::{error::Error, sync::Arc};

use futures::{FutureExt, StreamExt};
use runyard::{
    datamanager::WalDataManager,
    executor::{
        Executor,
        contract::{RunStep, Step, StepRef, Steps, TaskName},
        driver::ProcessDriver,
    },
    objectstorage::PosixStorage,
    runservice::{
        EventSequence, LogRef, LogRequest, RUN_DATA, RunService,
        model::{Condition, GroupPath, RunConfig, TaskConfig},
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    runyard::executor::run_toolbox_if_invoked();
    let dir = tempfile::tempdir()?;
    let storage = PosixStorage::open(dir.path().join("objects")).await?;
    let data = WalDataManager::builder(Arc::new(storage.clone())).base_path(RUN_DATA).open().await?;
    let runs = RunService::builder(data, storage).build();
    let driver = Arc::new(ProcessDriver::open(dir.path().join("pods"))?);
    let executor = Executor::builder(runs.client(), driver).task_limit(2).open(dir.path().join("executor")).await?;

    runyard::serve(build_and_test(&runs).map(|done| done.expect("the run can be followed")), |shutdown| {
        let (placing, executing) = (runs.run(shutdown.clone()), executor.run(shutdown));
        [async { Ok(placing.await?) }.boxed(), async { Ok(executing.await?) }.boxed()]
    })
    .await
}

/// Runs `build`, then `test`, and prints what they say.
async fn build_and_test(runs: &RunService) -> Result<(), Box<dyn Error + Send + Sync>> {
    let [build, test] = [TaskName::parse("build")?, TaskName::parse("test")?];
    let mut config = RunConfig::new("embedded", GroupPath::new("project", "demo")?);
    config.tasks.insert(build.clone(), task("echo compiling with $(nproc) cores"));
    let after_build =
        TaskConfig { depends: [(build.clone(), [Condition::Success].into())].into(), ..task("echo all tests pass") };
    config.tasks.insert(test.clone(), after_build);

    let run = runs.create(config.into()).await?;
    for task in [build, test] {
        let step = StepRef::Step(0);
        let log = LogRef { run: run.id.clone(), task, attempt: None, step };
        let request = LogRequest { log, offset: 0, follow: true };
        let mut log = runs.log(&request).await?;
        while let Some(bytes) = log.next().await.transpose()? {
            print!("[{}] {}", request.log.task, String::from_utf8_lossy(&bytes));
        }
    }
    // The end of the last log and the end of the run are two events: wait for the second.
    let mut events = runs.events(EventSequence::ZERO);
    while !runs.get(&run.id).await?.run.phase.is_final() {
        events.next().await.transpose()?;
    }
    println!("the run ended: {}", runs.get(&run.id).await?.run.result.as_str());
    Ok(())
}

fn task(command: &str) -> TaskConfig {
    let step = RunStep { name: "run".into(), command: command.into(), ..RunStep::default() };
    TaskConfig { steps: Steps(vec![Step::Run(step)]), ..TaskConfig::default() }
}
