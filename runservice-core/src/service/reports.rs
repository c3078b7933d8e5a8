//! What becomes of what an executor says: registration, acceptance, reports.

use std::sync::Arc;

use runyard_datamanager::{DataManager, DataManagerExt, Direction, IndexScan, Snapshot, Tx};
use runyard_executor_core::contract::{
    ClientError, Command, ExecutorId, ExecutorStatus, Failure, FailureClass, Fence, Registration, RunId, TaskId,
    TaskName, TaskReport, TaskSpec,
};
use tracing::Instrument as _;

use super::{Core, store::Work};
use crate::{
    Error, ErrorKind, Result,
    client::client_error,
    engine::Event,
    executors::task_spec,
    layout::{ASSIGNMENTS, ASSIGNMENTS_BY_EXECUTOR, EXECUTORS},
    model::{Assignment, RunConfig, RunState},
    rows::{AssignmentRow, Drain, ExecutorRow, RegistrationCall},
    sealer::{self, SealError},
};

/// Why an executor is fenced off whose task waits, or is over.
const NOT_SCHEDULED: &str = "it is not scheduled";

/// What is being done when it is looked up which task a fence is about.
const LOOKING: &str = "looking at an assignment";

impl Core {
    /// Registers an executor under a new epoch, settles what became of its assignments, and tells it the rest.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a later `call` of the same client was answered.
    pub(crate) async fn register(
        &self,
        status: ExecutorStatus,
        call: Option<RegistrationCall>,
    ) -> Result<Registration> {
        let id = status.id.clone();
        // Until it is connected, its row is not to be taken for what a connection left that has ended.
        let _registering = self.sessions.registering(&id);
        let ((epoch, drain), _) = self
            .data
            .transact(|tx| {
                let (status, call) = (&status, &call);
                async move {
                    let old = tx.get(&EXECUTORS, status.id.as_str()).await?;
                    let last = old.as_ref().and_then(|old| old.call.as_ref());
                    if call.as_ref().zip(last).is_some_and(|(call, last)| call.is_late(last)) {
                        return Err(Error::Conflict { message: "the executor has registered again since".to_owned() });
                    }
                    // One that was forgotten must not get an epoch again that it had: the log is longer by now.
                    let epoch = old.as_ref().map_or(tx.position().lsn, |old| old.epoch) + 1;
                    // If nobody would notice this process's end, it says later that the executor is connected.
                    let process = self.process.is_vouched().then(|| self.process.id.clone());
                    let drain = old.and_then(|old| old.drain).and_then(|drain| drain.after_registration(status));
                    let away_since = process.is_none().then(|| self.clock.now());
                    let (silent, call) = (false, call.clone());
                    let process_name = process.is_some().then(|| self.process.name.clone());
                    let row = ExecutorRow {
                        epoch,
                        process,
                        process_name,
                        silent,
                        away_since,
                        drain,
                        status: status.clone(),
                        call,
                    };
                    tx.put(&EXECUTORS, status.id.as_str(), &row).await?;
                    self.settle_lost(&tx, status).await?;
                    Ok::<_, Error>((epoch, drain))
                }
            })
            .await?;
        // Connected first, read after: what is assigned from now on is told by the dispatcher, what was assigned
        // before is in the snapshot, and what is told twice does no harm.
        let commands = self.sessions.connect(&id, epoch);
        if drain == Some(Drain::Asked) {
            self.sessions.tell(&id, Command::Drain);
        }
        self.tell_assignments(&status).await?;
        tracing::info!(executor = %id, epoch, "executor registered");
        Ok(Registration { epoch, commands })
    }

