//! What must the rows say that follow from a run? Compared and repaired in one transaction.

use runyard_datamanager::{Direction, KeyRange, Leadership, Tx};
use runyard_executor_core::contract::RunId;

use super::{Core, store::Work};
use crate::{
    Result,
    engine::Event,
    layout::{self, ASSIGNMENTS, QUEUE, READY, RUNNING, RUNS},
    model::{RunPhase, RunState},
    rows::AssignmentRow,
    scheduler::WaitingTask,
};

impl Core {
    /// Repairs what does not follow from a run, and says what that was.
    pub(crate) async fn audit(&self, leadership: Option<&Leadership>, run: &RunId) -> Result<Vec<String>> {
        let audit = |tx: Tx| async move { Work::new(self, tx).audit(run).await };
        Ok(self.led(leadership, audit).await?.0)
    }
}

impl Work<'_> {
    async fn audit(&self, id: &RunId) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        if self.tx.get(&RUNS, id.as_str()).await?.is_none() {
            self.drop_rows_of(id, &mut faults).await?;
            return Ok(faults);
        }
        let (config, before) = self.load(id).await?;
        let state = self.step(id, &Event::Reconsider).await?;
        for (_, task) in state.changed_tasks(&before) {
            faults.push(format!("the scheduler says something else of task `{}` than it did", task.name));
        }
        for (name, task) in &state.tasks {
            let key = task.id.as_str();
            // A task that a restart keeps is final in both runs, and has neither row in any.
            let row = self.tx.get(&READY, key).await?.filter(|row| row.run == *id);
            match (task.ready, row) {
                (true, None) => {
                    faults.push(format!("task `{name}` was ready, and not in the queue"));
                    if let Some(row) = WaitingTask::new(&config, &state, name, self.tx.position().lsn) {
                        self.tx.put(&READY, key, &row).await?;
                    }
                }
                (false, Some(_)) => {
                    faults.push(format!("task `{name}` was in the queue, and not ready"));
                    self.tx.delete(&READY, key).await?;
                }
                _ => {}
            }
            let row = self.tx.get(&ASSIGNMENTS, key).await?.filter(|row| row.run == *id);
            let expected = AssignmentRow::of(&state.run, task);
            if row != expected {
                faults.push(format!("the assignment of task `{name}` was {row:?}, and not {expected:?}"));
                match expected {
                    Some(expected) => self.tx.put(&ASSIGNMENTS, key, &expected).await?,
                    None => self.tx.delete(&ASSIGNMENTS, key).await?,
                }
            }
        }
        self.audit_group(&state, &mut faults).await?;
        Ok(faults)
    }

    async fn audit_group(&self, state: &RunState, faults: &mut Vec<String>) -> Result<()> {
        let run = &state.run;
        let running = self.tx.get(&RUNNING, &run.group).await?;
        let is_running = run.phase == RunPhase::Running && !run.parallel;
        match (is_running, running) {
            (true, other) if other.as_ref() != Some(&run.id) => {
                faults.push(format!("it was running, and the running run of its group was {other:?}"));
                self.tx.put(&RUNNING, &run.group, &run.id).await?;
            }
            (false, Some(other)) if other == run.id => {
                faults.push(format!("it was {}, and the running run of its group", run.phase.as_str()));
                self.tx.delete(&RUNNING, &run.group).await?;
            }
            _ => {}
        }
        let key = layout::queue_key(&run.group, run.number);
        let is_queued = self.tx.get(&QUEUE, &key).await?.is_some();
        match (run.phase == RunPhase::Queued, is_queued) {
            (true, false) => {
                faults.push("it was queued, and not in the queue of its group".to_owned());
                self.tx.put(&QUEUE, &key, &run.id).await?;
            }
            (false, true) => {
                faults.push(format!("it was {}, and in the queue of its group", run.phase.as_str()));
                self.tx.delete(&QUEUE, &key).await?;
            }
            _ => {}
        }
        let is_free = self.tx.get(&RUNNING, &run.group).await?.is_none();
        if run.phase == RunPhase::Queued && (is_free || run.parallel) && self.is_next(state).await? {
            faults.push("it was queued, and nothing of its group was running".to_owned());
            self.step(&run.id, &Event::Start).await?;
        }
        Ok(())
    }

    async fn is_next(&self, state: &RunState) -> Result<bool> {
        let range = KeyRange::prefix(layout::numbered_prefix(state.run.group.as_str()));
        let first = self.tx.scan(&QUEUE, range, Direction::Ascending, 1).await?;
        Ok(state.run.parallel || first.first().is_some_and(|(_, id)| *id == state.run.id))
    }

    /// Removes what speaks of a run that is not there.
    async fn drop_rows_of(&self, id: &RunId, faults: &mut Vec<String>) -> Result<()> {
        let all = KeyRange::all;
        let mut fault = |name: &str| faults.push(format!("`{name}` spoke of it, and it is not there"));
        for (key, row) in self.tx.scan(&READY, all(), Direction::Ascending, usize::MAX).await? {
            if row.run == *id {
                self.tx.delete(&READY, &key).await?;
                fault(READY.name());
            }
        }
        for (key, row) in self.tx.scan(&ASSIGNMENTS, all(), Direction::Ascending, usize::MAX).await? {
            if row.run == *id {
                self.tx.delete(&ASSIGNMENTS, &key).await?;
                fault(ASSIGNMENTS.name());
            }
        }
        for collection in [&RUNNING, &QUEUE] {
            for (key, run) in self.tx.scan(collection, all(), Direction::Ascending, usize::MAX).await? {
                if run == *id {
                    self.tx.delete(collection, &key).await?;
                    fault(collection.name());
                }
            }
        }
        Ok(())
    }
}
