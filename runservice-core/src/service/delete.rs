//! What becomes of a run and its data at the end? One transaction says what is gone; objects follow, as chores.

use runyard_datamanager::{DataManagerExt, Direction, KeyRange};
use runyard_executor_core::contract::{RunId, Step, TaskId};

use super::{Core, store::Work};
use crate::{
    Error, Result,
    engine::{Change, RunEvent},
    layout::{self, CHORES, CONFIGS, IDEMPOTENCY, LOGS, REFERENCES, RUNS, TAGS, TASKS},
    model::{Run, RunConfig, RunState, Task},
    rows::{Chore, TaskData},
};

impl Core {
    pub(crate) async fn delete(&self, run: &RunId) -> Result<()> {
        let delete = |tx| async move { Work::new(self, tx).delete(run).await };
        self.data.transact(delete).await.map(drop)
    }

    pub(super) async fn set_pinned(&self, run: &RunId, pinned: bool) -> Result<Run> {
        let pin = |tx| async move {
            let work = Work::new(self, tx);
            let mut run = work.run(run).await?;
            if run.pinned != pinned {
                run.pinned = pinned;
                work.put_run(&run, Change::RunPinned { pinned }).await?;
            }
            Ok::<_, Error>(run)
        };
        Ok(self.data.transact(pin).await?.0)
    }

    /// Gives up the logs or the archives of a run, unless it is pinned by now; how many bytes of logs that frees.
    pub(crate) async fn expire(&self, run: &RunId, data: TaskData) -> Result<u64> {
        let expire = |tx| async move { Work::new(self, tx).expire(run, data).await };
        Ok(self.data.transact(expire).await?.0)
    }
}

impl Work<'_> {
    async fn delete(&self, id: &RunId) -> Result<()> {
        let (config, state) = self.load(id).await?;
        let RunState { run, tasks } = &*state;
        let refuse = |rule: &str| Error::BadRequest { message: format!("run #{} {rule}", run.number) };
        if !run.phase.is_final() {
            return Err(refuse("is not over: stop or cancel it before it is deleted"));
        }
        if run.pinned {
            return Err(refuse("is pinned: unpin it before it is deleted"));
        }
        // What it has given up already is others' or gone.
        if !run.logs_expired {
            self.release(&config, &state, TaskData::Logs).await?;
        }
        if !run.workspaces_expired {
            self.release(&config, &state, TaskData::Workspaces).await?;
        }
        for task in tasks.values() {
            self.tx.delete(&TASKS, layout::task_key(id, &task.id)).await?;
        }
        if let Some(key) = &run.idempotency_key {
            self.tx.delete(&IDEMPOTENCY, key).await?;
        }
        self.tx.delete(&CONFIGS, id.as_str()).await?;
        self.tx.delete(&TAGS, id.as_str()).await?;
        self.tx.delete(&RUNS, id.as_str()).await?;
        self.emit(RunEvent::of(run, Change::RunDeleted))
    }

    async fn expire(&self, id: &RunId, data: TaskData) -> Result<u64> {
        let (config, state) = self.load(id).await?;
        let mut run = state.run.clone();
        let (has_expired, change) = match data {
            TaskData::Logs => (run.logs_expired, Change::RunLogsExpired),
            TaskData::Workspaces => (run.workspaces_expired, Change::RunWorkspacesExpired),
        };
        if has_expired || run.pinned || !run.phase.is_final() {
            return Ok(0);
        }
        let freed = self.release(&config, &state, data).await?;
        match data {
            TaskData::Logs => run.logs_expired = true,
            TaskData::Workspaces => run.workspaces_expired = true,
        }
        self.put_run(&run, change).await?;
        Ok(freed)
    }

    /// Gives up the data of all tasks of a final run: what no other run refers to is gone with this transaction. How many
    /// bytes of logs that were.
    async fn release(&self, config: &RunConfig, state: &RunState, data: TaskData) -> Result<u64> {
        let (mut freed, run) = (0, &state.run.id);
        for task in state.tasks.values().filter(|task| may_have(config, task, data)) {
            let key = layout::reference_key(&task.id, run);
            if let Some(own) = self.tx.get(&REFERENCES, &key).await? {
                match own.without(data) {
                    left if left.logs || left.workspaces => self.tx.put(&REFERENCES, &key, &left).await?,
                    _ => self.tx.delete(&REFERENCES, &key).await?,
                }
                if !own.has(data) {
                    continue;
                }
            }
            // Whoever has no row of its own shares nothing. A restart that shares the task meanwhile writes among these
            // rows, and then this is tried again.
            let last = !self.is_referred_to(&task.id, data).await?;
            if last && data == TaskData::Logs {
                freed += self.forget_logs(&task.id).await?;
            }
            let chore = Chore::Release { data, task: task.id.clone(), run: run.clone(), last };
            self.tx.put(&CHORES, layout::chore_key(&chore), &chore).await?;
        }
        Ok(freed)
    }

    async fn is_referred_to(&self, task: &TaskId, data: TaskData) -> Result<bool> {
        let range = KeyRange::prefix(layout::references_prefix(task));
        let references = self.tx.scan(&REFERENCES, range, Direction::Ascending, usize::MAX).await?;
        Ok(references.into_iter().any(|(_, reference)| reference.has(data)))
    }

    async fn forget_logs(&self, task: &TaskId) -> Result<u64> {
        let range = KeyRange::prefix(layout::logs_of_task(task));
        let mut freed = 0;
        for (key, row) in self.tx.scan(&LOGS, range, Direction::Ascending, usize::MAX).await? {
            freed += row.bytes;
            self.tx.delete(&LOGS, key).await?;
        }
        Ok(freed)
    }

    async fn put_run(&self, run: &Run, change: Change) -> Result<()> {
        self.tx.put(&RUNS, run.id.as_str(), run).await?;
        self.tag(&run.id).await?;
        self.emit(RunEvent::of(run, change))
    }
}

/// Whether anything can be stored of a task: nothing is before an executor has taken it.
fn may_have(config: &RunConfig, task: &Task, data: TaskData) -> bool {
    let was_taken = task.executor.is_some() || !task.earlier.is_empty();
    let saves = || {
        let steps = config.tasks.get(&task.name).map(|task| task.steps.0.as_slice()).unwrap_or_default();
        steps.iter().any(|step| matches!(step, Step::SaveToWorkspace(_)))
    };
    was_taken && (data == TaskData::Logs || saves())
}
