//! How is it written who is connected, and what follows from it for placements? One transaction each.

use runyard_datamanager::{DataManagerExt, Direction, KeyRange, Leadership, Position, Tx};
use runyard_executor_core::contract::{ExecutorId, RunId, Siblings, TaskName};

use super::{
    Core,
    reports::{assignment, assignments_of},
    store::Work,
};
use crate::{Error, Result, engine::Event, layout::EXECUTORS, process::ProcessId};

impl Core {
    /// Gives a task to an executor on behalf of the process that leads, unless another one does by now; without one,
    /// this process is the only one.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if the task does not wait any more, or the executor is not connected any more.
    pub(crate) async fn assign(
        &self,
        leadership: Option<&Leadership>,
        run: &RunId,
        task: &TaskName,
        attempt: u32,
        executor: &ExecutorId,
    ) -> Result<Position> {
        let assign = |tx: Tx| async move {
            // Part of what is checked at the commit: whoever clears the row has then seen every assignment.
            let row = tx.get(&EXECUTORS, executor.as_str()).await?;
            if row.and_then(|row| row.process).is_none() {
                return Err(Error::BadRequest { message: format!("executor `{executor}` is not connected") });
            }
            let event = Event::Assign { task: task.clone(), attempt, executor: executor.clone() };
            Work::new(self, tx).step(run, &event).await
        };
        let (_, position) = match leadership {
            Some(leadership) => leadership.transact(&self.data, assign).await?,
            None => self.data.transact(assign).await?,
        };
        self.counters.tasks_assigned.add(1);
        Ok(position)
    }

    /// Writes which process an executor is connected to, unless there is a newer registration or somebody else was
    /// first.
    pub(crate) async fn note_connection(
        &self,
        id: &ExecutorId,
        epoch: u64,
        from: Option<&ProcessId>,
        to: Option<&ProcessId>,
    ) -> Result<()> {
        let noted = self.data.transact(|tx| async move {
            if let Some(mut row) = tx.get(&EXECUTORS, id.as_str()).await?
                && row.epoch == epoch
                && row.process.as_ref() == from
            {
                row.process = to.cloned();
                tx.put(&EXECUTORS, id.as_str(), &row).await?;
            }
            Ok::<_, Error>(())
        });
        noted.await.map(drop)
    }

    /// Writes which other executors of its group one sees, unless it has registered again meanwhile.
    pub(crate) async fn note_siblings(&self, id: &ExecutorId, epoch: u64, siblings: Siblings) -> Result<()> {
        let seen = &siblings.seen;
        let noted = self.data.transact(|tx| async move {
            if let Some(mut row) = tx.get(&EXECUTORS, id.as_str()).await?.filter(|row| row.epoch == epoch) {
                row.status.siblings.clone_from(seen);
                tx.put(&EXECUTORS, id.as_str(), &row).await?;
            }
            Ok::<_, Error>(())
        });
        noted.await.map(drop)
    }

    /// Writes of a process that has ended that nobody is connected to it, and takes back what its executors were given
    /// and have not accepted: they could start it only when they are back. Returns whose rows these were.
    pub(crate) async fn clear_ended(
        &self,
        leadership: &Leadership,
        process: &ProcessId,
    ) -> Result<(Vec<ExecutorId>, Position)> {
        let clear = |tx: Tx| async move {
            let executors = clear_where(&tx, |named| named == process).await?;
            for executor in &executors {
                self.take_back(&tx, executor).await?;
            }
            Ok::<_, Error>(executors)
        };
        leadership.transact(&self.data, clear).await
    }

    /// Writes of every process but this one, which is alone, that nobody is connected to it. What their executors were
    /// given stays theirs: they are about to come back.
    pub(crate) async fn clear_predecessors(&self) -> Result<()> {
        let me = &self.process.id;
        let clear = |tx: Tx| async move { clear_where(&tx, |named| named != me).await };
        self.data.transact(clear).await.map(drop)
    }

    async fn take_back(&self, tx: &Tx, executor: &ExecutorId) -> Result<()> {
        for (_, row) in assignments_of(tx, executor).await? {
            let work = Work::new(self, tx.clone());
            let (_, state) = work.load(&row.run).await?;
            if assignment(&state, &row).is_some_and(|assignment| !assignment.accepted) {
                work.step(&row.run, &Event::Unassign { task: row.name }).await?;
            }
        }
        Ok(())
    }
}

async fn clear_where(tx: &Tx, is_meant: impl Fn(&ProcessId) -> bool) -> Result<Vec<ExecutorId>> {
    let mut cleared = Vec::new();
    for (key, mut row) in tx.scan(&EXECUTORS, KeyRange::all(), Direction::Ascending, usize::MAX).await? {
        if row.process.take_if(|process| is_meant(process)).is_some() {
            tx.put(&EXECUTORS, &key, &row).await?;
            cleared.push(row.status.id);
        }
    }
    Ok(cleared)
}
