//! How is it written who is connected, and what follows from it for placements? One transaction each.

use std::time::Duration;

use runyard_datamanager::{DataManagerExt, Direction, KeyRange, Leadership, Position, Tx};
use runyard_executor_core::contract::{ExecutorId, RunId, Siblings, TaskName};
use tracing::Instrument as _;

use super::{
    Core,
    reports::{assignment, assignments_of},
    store::Work,
};
use crate::{Error, Result, engine::Event, layout::EXECUTORS, process::ProcessId, rows::ExecutorRow};

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
        let event = &Event::Assign { task: task.clone(), attempt, executor: executor.clone() };
        let assign = |tx: Tx| async move {
            // Part of what is checked at the commit: whoever clears the row has then seen every assignment.
            let row = tx.get(&EXECUTORS, executor.as_str()).await?;
            if row.is_none_or(|row| !row.is_here() || row.drain.is_some()) {
                return Err(Error::BadRequest { message: format!("executor `{executor}` is not connected") });
            }
            Work::new(self, tx).step(run, event).await
        };
        let committed = async {
            let _turn = self.turns.take(run).await;
            self.led(leadership, assign).await
        };
        let (_, position) = committed.instrument(run.span(event.doing())).await?;
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
                match to {
                    Some(process) => {
                        (row.process, row.away_since) = (Some(process.clone()), None);
                        row.process_name = Some(self.process.name.clone());
                    }
                    None => row.leave(self.clock.now()),
                }
                tx.put(&EXECUTORS, id.as_str(), &row).await?;
            }
            Ok::<_, Error>(())
        });
        noted.await.map(drop)
    }

    /// Writes whether nothing is heard of an executor whose connection stands, unless there is a newer registration.
    pub(crate) async fn note_silence(&self, id: &ExecutorId, epoch: u64, silent: bool) -> Result<()> {
        let noted = self.data.transact(|tx| async move {
            if let Some(mut row) = tx.get(&EXECUTORS, id.as_str()).await?
                && (row.epoch, row.process.as_ref()) == (epoch, Some(&self.process.id))
                && row.silent != silent
            {
                row.silent = silent;
                // It has been silent for that long already.
                row.away_since = silent.then(|| self.clock.now() - self.settings.silent_after);
                tx.put(&EXECUTORS, id.as_str(), &row).await?;
            }
            Ok::<_, Error>(())
        });
        noted.await.map(drop)
    }

    /// Writes which other executors of its group one sees, unless it has registered again meanwhile; what those had whose
    /// pods are removed is lost, and those that may be forgotten are.
    pub(crate) async fn note_siblings(&self, id: &ExecutorId, epoch: u64, siblings: Siblings) -> Result<()> {
        let siblings = &siblings;
        let noted = self.data.transact(|tx: Tx| async move {
            let Some(mut row) = tx.get(&EXECUTORS, id.as_str()).await?.filter(|row| row.epoch == epoch) else {
                return Err(Error::BadRequest { message: format!("executor `{id}` has registered again") });
            };
            let mut lost = 0;
            for removed in &siblings.removed {
                let Some(gone) = tx.get(&EXECUTORS, removed.as_str()).await? else { continue };
                if gone.status.group != row.status.group || removed == id {
                    let message = format!(
                        "executor `{id}` says that the pods of `{removed}` are removed, and is no sibling of it"
                    );
                    return Err(Error::BadRequest { message });
                }
                let reason = format!("executor `{}` disappeared, and a sibling has removed its pods", gone.status.name);
                lost += self.lose(&tx, removed, &reason).await?;
                if gone.status.dynamic && !gone.is_here() {
                    tx.delete(&EXECUTORS, removed.as_str()).await?;
                }
            }
            row.status.siblings.clone_from(&siblings.seen);
            tx.put(&EXECUTORS, id.as_str(), &row).await?;
            Ok::<_, Error>(lost)
        });
        self.counters.tasks_lost.add(noted.await?.0);
        Ok(())
    }

    /// Writes of a process that has ended that nobody is connected to it, and takes back what its executors were given
    /// and have not accepted: they could start it only when they are back. Returns whose rows these were.
    pub(crate) async fn clear_ended(
        &self,
        leadership: &Leadership,
        process: &ProcessId,
    ) -> Result<(Vec<ExecutorId>, Position)> {
        let clear = |tx: Tx| async move {
            let executors = self.clear_where(&tx, |named| named == process).await?;
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
        let clear = |tx: Tx| async move { self.clear_where(&tx, |named| named != me).await };
        self.data.transact(clear).await.map(drop)
    }

    /// Gives what an executor has not accepted to others, if it is still away.
    pub(crate) async fn take_back_from(
        &self,
        leadership: Option<&Leadership>,
        id: &ExecutorId,
        epoch: u64,
    ) -> Result<()> {
        let take_back = |tx: Tx| async move {
            away(&tx, id, epoch).await?;
            self.take_back(&tx, id).await
        };
        self.led(leadership, take_back).await.map(drop)
    }

    /// Gives up what an executor has accepted, if it is still away: nothing of it can be executing any more.
    pub(crate) async fn give_up(&self, leadership: Option<&Leadership>, id: &ExecutorId, epoch: u64) -> Result<()> {
        let give_up = |tx: Tx| async move {
            let row = away(&tx, id, epoch).await?;
            let silence = spoken(self.settings.lost_after);
            let reason = format!("executor `{}` was not heard of for more than {silence}", row.status.name);
            self.lose(&tx, id, &reason).await
        };
        let (lost, _) = self.led(leadership, give_up).await?;
        self.counters.tasks_lost.add(lost);
        Ok(())
    }

    /// Forgets an executor that is away and has no tasks.
    pub(crate) async fn forget_executor(
        &self,
        leadership: Option<&Leadership>,
        id: &ExecutorId,
        epoch: u64,
    ) -> Result<()> {
        let forget = |tx: Tx| async move {
            away(&tx, id, epoch).await?;
            if assignments_of(&tx, id).await?.is_empty() {
                tx.delete(&EXECUTORS, id.as_str()).await?;
            }
            Ok(())
        };
        self.led(leadership, forget).await.map(drop)
    }

    /// Commits on behalf of the process that leads, unless another one does by now; without one, this one is alone.
    pub(super) async fn led<T, F, Fut>(&self, leadership: Option<&Leadership>, body: F) -> Result<(T, Position)>
    where
        F: FnMut(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
        T: Send,
    {
        match leadership {
            Some(leadership) => leadership.transact(&self.data, body).await,
            None => self.data.transact(body).await,
        }
    }

    /// Ends all that an executor has: what it accepted is lost, the rest goes to others. How many tasks are lost.
    async fn lose(&self, tx: &Tx, executor: &ExecutorId, reason: &str) -> Result<u64> {
        let mut lost = 0;
        for (_, row) in assignments_of(tx, executor).await? {
            let event = Event::ExecutorLost {
                task: row.name.clone(),
                attempt: row.attempt,
                executor: executor.clone(),
                message: reason.to_owned(),
            };
            let work = Work::new(self, tx.clone());
            let (_, before) = work.load(&row.run).await?;
            lost += u64::from(assignment(&before, &row).is_some_and(|assignment| assignment.accepted));
            work.step(&row.run, &event).await?;
        }
        Ok(lost)
    }

    pub(super) async fn take_back(&self, tx: &Tx, executor: &ExecutorId) -> Result<()> {
        for (_, row) in assignments_of(tx, executor).await? {
            let work = Work::new(self, tx.clone());
            let (_, state) = work.load(&row.run).await?;
            if assignment(&state, &row).is_some_and(|assignment| !assignment.accepted) {
                work.step(&row.run, &Event::Unassign { task: row.name }).await?;
            }
        }
        Ok(())
    }

    async fn clear_where(&self, tx: &Tx, is_meant: impl Fn(&ProcessId) -> bool) -> Result<Vec<ExecutorId>> {
        let mut cleared = Vec::new();
        for (key, mut row) in tx.scan(&EXECUTORS, KeyRange::all(), Direction::Ascending, usize::MAX).await? {
            if row.process.as_ref().is_some_and(&is_meant) {
                row.leave(self.clock.now());
                tx.put(&EXECUTORS, &key, &row).await?;
                cleared.push(row.status.id);
            }
        }
        Ok(cleared)
    }
}

/// The row of an executor that is away and has not registered since.
async fn away(tx: &Tx, id: &ExecutorId, epoch: u64) -> Result<ExecutorRow> {
    let row = tx.get(&EXECUTORS, id.as_str()).await?.filter(|row| row.epoch == epoch && !row.is_here());
    row.ok_or_else(|| Error::BadRequest { message: format!("executor `{id}` is back") })
}

/// A duration as people say it.
fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 120 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
