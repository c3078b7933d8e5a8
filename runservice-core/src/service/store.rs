//! How does one step of a run become rows? All inside one transaction.
//!
//! What differs between the state before and after is written, with what follows from it: the rows that say which run
//! of a group runs, who waits in the queue, which tasks wait for an executor, which are scheduled, and the events.

use runyard_datamanager::{Direction, KeyRange, Tx};
use runyard_executor_core::contract::RunId;

use super::Core;
use crate::{
    Error, Result,
    engine::{self, Effect, Event, Stepped},
    layout::{self, ASSIGNMENTS, CONFIGS, EVENTS, LOGS, QUEUE, READY, RUNNING, RUNS, TASKS},
    model::{GroupPath, RunConfig, RunPhase, RunState, Task},
    rows::AssignmentRow,
    scheduler::WaitingTask,
};

/// A transaction on runs.
pub(super) struct Work<'a> {
    core: &'a Core,
    pub(super) tx: Tx,
    now: std::time::SystemTime,
}

impl<'a> Work<'a> {
    pub(super) fn new(core: &'a Core, tx: Tx) -> Self {
        Self { core, tx, now: core.clock.now() }
    }

    /// Loads a run with its tasks.
    pub(super) async fn load(&self, id: &RunId) -> Result<(RunConfig, RunState)> {
        let config = self.tx.get(&CONFIGS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))?;
        let run = self.tx.get(&RUNS, id.as_str()).await?.ok_or_else(|| Error::no_run(id))?;
        let range = KeyRange::prefix(layout::tasks_prefix(id));
        let tasks = self.tx.scan(&TASKS, range, Direction::Ascending, usize::MAX).await?;
        let tasks = tasks.into_iter().map(|(_, task)| (task.name.clone(), task)).collect();
        Ok((config, RunState { run, tasks }))
    }

    /// Makes an event happen to a run. If that finishes it, the next run of its group starts in the same transaction,
    /// and so on while those finish at once.
    pub(super) async fn step(&self, id: &RunId, event: &Event) -> Result<RunState> {
        let stepped = self.step_one(id, event).await?;
        let mut last = stepped.clone();
        while last.run.phase == RunPhase::Finished && !last.run.parallel {
            let Some(next) = self.next_in_group(&last.run.group).await? else { break };
            last = self.step_one(&next, &Event::Start).await?;
        }
        Ok(stepped)
    }

    /// Writes a run that did not exist before.
    pub(super) async fn insert(&self, config: &RunConfig, created: Stepped) -> Result<RunState> {
        self.tx.put(&CONFIGS, created.state.run.id.as_str(), config).await?;
        self.save(config, None, created).await
    }

    async fn step_one(&self, id: &RunId, event: &Event) -> Result<RunState> {
        let (config, before) = self.load(id).await?;
        let stepped = engine::step(&*self.core.scheduler, &config, &before, event)?;
        self.save(&config, Some(&before), stepped).await
    }

    /// The run that takes the place of the one that finished; the place is given up if there is none.
    async fn next_in_group(&self, group: &GroupPath) -> Result<Option<RunId>> {
        let range = KeyRange::prefix(layout::numbered_prefix(group.as_str()));
        let next = self.tx.scan(&QUEUE, range, Direction::Ascending, 1).await?;
        match next.into_iter().next() {
            Some((_, id)) => Ok(Some(id)),
            None => {
                self.tx.delete(&RUNNING, group).await?;
                Ok(None)
            }
        }
    }

    async fn save(&self, config: &RunConfig, before: Option<&RunState>, stepped: Stepped) -> Result<RunState> {
        let Stepped { mut state, effects } = stepped;
        engine::stamp(&mut state, self.now);
        if before.map(|before| &before.run) != Some(&state.run) {
            self.tx.put(&RUNS, state.run.id.as_str(), &state.run).await?;
        }
        self.save_place_in_group(before.map(|before| before.run.phase), &state).await?;
        for task in state.tasks.values() {
            let old = before.and_then(|before| before.tasks.get(&task.name));
            if old != Some(task) {
                self.tx.put(&TASKS, layout::task_key(&state.run.id, &task.id), task).await?;
                self.save_assignment(&state.run.id, old, task).await?;
            }
        }
        for effect in effects {
            self.save_effect(config, &state, effect).await?;
        }
        Ok(state)
    }

    /// Keeps the rows that say which run of a group runs and which ones wait.
    async fn save_place_in_group(&self, before: Option<RunPhase>, state: &RunState) -> Result<()> {
        let run = &state.run;
        if before == Some(run.phase) {
            return Ok(());
        }
        if before == Some(RunPhase::Queued) {
            self.tx.delete(&QUEUE, layout::queue_key(&run.group, run.number)).await?;
        }
        match run.phase {
            RunPhase::Queued => self.tx.put(&QUEUE, layout::queue_key(&run.group, run.number), &run.id).await?,
            // A run that starts and finishes in one step held its place for no time at all, but whoever waits behind
            // it is found by the same rule.
            RunPhase::Running | RunPhase::Finished if before != Some(RunPhase::Running) && !run.parallel => {
                self.tx.put(&RUNNING, &run.group, &run.id).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// An assignment's row exists exactly while its task is scheduled.
    async fn save_assignment(&self, run: &RunId, before: Option<&Task>, after: &Task) -> Result<()> {
        match &after.assignment {
            Some(assignment) => {
                let row = AssignmentRow {
                    run: run.clone(),
                    name: after.name.clone(),
                    attempt: after.attempt,
                    executor: assignment.executor.clone(),
                    accepted: assignment.accepted,
                    stop: assignment.stop,
                };
                if before.and_then(|before| before.assignment.as_ref()) != Some(assignment) {
                    self.tx.put(&ASSIGNMENTS, after.id.as_str(), &row).await?;
                }
            }
            None if before.is_some_and(|before| before.assignment.is_some()) => {
                self.tx.delete(&ASSIGNMENTS, after.id.as_str()).await?;
            }
            None => {}
        }
        Ok(())
    }

    async fn save_effect(&self, config: &RunConfig, state: &RunState, effect: Effect) -> Result<()> {
        match effect {
            Effect::Ready { task } => {
                let row = WaitingTask::new(config, state, &task, self.tx.position().lsn);
                if let (Some(row), Some(task)) = (row, state.tasks.get(&task)) {
                    self.tx.put(&READY, task.id.as_str(), &row).await?;
                }
            }
            Effect::NotReady { task } => {
                let Some(task) = state.tasks.get(&task) else { return Ok(()) };
                self.tx.delete(&READY, task.id.as_str()).await?;
            }
            Effect::SealLog { id, attempt, step, end, .. } => {
                let row = self.core.logs.seal(&(id.clone(), attempt, step), end.as_ref()).await?;
                self.tx.put(&LOGS, layout::log_key(&id, attempt, step), &row).await?;
            }
            Effect::Emit(event) => self.tx.append(&EVENTS, &event)?,
            // The rows of assignments and of the group are written by comparing states, above.
            _ => {}
        }
        Ok(())
    }
}
