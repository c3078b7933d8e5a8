//! Whose turn is it? Oldest first inside a root group, round robin between groups.
//!
//! Tasks that ask for the same belong to a class: if one of them fits nowhere, none of them does. So a round costs as much as
//! it places, and not as much as waits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use runyard_executor_core::contract::{Arch, ExecutorId, RunId, TaskName};

use super::{ExecutorView, Placement, Scheduler, WaitingTask};
use crate::model::GroupPath;

/// What a class of tasks asks for. A [`Scheduler`] must place tasks of one class alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementClass {
    root: Option<GroupPath>,
    arch: Option<Arch>,
    privileged: bool,
    labels: BTreeMap<String, String>,
    /// What else a scheduler tells tasks apart by.
    other: String,
}

impl PlacementClass {
    /// Tasks with the same requirements, whosever they are.
    pub fn of_requirements(task: &WaitingTask) -> Self {
        let (arch, privileged, labels) = (task.arch, task.privileged, task.labels.clone());
        Self { root: None, arch, privileged, labels, other: String::new() }
    }

    /// Tasks with the same requirements, of one root group.
    pub fn of_root(task: &WaitingTask) -> Self {
        Self { root: Some(task.root.clone()), ..Self::of_requirements(task) }
    }

    /// The same class, but only of those with which `other` is the same, such as the run.
    #[must_use]
    pub fn and(mut self, other: impl Into<String>) -> Self {
        self.other = other.into();
        self
    }
}

/// A task, and the executor that takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The task.
    pub task: WaitingTask,
    /// Who takes it.
    pub executor: ExecutorId,
}

/// The tasks that wait for an executor.
#[derive(Clone, Debug, Default)]
pub struct PlacementQueue {
    /// By class, and in that by root group; nothing in it is empty.
    classes: BTreeMap<PlacementClass, BTreeMap<GroupPath, BTreeMap<Age, WaitingTask>>>,
    /// The group that got the last place: the next turn is that of the group after it.
    last: Option<GroupPath>,
}

/// Orders the tasks of a group: the one that became ready first is first.
type Age = (u64, RunId, TaskName);

impl PlacementQueue {
    /// A queue in which nobody has had a turn.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task.
    pub fn insert(&mut self, scheduler: &dyn Scheduler, task: WaitingTask) {
        let groups = self.classes.entry(scheduler.class(&task)).or_default();
        groups.entry(task.root.clone()).or_default().insert(age(&task), task);
    }

    /// Takes a task away, if it is there.
    pub fn remove(&mut self, scheduler: &dyn Scheduler, task: &WaitingTask) {
        let class = scheduler.class(task);
        let Some(groups) = self.classes.get_mut(&class) else { return };
        if let Some(tasks) = groups.get_mut(&task.root) {
            tasks.remove(&age(task));
            if tasks.is_empty() {
                groups.remove(&task.root);
            }
        }
        if groups.is_empty() {
            self.classes.remove(&class);
        }
    }

    /// Decides on every task that fits somewhere, and counts it as active where it goes. The tasks stay in the queue: they
    /// are taken away when it is committed where they went.
    ///
    /// In its turn a group gets one place: its oldest task that fits somewhere takes it. A task that fits nowhere costs
    /// its group no turn and holds nobody up. The turns go on where the last round ended, so that a single slot that becomes
    /// free again and again goes round too.
    pub fn round(&mut self, scheduler: &dyn Scheduler, executors: &mut [ExecutorView]) -> Vec<Placed> {
        let mut placed = Vec::new();
        let mut open: BTreeSet<&PlacementClass> = self.classes.keys().collect();
        // What is in a group before this was placed in this round.
        let mut reached: BTreeMap<(&PlacementClass, &GroupPath), &Age> = BTreeMap::new();
        let mut last = self.last.clone();
        while let Some((class, group, age, task)) = next(&self.classes, &open, &reached, last.as_ref()) {
            match scheduler.place(task, executors) {
                Placement::Wait(_) => {
                    open.remove(class);
                }
                Placement::To(id) => {
                    executors.iter_mut().filter(|executor| executor.id == id).for_each(|executor| executor.active += 1);
                    placed.push(Placed { task: task.clone(), executor: id });
                    reached.insert((class, group), age);
                    last = Some(group.clone());
                }
            }
        }
        self.last = last;
        placed
    }
}

fn age(task: &WaitingTask) -> Age {
    (task.position, task.run.clone(), task.task.clone())
}

type Next<'a> = (&'a PlacementClass, &'a GroupPath, &'a Age, &'a WaitingTask);

/// The oldest task of the group whose turn it is.
fn next<'a>(
    classes: &'a BTreeMap<PlacementClass, BTreeMap<GroupPath, BTreeMap<Age, WaitingTask>>>,
    open: &BTreeSet<&'a PlacementClass>,
    reached: &BTreeMap<(&'a PlacementClass, &'a GroupPath), &'a Age>,
    last: Option<&GroupPath>,
) -> Option<Next<'a>> {
    let oldest = |class: &&'a PlacementClass, group: &'a GroupPath, tasks: &'a BTreeMap<Age, WaitingTask>| {
        let after = reached.get(&(*class, group)).map_or(Bound::Unbounded, |age| Bound::Excluded(*age));
        tasks.range((after, Bound::Unbounded)).next()
    };
    let first_of = |class: &&'a PlacementClass, range: (Bound<&GroupPath>, Bound<&GroupPath>)| -> Option<Next<'a>> {
        let groups = classes.get(*class)?.range::<GroupPath, _>(range);
        let mut found = groups.filter_map(|(group, tasks)| {
            let (age, task) = oldest(class, group, tasks)?;
            Some((*class, group, age, task))
        });
        found.next()
    };
    let of_range = |range: (Bound<&GroupPath>, Bound<&GroupPath>)| {
        let found = open.iter().filter_map(|class| first_of(class, range));
        found.min_by(|a, b| (a.1, a.2).cmp(&(b.1, b.2)))
    };
    match last {
        Some(last) => of_range((Bound::Excluded(last), Bound::Unbounded))
            .or_else(|| of_range((Bound::Unbounded, Bound::Included(last)))),
        None => of_range((Bound::Unbounded, Bound::Unbounded)),
    }
}
