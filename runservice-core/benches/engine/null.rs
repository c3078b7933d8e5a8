//! A run service on a durable directory, and an executor that finishes everything at once.

use std::{path::Path, sync::Arc};

use futures::StreamExt;
use runyard_datamanager::{DataManager, WalDataManager};
use runyard_executor_core::contract::{
    AttemptState, Command, ExecutorId, ExecutorStatus, Fence, LogEnd, RunServiceClient, RunStep, Step, StepReport,
    StepStatus, Steps, TaskName, TaskReport, TaskSpec,
};
use runyard_objectstorage::PosixStorage;
use runyard_runservice_core::{
    RUN_DATA, RunService,
    model::{GroupPath, RunConfig, TaskConfig},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// A run service with its workers.
pub(crate) struct Yard {
    pub(crate) runs: RunService,
    pub(crate) data: WalDataManager,
    pub(crate) storage: PosixStorage,
    shutdown: CancellationToken,
    work: JoinHandle<()>,
    /// Its own, unless it was opened in another's.
    dir: Option<tempfile::TempDir>,
}

impl Yard {
    pub(crate) async fn open() -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let yard = Self::open_in(dir.path()).await?;
        Ok(Self { dir: Some(dir), ..yard })
    }

    pub(crate) async fn open_in(dir: &Path) -> Outcome<Self> {
        let storage = PosixStorage::open(dir.join("objects")).await?;
        let data = WalDataManager::builder(Arc::new(storage.clone())).base_path(RUN_DATA).open().await?;
        let runs = RunService::builder(data.clone(), storage.clone()).build();
        let shutdown = CancellationToken::new();
        let (running, end) = (runs.clone(), shutdown.clone());
        let work = tokio::spawn(async move { running.run(end).await.expect("the workers go on") });
        Ok(Self { runs, data, storage, shutdown, work, dir: None })
    }

    /// Ends it, and removes its directory if that is its own.
    pub(crate) async fn close(self) -> Outcome {
        self.close_keeping().await.map(drop)
    }

    /// Ends it; its directory is removed with what is returned.
    pub(crate) async fn close_keeping(self) -> Outcome<Option<tempfile::TempDir>> {
        self.shutdown.cancel();
        self.work.await?;
        self.data.close().await;
        Ok(self.dir)
    }

    pub(crate) fn transactions(&self) -> u64 {
        // Each batch holds several: the position says how many batches there were, so batches are what is counted.
        self.data.snapshot().position().lsn
    }
}

/// Registers an executor that finishes what it is given; every assignment is told before.
pub(crate) async fn execute(
    runs: &RunService,
    name: &str,
    task_limit: u32,
    assigned: mpsc::UnboundedSender<TaskSpec>,
) -> Outcome<JoinHandle<()>> {
    let client = runs.client();
    let status = status(name, task_limit)?;
    let id = status.id.clone();
    let mut registration = client.register(status).await?;
    let epoch = registration.epoch;
    Ok(tokio::spawn(async move {
        while let Some(Ok(command)) = registration.commands.next().await {
            if let Command::Assign { task } = command {
                // The bench may be over.
                let _ = assigned.send((*task).clone());
                tokio::spawn(finish(Arc::clone(&client), id.clone(), epoch, *task));
            }
        }
    }))
}

fn status(name: &str, task_limit: u32) -> Outcome<ExecutorStatus> {
    Ok(ExecutorStatus::new(ExecutorId::parse(name)?, task_limit))
}

/// Registers an executor that only says what it is given.
pub(crate) async fn register_idle(
    runs: &RunService,
    assigned: mpsc::UnboundedSender<TaskSpec>,
) -> Outcome<(Arc<dyn RunServiceClient>, ExecutorId, u64)> {
    let client = runs.client();
    let mut registration = client.register(status("idle", 1)?).await?;
    let epoch = registration.epoch;
    tokio::spawn(async move {
        while let Some(Ok(command)) = registration.commands.next().await {
            if let Command::Assign { task } = command {
                let _ = assigned.send(*task);
            }
        }
    });
    Ok((client, ExecutorId::parse("idle")?, epoch))
}

async fn finish(client: Arc<dyn RunServiceClient>, executor: ExecutorId, epoch: u64, spec: TaskSpec) {
    let fence = Fence { task: spec.id, attempt: spec.attempt, executor, epoch };
    // It fails only when the service was closed, because the bench is over.
    if client.accept(&fence).await.is_err() {
        return;
    }
    let step =
        StepReport { status: StepStatus::Success, exit_code: Some(0), log: Some(LogEnd { bytes: 0, sha256: None }) };
    let steps = vec![step.clone(); spec.steps.0.len()];
    let report = TaskReport { fence, sequence: 1, state: AttemptState::Success, setup: step, steps };
    let _ = client.report(report).await;
}

/// A run config whose tasks have one step each and depend on those that are named.
pub(crate) fn config(group: usize, tasks: &[(String, Vec<String>)]) -> Outcome<RunConfig> {
    let group = GroupPath::new("project", &(group % 100).to_string())?.child("branch", &group.to_string())?;
    let mut config = RunConfig::new("bench", group);
    for (name, parents) in tasks {
        let steps = Steps(vec![Step::Run(RunStep { command: "true".to_owned(), ..RunStep::default() })]);
        let depends = parents.iter().map(|parent| Ok((TaskName::parse(parent.as_str())?, Default::default())));
        let depends = depends.collect::<Outcome<_>>()?;
        let task = TaskConfig { steps, depends, ..TaskConfig::default() };
        config.tasks.insert(TaskName::parse(name.as_str())?, task);
    }
    Ok(config)
}

/// A run config with one task.
pub(crate) fn one_task(group: usize) -> Outcome<RunConfig> {
    config(group, &[("task".to_owned(), Vec::new())])
}
