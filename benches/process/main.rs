//! What does the whole of it cost, with real commands?
//!
//! A durable posix store, a run service, and an executor with the process driver, in one process. The floor of the same
//! machine, one persisted object, stands beside the times, because a figure on a noisy machine means little without it.
//!
//! `cargo bench --bench process` measures everything; `-- trigger`, `-- steps`, `-- throughput` or `-- logs` one part. With
//! `--features docker` and an engine in `RUNYARD_TEST_DOCKER`, as `scripts/docker up` starts one, and the path that
//! `scripts/toolbox` prints in `RUNYARD_TEST_TOOLBOX`, the tasks are in containers.

mod kit;
mod logs;
mod steps;
mod throughput;
mod trigger;

use std::{error::Error, path::Path, sync::Arc};

use futures::FutureExt;
#[cfg(feature = "docker")]
use runyard::executor::driver::DockerDriver;
use runyard::{
    datamanager::WalDataManager,
    executor::{
        Executor,
        driver::{ExecutorDriver, ProcessDriver},
    },
    objectstorage::PosixStorage,
    runservice::{RUN_DATA, RunService},
};
use tokio::sync::oneshot;

use kit::Yard;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    runyard::executor::run_toolbox_if_invoked();
    // Cargo adds an argument of its own.
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(bench(only.as_deref()))
}

async fn bench(only: Option<&str>) -> Outcome {
    let dir = tempfile::tempdir()?;
    let storage = PosixStorage::open(dir.path().join("objects")).await?;
    let data = WalDataManager::builder(Arc::new(storage.clone())).base_path(RUN_DATA).open().await?;
    let runs = RunService::builder(data, storage.clone()).build();
    let driver = driver(&dir.path().join("pods"))?;
    let executor = Executor::builder(runs.client(), driver).task_limit(16).open(dir.path().join("executor")).await?;
    let yard = Yard { runs: runs.clone(), storage };
    let (done, stop) = oneshot::channel();
    let measured = async {
        let result = measure(&yard, only).await;
        // Only fails if the services ended first, and then their error is what counts.
        let _ = done.send(());
        result
    };
    let services = runyard::serve(stop.map(drop), |shutdown| {
        let (placing, executing) = (runs.run(shutdown.clone()), executor.run(shutdown));
        [async { Ok(placing.await?) }.boxed(), async { Ok(executing.await?) }.boxed()]
    });
    let (measured, served) = tokio::join!(measured, services);
    served?;
    measured
}

/// Processes, unless an engine of containers is named.
fn driver(pods: &Path) -> Outcome<Arc<dyn ExecutorDriver>> {
    #[cfg(feature = "docker")]
    if let Ok(host) = std::env::var("RUNYARD_TEST_DOCKER") {
        let toolbox = std::env::var("RUNYARD_TEST_TOOLBOX")?;
        return Ok(Arc::new(DockerDriver::builder().host(host).toolbox(toolbox).open()?));
    }
    Ok(Arc::new(ProcessDriver::open(pods)?))
}

async fn measure(yard: &Yard, only: Option<&str>) -> Outcome {
    let is_wanted = |part: &str| only.is_none_or(|only| only == part);
    if is_wanted("trigger") {
        trigger::bench(yard).await?;
    }
    if is_wanted("steps") {
        steps::bench(yard).await?;
    }
    if is_wanted("throughput") {
        throughput::bench(yard).await?;
    }
    if is_wanted("logs") {
        logs::bench(yard).await?;
    }
    Ok(())
}
