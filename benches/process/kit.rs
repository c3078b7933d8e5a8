//! A run service, an executor with the process driver, and runs of one task.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use runyard::{
    executor::contract::{RunStep, Step, StepRef, Steps, TaskName},
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

/// A run of one task, alone in its group.
pub(crate) fn one_task(group: &str, command: &str) -> Outcome<RunConfig> {
    let mut config = RunConfig::new("bench", GroupPath::new("bench", group)?);
    let steps = Steps(vec![Step::Run(RunStep { command: command.into(), ..RunStep::default() })]);
    config.tasks.insert(task()?, TaskConfig { steps, ..TaskConfig::default() });
    Ok(config)
}

/// What the only step of a run prints, and will print.
pub(crate) fn the_log(run: &Run) -> Outcome<LogRequest> {
    let log = LogRef { run: run.id.clone(), task: task()?, attempt: None, step: StepRef::Step(0) };
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