    /// Connects an executor again whose connection broke, under the epoch of its registration, and tells it everything
    /// that is open. Nothing: that is not its newest registration.
    ///
    /// # Errors
    /// [`Error::NotExist`] if it has never registered, or was removed.
    #[cfg(feature = "http")]
    pub(crate) async fn resume(
        &self,
        id: &ExecutorId,
        epoch: u64,
    ) -> Result<Option<futures::stream::BoxStream<'static, Result<Command, ClientError>>>> {
        let _registering = self.sessions.registering(id);
        let (row, _) = self
            .data
            .transact(|tx| async move {
                let Some(mut row) = tx.get(&EXECUTORS, id.as_str()).await? else {
                    return Err(Error::NotExist { what: format!("executor `{id}` is not registered") });
                };
                if row.epoch != epoch {
                    return Ok(None);
                }
                let process = self.process.is_vouched().then(|| self.process.id.clone());
                if process.is_some() && row.process != process {
                    (row.process, row.away_since) = (process, None);
                    tx.put(&EXECUTORS, id.as_str(), &row).await?;
                }
                Ok(Some(row))
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let commands = self.sessions.connect(id, epoch);
        if row.drain == Some(Drain::Asked) {
            self.sessions.tell(id, Command::Drain);
        }
        self.tell_assignments(&row.status).await?;
        tracing::info!(executor = %id, epoch, "executor connected again");
        Ok(Some(commands))
    }

    /// Ends the tasks that the executor had taken and does not know any more.
    async fn settle_lost(&self, tx: &Tx, status: &ExecutorStatus) -> Result<()> {
        for (task, row) in assignments_of(tx, &status.id).await? {
            let held = status.held.iter().any(|held| held.task == task && held.attempt == row.attempt);
            let (_, state) = Work::new(self, tx.clone()).load(&row.run).await?;
            let accepted = assignment(&state, &row).is_some_and(|assignment| assignment.accepted);
            if accepted && !held {
                let event = Event::ExecutorLost {
                    task: row.name.clone(),
                    attempt: row.attempt,
                    executor: row.executor.clone(),
                    message: format!("executor `{}` came back without its record of this task", status.name),
                };
                Work::new(self, tx.clone()).step(&row.run, &event).await?;
            }
        }
        Ok(())
    }

    /// Tells a newly connected executor everything that concerns it.
    async fn tell_assignments(&self, status: &ExecutorStatus) -> Result<()> {
        let (assigned, _) = self.data.transact(|tx| async move { assignments_of(&tx, &status.id).await }).await?;
        for held in &status.held {
            let known = assigned.iter().any(|(task, row)| held.task == *task && held.attempt == row.attempt);
            if !known {
                let (task, attempt) = (held.task.clone(), held.attempt);
                self.sessions.tell(&status.id, Command::Forget { task, attempt });
            }
        }
        for (task, row) in assigned {
            self.tell(&task, &row).await?;
        }
        Ok(())
    }

    /// Tells an executor what its assignment asks of it.
    pub(crate) async fn tell(&self, task: &TaskId, row: &AssignmentRow) -> Result<()> {
        if !self.sessions.is_connected(&row.executor) {
            return Ok(());
        }
        let (config, state) = self.load(&row.run).await?;
        let waits = assignment(&state, row).is_some_and(|assignment| !assignment.accepted);
        if let Some(spec) = task_spec(&config, &state, &row.name).filter(|_| waits) {
            match self.opened(&config, spec).await {
                Ok(spec) => self.sessions.tell(&row.executor, Command::Assign { task: Box::new(spec) }),
                Err(SealError::Refused { reason }) => self.fail_undeliverable(row, reason).await?,
                Err(unavailable) => return Err(unavailable.into()),
            }
        }
        if row.stop {
            let (task, attempt) = (task.clone(), row.attempt);
            self.sessions.tell(&row.executor, Command::Stop { task, attempt });
        }
        Ok(())
    }

    /// A task specification with the secret values themselves.
    async fn opened(&self, config: &RunConfig, mut spec: TaskSpec) -> Result<TaskSpec, SealError> {
        match &self.sealer {
            _ if !config.sealed => {}
            Some(sealer) => sealer::open(&**sealer, &config.group, &mut spec).await?,
            None => {
                let reason = "its secrets are sealed, and this run service has no sealer".to_owned();
                return Err(SealError::Refused { reason });
            }
        }
        Ok(spec)
    }

    /// Fails a task that no executor can be told of.
    async fn fail_undeliverable(&self, row: &AssignmentRow, reason: String) -> Result<()> {
        let event = Event::Undeliverable {
            task: row.name.clone(),
            attempt: row.attempt,
            executor: row.executor.clone(),
            failure: Failure { class: FailureClass::Setup, message: format!("the task cannot be set up: {reason}") },
        };
        match self.apply(&row.run, event).await {
            // Somebody was faster: it is not this executor's any more.
            Err(error) if error.kind() == ErrorKind::BadRequest => Ok(()),
            applied => applied.map(drop),
        }
    }

    async fn load(&self, run: &RunId) -> Result<(Arc<RunConfig>, Arc<RunState>)> {
        let (loaded, _) = self.data.transact(|tx| async move { Work::new(self, tx).load(run).await }).await?;
        Ok(loaded)
    }

    pub(crate) async fn accept(&self, fence: &Fence) -> Result<(), ClientError> {
        self.sessions.heard(&fence.executor, fence.epoch);
        let accept = |task| Event::Accept { task, attempt: fence.attempt, executor: fence.executor.clone() };
        self.fenced(fence, accept).await
    }

    pub(crate) async fn report(&self, report: TaskReport) -> Result<(), ClientError> {
        self.sessions.heard(&report.fence.executor, report.fence.epoch);
        let fence = report.fence.clone();
        self.fenced(&fence, |_| Event::Report(report)).await
    }

    /// Makes an event happen to the run of an assignment, if the fence holds when it is committed.
    async fn fenced(&self, fence: &Fence, event: impl FnOnce(TaskName) -> Event) -> Result<(), ClientError> {
        // Which run it is; whether the fence holds is looked at when it is committed.
        let row = self.data.read(&self.data.snapshot(), &ASSIGNMENTS, fence.task.as_str()).await;
        let Some(AssignmentRow { run, name, .. }) = row.map_err(Error::from).map_err(client_error(LOOKING))? else {
            return Err(fenced_off(fence, NOT_SCHEDULED.to_owned()));
        };
        let event = event(name);
        let commit = async {
            let _turn = self.turns.take(&run).await;
            let change = self.data.transact(|tx| {
                let event = &event;
                async move {
                    let row = match check(&tx, fence).await? {
                        Ok(row) => row,
                        Err(reason) => return Ok(Err(reason)),
                    };
                    Work::new(self, tx).step(&row.run, event).await?;
                    Ok::<_, Error>(Ok(()))
                }
            });
            change.await
        };
        match commit.instrument(run.span(event.doing())).await {
            Ok((Ok(()), _)) => Ok(()),
            Ok((Err(reason), _)) => Err(fenced_off(fence, reason)),
            Err(error) => Err(client_error(event.doing())(error)),
        }
    }

    /// The assignment that a fence speaks for, if it is the one that counts.
    pub(crate) async fn fenced_assignment(&self, fence: &Fence) -> Result<AssignmentRow, ClientError> {
        let checked = self.data.transact(|tx| async move { check(&tx, fence).await }).await;
        match checked {
            Ok((Ok(row), _)) => Ok(row),
            Ok((Err(reason), _)) => Err(fenced_off(fence, reason)),
            Err(error) => Err(client_error(LOOKING)(error)),
        }
    }

    /// Whether `task` is an ancestor of the task of an assignment.
    pub(crate) async fn is_ancestor(&self, row: &AssignmentRow, task: &TaskId) -> Result<bool> {
        let (config, state) = self.load(&row.run).await?;
        let ancestors = config.ancestors(&row.name);
        Ok(ancestors.into_iter().any(|name| state.tasks.get(name).is_some_and(|ancestor| ancestor.id == *task)))
    }
}

pub(super) async fn assignments_of(tx: &Tx, executor: &ExecutorId) -> Result<Vec<(TaskId, AssignmentRow)>> {
    let mut rows = Vec::new();
    for key in tx.find(&ASSIGNMENTS, ASSIGNMENTS_BY_EXECUTOR, executor.as_str(), usize::MAX).await? {
        if let Some(row) = tx.get(&ASSIGNMENTS, &key).await? {
            rows.push((TaskId::parse(String::from_utf8_lossy(&key).into_owned())?, row));
        }
    }
    Ok(rows)
}

/// How many assignments an executor has.
pub(super) async fn assignments_at(data: &dyn DataManager, at: &Snapshot, executor: &ExecutorId) -> Result<u32> {
    let (direction, limit, after) = (Direction::Ascending, usize::MAX, None);
    let prefix = executor.as_str().as_bytes();
    let scan = IndexScan { index: ASSIGNMENTS_BY_EXECUTOR, prefix, direction, limit, after };
    let page = data.read_index(at, &ASSIGNMENTS, &scan).await?;
    // The prefix may be that of another executor's id, too.
    Ok(page.entries.iter().filter(|(_, row)| row.executor == *executor).count() as u32)
}

/// What the task of a row says of its assignment, if that is still the current one.
pub(super) fn assignment<'a>(state: &'a RunState, row: &AssignmentRow) -> Option<&'a Assignment> {
    let task = state.tasks.get(&row.name).filter(|task| task.attempt == row.attempt);
    task?.assignment.as_ref()
}

/// The assignment that a fence speaks for, or what does not match.
async fn check(tx: &Tx, fence: &Fence) -> Result<Result<AssignmentRow, String>> {
    let Some(row) = tx.get(&ASSIGNMENTS, fence.task.as_str()).await? else {
        return Ok(Err(NOT_SCHEDULED.to_owned()));
    };
    if row.attempt != fence.attempt {
        return Ok(Err(format!("attempt {} is the current one", row.attempt)));
    }
    if row.executor != fence.executor {
        return Ok(Err(format!("it was given to executor `{}`", row.executor)));
    }
    let epoch = tx.get(&EXECUTORS, fence.executor.as_str()).await?.map_or(0, |executor| executor.epoch);
    if epoch != fence.epoch {
        return Ok(Err(format!("the executor registered again (epoch {epoch}, not {})", fence.epoch)));
    }
    Ok(Ok(row))
}

fn fenced_off(fence: &Fence, reason: String) -> ClientError {
    ClientError::Fenced { task: fence.task.clone(), attempt: fence.attempt, reason }
}
