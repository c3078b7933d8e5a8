//! An executor played by hand, and runs for it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use runyard_executor_core::contract::{
    AttemptState, ByteStream, ClientError, Command, ExecutorStatus, Fence, HeldTask, LogEnd, Registration,
    RestoreWorkspaceStep, RunServiceClient, RunStep, SaveToWorkspaceStep, Step, StepReport, StepStatus, Steps,
    TaskReport, TaskSpec,
};
use runyard_runservice_core::model::{Condition, RunConfig, TaskConfig};

use crate::world::{group, id, name};

pub(crate) struct Hand {
    pub(crate) client: Arc<dyn RunServiceClient>,
    pub(crate) name: String,
    pub(crate) registration: Registration,
    /// What it was assigned and nobody asked for yet.
    assigned: Vec<TaskSpec>,
    sequence: u64,
}

pub(crate) fn status(executor: &str, held: &[HeldTask]) -> ExecutorStatus {
    ExecutorStatus { held: held.to_vec(), ..ExecutorStatus::new(id(executor), 4) }
}

impl Hand {
    pub(crate) async fn register(executor: &str, client: Arc<dyn RunServiceClient>, held: &[HeldTask]) -> Self {
        let registration = client.register(status(executor, held)).await.expect("registered");
        Self { client, name: executor.into(), registration, assigned: Vec::new(), sequence: 0 }
    }

    /// The next command that was not told before: a connection that breaks tells what is open again.
    pub(crate) async fn command(&mut self) -> Command {
        let wait = tokio::time::timeout(Duration::from_secs(60), self.registration.commands.next());
        wait.await.expect("told something in time").expect("connected").expect("readable")
    }

    /// Waits for a command, whatever else is told again.
    pub(crate) async fn told(&mut self, expected: &Command) {
        while self.command().await != *expected {}
    }

    /// Waits for the assignment of a task, in whichever order they come.
    pub(crate) async fn assigned(&mut self, task: &str) -> TaskSpec {
        loop {
            if let Some(at) = self.assigned.iter().position(|spec| spec.name == name(task)) {
                return self.assigned.swap_remove(at);
            }
            if let Command::Assign { task } = self.command().await {
                self.assigned.push(*task);
            }
        }
    }

    pub(crate) fn fence(&self, spec: &TaskSpec) -> Fence {
        let (task, attempt, executor) = (spec.id.clone(), spec.attempt, id(&self.name));
        Fence { task, attempt, executor, epoch: self.registration.epoch }
    }

    pub(crate) async fn accept(&self, spec: &TaskSpec) {
        self.client.accept(&self.fence(spec)).await.expect("accepted");
    }

    pub(crate) fn report_of(&mut self, spec: &TaskSpec, state: AttemptState, log_bytes: u64) -> TaskReport {
        self.sequence += 1;
        let status = match state {
            AttemptState::Stopped => StepStatus::Stopped,
            _ => StepStatus::Success,
        };
        let report = |bytes| StepReport { status, exit_code: Some(0), log: Some(LogEnd { bytes, sha256: None }) };
        let steps = spec.steps.0.iter().map(|_| report(log_bytes)).collect();
        TaskReport { fence: self.fence(spec), sequence: self.sequence, state, setup: report(0), steps }
    }

    pub(crate) async fn report(
        &mut self,
        spec: &TaskSpec,
        state: AttemptState,
        log_bytes: u64,
    ) -> Result<(), ClientError> {
        let is_final = state.is_final();
        let report = self.report_of(spec, state, log_bytes);
        match self.client.report(report).await {
            // As executors take it: the answer to a last report was lost, and nobody expects anything of the attempt any
            // more when it is said again. Whether it was heard, each test sees in what becomes of the run.
            Err(ClientError::Fenced { .. }) if is_final => Ok(()),
            settled => settled,
        }
    }

    pub(crate) async fn succeed(&mut self, spec: &TaskSpec) {
        self.accept(spec).await;
        self.report(spec, AttemptState::Success, 0).await.expect("reported");
    }
}

/// An archive, in pieces as a network delivers them.
pub(crate) fn archive(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(30_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

pub(crate) async fn read(archive: ByteStream) -> Result<Vec<u8>, String> {
    let pieces: Vec<Bytes> = archive.try_collect().await.map_err(|error| error.to_string())?;
    Ok(pieces.concat())
}

/// Tries as executors do: an archive that breaks off is begun again.
pub(crate) async fn retried<T>(transfer: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    for _ in 0..100 {
        match transfer().await {
            Err(error) if error.is_retryable() => {}
            settled => return settled,
        }
    }
    panic!("the network broke a hundred times");
}

fn run_step(command: &str) -> Step {
    Step::Run(RunStep { name: "step".into(), command: command.into(), ..RunStep::default() })
}

/// A run config whose tasks run one command each, `name: parents` or `name: parents = command`.
pub(crate) fn config(tasks: &[&str]) -> RunConfig {
    let mut config = RunConfig::new("test", group("main"));
    for task in tasks {
        let (task, command) = task.split_once(" = ").unwrap_or((task, "echo x"));
        let (task, parents) = task.split_once(": ").unwrap_or((task, ""));
        let depends = parents.split_whitespace().map(|parent| (name(parent), [Condition::Success].into())).collect();
        let steps = Steps(vec![run_step(command)]);
        config.tasks.insert(name(task), TaskConfig { depends, steps, ..TaskConfig::default() });
    }
    config
}

/// The same, of which the first task saves to the workspace and the second restores it.
pub(crate) fn with_workspace(mut config: RunConfig, saves: &str, restores: &str) -> RunConfig {
    let contents = vec![runyard_executor_core::contract::Contents { paths: vec!["out".into()], ..Default::default() }];
    let save = Step::SaveToWorkspace(SaveToWorkspaceStep { name: "save".into(), contents });
    let restore = Step::RestoreWorkspace(RestoreWorkspaceStep { name: "restore".into(), dest_dir: ".".into() });
    for (task, step) in [(saves, save), (restores, restore)] {
        config.tasks.get_mut(&name(task)).expect("there is such a task").steps.0.push(step);
    }
    config
}
