//! A run service, an executor, and runs of one task.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use runyard::{
    executor::contract::{Container, RunStep, Runtime, Step, StepRef, Steps, TaskName},
    objectstorage::{ObjectKey, ObjectStorageExt, PosixStorage, PutMode},
    runservice::{
        LogRef, LogRequest, RunService,
        model::{GroupPath, Run, RunConfig, TaskConfig},
    },
};

use crate::Outcome;

/// What is measured, and the storage below it.
pub(crate) struct Yard {
    pub(crate) runs: RunService,
    pub(crate) storage: PosixStorage,
}

/// The image of the tests, which has a shell; processes have none.
const IMAGE: &str = "localhost/runyard-test/busybox:1";

/// A run of one task, alone in its group.
pub(crate) fn one_task(group: &str, command: &str) -> Outcome<RunConfig> {
    some_steps(group, command, 1)
}

/// A run of one task that does the same in each step, alone in its group.
pub(crate) fn some_steps(group: &str, command: &str, count: usize) -> Outcome<RunConfig> {
    let mut config = RunConfig::new("bench", GroupPath::new("bench", group)?);
    let step = Step::Run(RunStep { command: command.into(), ..RunStep::default() });
    let container = Container { image: IMAGE.to_owned(), ..Container::default() };
    let runtime = Runtime { arch: None, containers: vec![container] };
    let steps = Steps(vec![step; count]);
    config.tasks.insert(task()?, TaskConfig { runtime, steps, ..TaskConfig::default() });
    Ok(config)
}

/// What the first step of a run prints, and will print.
pub(crate) fn the_log(run: &Run) -> Outcome<LogRequest> {
    log_of(run, 0)
}

/// What a step of a run prints, and will print.
pub(crate) fn log_of(run: &Run, step: u32) -> Outcome<LogRequest> {
    let log = LogRef { run: run.id.clone(), task: task()?, attempt: None, step: StepRef::Step(step) };
    Ok(LogRequest { log, offset: 0, follow: true })
}

fn task() -> Outcome<TaskName> {
    Ok(TaskName::parse("task")?)
}

/// One persisted object: what nothing durable can be faster than.
pub(crate) async fn persist(storage: &PosixStorage) -> Outcome<Duration> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let key = ObjectKey::parse(&format!("floor/{}", NEXT.fetch_add(1, Ordering::Relaxed)))?;
    let start = now();
    storage.put_bytes(&key, vec![b'x'; 1024].into(), PutMode::Create).await?;
    Ok(start.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
