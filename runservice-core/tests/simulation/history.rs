//! What is stored, and could it have come to be like that?
//!
//! A fold of every transaction of the store, in its order. Each rule is a function of its own, and is looked at after
//! each transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use runyard_datamanager::{Change, Committed, Position};
use runyard_executor_core::contract::{ExecutorId, ExecutorStatus, RunId, TaskId, TaskName};
use runyard_runservice_core::{
    engine::{self, RunEvent},
    model::{Run, RunConfig, RunPhase, RunState, Task},
    scheduler::{Scheduler, WaitingTask},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::rules;

/// Everything that the store holds, and every event that it ever held.
pub(crate) struct History {
    /// What the engine is given to decide with.
    scheduler: Box<dyn Scheduler>,
    pub(crate) runs: BTreeMap<RunId, RunState>,
    pub(crate) configs: BTreeMap<RunId, RunConfig>,
    pub(crate) assignments: BTreeMap<String, AssignmentRow>,
    pub(crate) executors: BTreeMap<String, ExecutorRow>,
    pub(crate) ready: BTreeMap<String, WaitingTask>,
    /// The running run of each group.
    pub(crate) running: BTreeMap<String, RunId>,
    pub(crate) queue: BTreeMap<Bytes, RunId>,
    pub(crate) idempotency: BTreeMap<String, RunId>,
    pub(crate) logs: BTreeMap<String, LogRow>,
    /// What runs have of the tasks that they share, by task and run.
    pub(crate) references: BTreeMap<String, ReferenceRow>,
    /// Whatever is to be done yet about objects.
    pub(crate) chores: BTreeMap<Bytes, serde_json::Value>,
    /// Runs that are there no more.
    pub(crate) deleted: BTreeSet<RunId>,
    /// All events with their places, as they are shown.
    pub(crate) events: Vec<(String, RunEvent)>,
    numbers: BTreeMap<String, u64>,
    pub(crate) position: Position,
}

/// A scheduled task.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct AssignmentRow {
    pub(crate) run: RunId,
    pub(crate) name: TaskName,
    pub(crate) attempt: u32,
    pub(crate) executor: ExecutorId,
    pub(crate) stop: bool,
}

/// What a run has of a task that it shares.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct ReferenceRow {
    pub(crate) logs: bool,
}

/// A registered executor.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ExecutorRow {
    pub(crate) epoch: u64,
    pub(crate) status: ExecutorStatus,
}

/// What happened.
#[derive(Deserialize)]
struct EventRow {
    event: RunEvent,
}

/// A sealed log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct LogRow {
    pub(crate) bytes: u64,
    pub(crate) missing: u64,
}

/// What a transaction did to runs.
#[derive(Default)]
struct Touched {
    /// How they were before.
    before: BTreeMap<RunId, Option<RunState>>,
    events: Vec<RunEvent>,
    assigned: BTreeSet<ExecutorId>,
}

impl History {
    pub(crate) fn new(scheduler: Box<dyn Scheduler>) -> Self {
        Self {
            scheduler,
            runs: BTreeMap::new(),
            configs: BTreeMap::new(),
            assignments: BTreeMap::new(),
            executors: BTreeMap::new(),
            ready: BTreeMap::new(),
            running: BTreeMap::new(),
            queue: BTreeMap::new(),
            idempotency: BTreeMap::new(),
            logs: BTreeMap::new(),
            references: BTreeMap::new(),
            chores: BTreeMap::new(),
            deleted: BTreeSet::new(),
            events: Vec::new(),
            numbers: BTreeMap::new(),
            position: Position::ZERO,
        }
    }

    /// Applies a transaction; the error says which rule it breaks.
    pub(crate) fn apply(&mut self, committed: &Committed) -> Result<(), String> {
        let mut touched = Touched::default();
        for change in &committed.changes {
            self.apply_change(change, &mut touched)?;
        }
        self.position = committed.position;
        self.check(&touched).map_err(|wrong| format!("at {}: {wrong}", committed.position))
    }

