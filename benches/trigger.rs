//! How long from a trigger to the first byte of the first command?
//!
//! A run of one task is created on a durable posix store, executed by the process driver, and its log is followed; the
//! clock stops when the first byte arrives. The floor of the same machine, one persisted object, is measured between
//! the runs, because a figure on a noisy machine means little without it.
//!
//! `cargo bench --bench trigger`

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt};
use runyard::{
    datamanager::WalDataManager,
    executor::{
        Executor,
        contract::{RunStep, Step, StepRef, Steps, TaskName},
        driver::ProcessDriver,
    },
    objectstorage::{ObjectKey, ObjectStorageExt, PosixStorage, PutMode},
    runservice::{
        LogRef, LogRequest, RUN_DATA, RunService,
        model::{GroupPath, RunConfig, TaskConfig},
    },
};
use tokio::sync::oneshot;

const WARM_UP: usize = 20;
const RUNS: usize = 200;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    runyard::executor::run_toolbox_if_invoked();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(bench())
}

async fn bench() -> Outcome {
    let dir = tempfile::tempdir()?;
    let storage = PosixStorage::open(dir.path().join("objects")).await?;
    let data = WalDataManager::builder(Arc::new(storage.clone())).base_path(RUN_DATA).open().await?;
    let runs = RunService::builder(data, storage.clone()).build();
    let driver = Arc::new(ProcessDriver::open(dir.path().join("pods"))?);
    let executor = Executor::builder(runs.client(), driver).open(dir.path().join("executor")).await?;
    let (done, stop) = oneshot::channel();
    let measured = async {
        let result = measure(&runs, &storage).await;
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

async fn measure(runs: &RunService, storage: &PosixStorage) -> Outcome {
    let (mut created, mut first_byte, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..WARM_UP + RUNS {
        let (to_created, to_first_byte) = trigger(runs, index).await?;
        let one_object = persist(storage, index).await?;
        if index >= WARM_UP {
            created.push(to_created);
            first_byte.push(to_first_byte);
            floor.push(one_object);
        }
    }
    println!("{RUNS} runs, durable posix store, process driver");
    let floor_p50 = percentile(&mut floor, 50);
    for (name, mut times) in [
        ("one persisted object (the floor)", floor),
        ("trigger to acknowledged", created),
        ("trigger to first byte", first_byte),
    ] {
        let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        let ratio = p50.as_secs_f64() / floor_p50.as_secs_f64();
        println!("{name:34} p50 {:7.2} ms   p99 {:7.2} ms   p50 / floor {ratio:5.1}", millis(p50), millis(p99));
    }
    Ok(())
}

/// The time until the run was durable, and until its first byte arrived.
async fn trigger(runs: &RunService, index: usize) -> Outcome<(Duration, Duration)> {
    let mut config = RunConfig::new("bench", GroupPath::new("bench", &index.to_string())?);
    let task = TaskName::parse("hello")?;
    let steps = Steps(vec![Step::Run(RunStep { command: "echo hello".into(), ..RunStep::default() })]);
    config.tasks.insert(task.clone(), TaskConfig { steps, ..TaskConfig::default() });
    let start = now();
    let run = runs.create(config.into()).await?;
    let created = start.elapsed();
    let request = LogRequest {
        log: LogRef { run: run.id, task, attempt: None, step: StepRef::Step(0) },
        offset: 0,
        follow: true,
    };
    let mut log = runs.log(&request).await?;
    let first = log.next().await.ok_or("the log ended without a byte")??;
    let first_byte = start.elapsed();
    assert_eq!(first.first(), Some(&b'h'));
    while log.next().await.transpose()?.is_some() {}
    Ok((created, first_byte))
}

async fn persist(storage: &PosixStorage, index: usize) -> Outcome<Duration> {
    let key = ObjectKey::parse(&format!("floor/{index}"))?;
    let start = now();
    storage.put_bytes(&key, vec![b'x'; 1024].into(), PutMode::Create).await?;
    Ok(start.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
