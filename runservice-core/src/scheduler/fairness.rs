//! Whose turn is it? Oldest first inside a root group, round robin between groups.

use std::collections::{BTreeMap, VecDeque};

use super::{ExecutorView, Placement, Scheduler, WaitingTask};
use crate::model::GroupPath;

/// A task of a [`round`], and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The task.
    pub task: WaitingTask,
    /// Where it goes.
    pub placement: Placement,
}

/// What a [`round`] decided.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Round {
    /// Every task, in the order in which they were decided on.
    pub placed: Vec<Placed>,
    /// The group that got the last place, for the next round: it begins with the group after it.
    pub last: Option<GroupPath>,
}

/// Places every task that can be placed.
///
/// In its turn a group gets one place: its oldest task that fits somewhere takes it. A task that fits nowhere costs
/// its group no turn and holds nobody up. `last` is the group that the round before ended with, so that a single slot
/// that becomes free again and again goes round too.
pub fn round(
    scheduler: &dyn Scheduler,
    waiting: Vec<WaitingTask>,
    mut executors: Vec<ExecutorView>,
    last: Option<&GroupPath>,
) -> Round {
    let mut round = Round { placed: Vec::with_capacity(waiting.len()), last: last.cloned() };
    let mut turns = turns(waiting, last);
    while let Some((group, mut tasks)) = turns.pop_front() {
        while let Some(task) = tasks.pop_front() {
            let placement = scheduler.place(&task, &executors);
            let taken = matches!(placement, Placement::To(_));
            if let Placement::To(id) = &placement {
                executors.iter_mut().filter(|executor| executor.id == *id).for_each(|executor| executor.active += 1);
            }
            round.placed.push(Placed { task, placement });
            if taken {
                round.last = Some(group.clone());
                break;
            }
        }
        if !tasks.is_empty() {
            turns.push_back((group, tasks));
        }
    }
    round
}

/// The order in which tasks are served if each of them fits somewhere.
pub fn order(waiting: Vec<WaitingTask>, last: Option<&GroupPath>) -> Vec<WaitingTask> {
    let mut ordered = Vec::with_capacity(waiting.len());
    let mut turns = turns(waiting, last);
    while let Some((group, mut tasks)) = turns.pop_front() {
        ordered.extend(tasks.pop_front());
        if !tasks.is_empty() {
            turns.push_back((group, tasks));
        }
    }
    ordered
}

/// The groups in the order of their turns, each with its tasks, oldest first.
fn turns(mut waiting: Vec<WaitingTask>, last: Option<&GroupPath>) -> VecDeque<(GroupPath, VecDeque<WaitingTask>)> {
    waiting.sort_by(|a, b| (a.position, &a.run, &a.task).cmp(&(b.position, &b.run, &b.task)));
    let mut groups: BTreeMap<GroupPath, VecDeque<WaitingTask>> = BTreeMap::new();
    for task in waiting {
        groups.entry(task.root.clone()).or_default().push_back(task);
    }
    let after = match last {
        Some(last) => groups.split_off(last),
        None => BTreeMap::new(),
    };
    let (served, after): (Vec<_>, Vec<_>) = after.into_iter().partition(|(group, _)| Some(group) == last);
    after.into_iter().chain(groups).chain(served).collect()
}