    fn apply_change(&mut self, change: &Change, touched: &mut Touched) -> Result<(), String> {
        match &*change.collection {
            "runs" => self.apply_run(change, touched),
            "tasks" => self.apply_task(change, touched),
            "runconfigs" => {
                let id = RunId::parse(text(&change.key)).map_err(|error| error.to_string())?;
                put(&mut self.configs, id, change)
            }
            "assignments" => {
                put(&mut self.assignments, text(&change.key), change)?;
                let row = self.assignments.get(&text(&change.key));
                touched.assigned.extend(row.map(|row| row.executor.clone()));
                Ok(())
            }
            "executors" => {
                let before = self.executors.get(&text(&change.key)).map_or(0, |row| row.epoch);
                put(&mut self.executors, text(&change.key), change)?;
                let after = self.executors.get(&text(&change.key)).map_or(u64::MAX, |row| row.epoch);
                if after < before { Err(format!("an executor goes from epoch {before} to {after}")) } else { Ok(()) }
            }
            "ready" => put(&mut self.ready, text(&change.key), change),
            "running" => put(&mut self.running, text(&change.key), change),
            "queue" => put(&mut self.queue, change.key.clone(), change),
            "references" => put(&mut self.references, text(&change.key), change),
            "chores" => put(&mut self.chores, change.key.clone(), change),
            "idempotency" => put(&mut self.idempotency, text(&change.key), change),
            "logs" => {
                if self.logs.contains_key(&text(&change.key)) && change.value.is_some() {
                    return Err(format!("log {} is sealed twice", text(&change.key)));
                }
                put(&mut self.logs, text(&change.key), change)
            }
            "events" => {
                let Some((position, index)) = Position::from_append_key(&change.key) else {
                    return Err("an event has no place".to_owned());
                };
                // What expires is told by somebody else.
                if let Some(value) = &change.value {
                    let EventRow { event } = decode(value)?;
                    touched.events.push(event.clone());
                    self.events.push((format!("{position}.{index}"), event));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn apply_run(&mut self, change: &Change, touched: &mut Touched) -> Result<(), String> {
        let id = RunId::parse(text(&change.key)).map_err(|error| error.to_string())?;
        touched.before.entry(id.clone()).or_insert_with(|| self.runs.get(&id).cloned());
        let Some(value) = &change.value else {
            let is_over = self.runs.remove(&id).is_some_and(|state| state.run.phase.is_final() && !state.run.pinned);
            self.deleted.insert(id.clone());
            return if is_over { Ok(()) } else { Err(format!("run {id} is deleted, and was not over or was pinned")) };
        };
        let run: Run = decode(value)?;
        match self.runs.get_mut(&id) {
            Some(state) => {
                rules::run_goes_on(&state.run, &run)?;
                state.run = run;
            }
            None => {
                rules::number_follows(&mut self.numbers, &run)?;
                self.runs.insert(id, RunState { run, tasks: BTreeMap::new() });
            }
        }
        Ok(())
    }

    fn apply_task(&mut self, change: &Change, touched: &mut Touched) -> Result<(), String> {
        let key = text(&change.key);
        let (run, task) = key.split_once('/').ok_or("a task has no run")?;
        let run = RunId::parse(run).map_err(|error| error.to_string())?;
        touched.before.entry(run.clone()).or_insert_with(|| self.runs.get(&run).cloned());
        let Some(state) = self.runs.get_mut(&run) else {
            return if change.value.is_none() { Ok(()) } else { Err(format!("task {task} is of no run")) };
        };
        let Some(value) = &change.value else {
            state.tasks.retain(|_, known| known.id.as_str() != task);
            return Ok(());
        };
        let after: Task = decode(value)?;
        if let Some(before) = state.tasks.get(&after.name) {
            rules::task_goes_on(before, &after)?;
        }
        state.tasks.insert(after.name.clone(), Arc::new(after));
        Ok(())
    }

    /// The rules that hold after every transaction.
    fn check(&self, touched: &Touched) -> Result<(), String> {
        for (id, before) in &touched.before {
            let Some(after) = self.runs.get(id) else { continue };
            let config = self.configs.get(id).ok_or_else(|| format!("run {id} has no config"))?;
            rules::result_is_right(config, before.as_ref(), after)?;
            rules::end_is_whole(after)?;
            rules::outcomes_are_right(config, after)?;
            rules::events_tell_all(before.as_ref(), after, &touched.events)?;
            self.check_assignments(after)?;
            self.check_ready(config, after)?;
            self.check_queue(after)?;
        }
        self.check_groups()?;
        touched.assigned.iter().try_for_each(|executor| self.check_limit(executor))
    }

    /// The assignments are those of the tasks, and no others.
    fn check_assignments(&self, state: &RunState) -> Result<(), String> {
        for task in state.tasks.values() {
            let expected = task.assignment.as_ref().map(|assignment| AssignmentRow {
                run: state.run.id.clone(),
                name: task.name.clone(),
                attempt: task.attempt,
                executor: assignment.executor.clone(),
                stop: assignment.stop,
            });
            let row = self.assignments.get(task.id.as_str()).filter(|row| row.run == state.run.id);
            if expected.as_ref() != row {
                return Err(format!("task {} is assigned as {expected:?}, and its row says {row:?}", task.id));
            }
        }
        Ok(())
    }

    /// The queue of those that wait for an executor is what the engine says.
    fn check_ready(&self, config: &RunConfig, state: &RunState) -> Result<(), String> {
        let ready = engine::ready(&*self.scheduler, config, state);
        let expected: BTreeSet<&str> =
            ready.iter().filter_map(|name| Some(state.tasks.get(name)?.id.as_str())).collect();
        let rows = self.ready.iter().filter(|(_, row)| row.run == state.run.id);
        let rows: BTreeSet<&str> = rows.map(|(id, _)| &**id).collect();
        match expected == rows {
            true => Ok(()),
            false => Err(format!(
                "of run #{} {expected:?} wait for an executor, and the rows say {rows:?}",
                state.run.number
            )),
        }
    }

    /// A run is in the queue exactly while it is queued.
    fn check_queue(&self, state: &RunState) -> Result<(), String> {
        let rows = self.queue.values().filter(|id| **id == state.run.id).count();
        let expected = usize::from(state.run.phase == RunPhase::Queued);
        match rows == expected {
            true => Ok(()),
            false => Err(format!("run #{} is {:?}, and {rows} times in the queue", state.run.number, state.run.phase)),
        }
    }

    /// At most one run of a group runs, but for parallel ones, and the row of the group says which.
    fn check_groups(&self) -> Result<(), String> {
        let mut running = BTreeMap::new();
        for RunState { run, .. } in self.runs.values() {
            if run.phase != RunPhase::Running || run.parallel {
                continue;
            }
            if let Some(other) = running.insert(run.group.as_str().to_owned(), run.id.clone()) {
                return Err(format!("two runs of {} run at once: {other} and {}", run.group, run.id));
            }
        }
        match running == self.running {
            true => Ok(()),
            false => Err(format!("{running:?} are running, and the rows say {:?}", self.running)),
        }
    }

    /// An executor has no more assignments than its limit when it gets another one.
    fn check_limit(&self, executor: &ExecutorId) -> Result<(), String> {
        let count = self.assignments.values().filter(|row| row.executor == *executor && !row.stop).count();
        let limit = self.executors.get(executor.as_str()).map_or(0, |row| row.status.task_limit);
        // It may have asked for fewer meanwhile; what is told to stop was assigned before.
        let is_drained = limit == 0;
        match count <= limit as usize || is_drained {
            true => Ok(()),
            false => Err(format!("{executor} has {count} tasks of at most {limit}")),
        }
    }

    /// Nothing is left of runs that have ended.
    pub(crate) fn check_leftovers(&self) -> Result<(), String> {
        let is_empty = self.assignments.is_empty() && self.ready.is_empty();
        match is_empty && self.running.is_empty() && self.queue.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "all runs have ended, and there are left: assignments {:?}, ready {:?}, running {:?}, queue {:?}",
                self.assignments, self.ready, self.running, self.queue
            )),
        }
    }

    /// The runs that are not at their end.
    pub(crate) fn unfinished(&self) -> Vec<RunId> {
        let open = self.runs.values().filter(|state| !state.run.phase.is_final());
        open.map(|state| state.run.id.clone()).collect()
    }

    /// The runs whose logs would expire if they are ever to.
    pub(crate) fn kept(&self) -> Vec<RunId> {
        let kept = self.runs.values().map(|state| &state.run).filter(|run| !run.pinned && !run.logs_expired);
        kept.map(|run| run.id.clone()).collect()
    }

    /// Whether a run is to have the logs of one of its tasks: they have not expired, nor had they when it was restarted.
    pub(crate) fn keeps_logs(&self, run: &Run, task: &TaskId) -> bool {
        let shares = self.references.get(&format!("{task}/{}", run.id));
        !run.logs_expired && shares.is_none_or(|reference| reference.logs)
    }

    /// The task of an id, in whichever run.
    pub(crate) fn task(&self, id: &TaskId) -> Option<(&RunState, &Task)> {
        let tasks = self.runs.values().flat_map(|state| state.tasks.values().map(move |task| (state, &**task)));
        tasks.into_iter().find(|(_, task)| task.id == *id)
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| format!("a row cannot be read: {error}"))
}

fn put<K: Ord, T: DeserializeOwned>(rows: &mut BTreeMap<K, T>, key: K, change: &Change) -> Result<(), String> {
    match &change.value {
        Some(value) => rows.insert(key, decode(value)?),
        None => rows.remove(&key),
    };
    Ok(())
}
