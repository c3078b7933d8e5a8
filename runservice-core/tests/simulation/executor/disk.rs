//! What does a simulated executor remember when it has crashed?

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use runyard_executor_core::contract::{AttemptState, HeldTask, StepRef, StepReport, TaskSpec};

use crate::pods::Attempt;

/// The disk of an executor.
#[derive(Default)]
pub(crate) struct Disk(Mutex<BTreeMap<Attempt, Entry>>);

/// What is known of one attempt.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) spec: TaskSpec,
    /// How often an executor has taken it up again.
    pub(crate) generation: u32,
    /// Whether something of it may be executing.
    pub(crate) is_started: bool,
    pub(crate) setup: StepReport,
    pub(crate) steps: Vec<StepReport>,
    pub(crate) end: Option<AttemptState>,
}

impl Entry {
    pub(crate) fn new(spec: TaskSpec) -> Self {
        let steps = vec![StepReport::default(); spec.steps.0.len()];
        Self { spec, generation: 0, is_started: false, setup: StepReport::default(), steps, end: None }
    }

    pub(crate) fn attempt(&self) -> Attempt {
        (self.spec.id.clone(), self.spec.attempt)
    }

    /// The setup and the steps, in their order.
    pub(crate) fn step_refs(&self) -> Vec<StepRef> {
        let steps = (0..self.steps.len() as u32).map(StepRef::Step);
        std::iter::once(StepRef::Setup).chain(steps).collect()
    }

    pub(crate) fn step(&mut self, step: StepRef) -> &mut StepReport {
        match step {
            StepRef::Setup => &mut self.setup,
            StepRef::Step(index) => &mut self.steps[index as usize],
        }
    }
}

impl Disk {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Attempt, Entry>> {
        self.0.lock().expect("not poisoned")
    }

    pub(crate) fn write(&self, entry: &Entry) {
        self.entries().insert(entry.attempt(), entry.clone());
    }

    pub(crate) fn remove(&self, attempt: &Attempt) {
        self.entries().remove(attempt);
    }

    pub(crate) fn read(&self) -> Vec<Entry> {
        self.entries().values().cloned().collect()
    }

    pub(crate) fn wipe(&self) {
        self.entries().clear();
    }

    /// What the executor says that it holds.
    pub(crate) fn held(&self) -> Vec<HeldTask> {
        let entries = self.entries();
        entries.keys().map(|(task, attempt)| HeldTask { task: task.clone(), attempt: *attempt }).collect()
    }
}
