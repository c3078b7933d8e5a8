//! Which executor takes a task? Filter by what it needs, then rank by free share.

use runyard_executor_core::contract::ExecutorId;

use super::{ExecutorView, WaitingReason, WaitingTask};

/// Where a task goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// To this executor.
    To(ExecutorId),
    /// Nowhere yet.
    Wait(WaitingReason),
}

/// What never changes by waiting is filtered first, so that the reason names what somebody must do something about.
pub(super) fn place(task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
    match candidates(task, executors) {
        Err(reason) => Placement::Wait(reason),
        Ok(free) => match free.into_iter().min_by(|a, b| rank(a, b)) {
            Some(executor) => Placement::To(executor.id.clone()),
            None => Placement::Wait(WaitingReason::NoExecutor),
        },
    }
}

/// The executors that could take the task at once; not empty.
fn candidates<'a>(task: &WaitingTask, executors: &'a [ExecutorView]) -> Result<Vec<&'a ExecutorView>, WaitingReason> {
    type Filtered<'a> = Vec<&'a ExecutorView>;
    let keep = |from: &Filtered<'a>, fits: &dyn Fn(&ExecutorView) -> bool, reason: &dyn Fn() -> WaitingReason| {
        let kept: Filtered<'a> = from.iter().copied().filter(|executor| fits(executor)).collect();
        if kept.is_empty() { Err(reason()) } else { Ok(kept) }
    };
    let names = |of: &Filtered<'a>| of.iter().map(|executor| executor.name.clone()).collect::<Vec<_>>();

    let all: Filtered<'a> = executors.iter().collect();
    let known = keep(&all, &|_| true, &|| WaitingReason::NoExecutor)?;
    let with_arch = match task.arch {
        None => known,
        Some(arch) => {
            keep(&known, &|executor| executor.archs.contains(&arch), &|| WaitingReason::NoExecutorForArch { arch })?
        }
    };
    let allowed = keep(&with_arch, &|executor| !task.privileged || executor.allow_privileged_containers, &|| {
        WaitingReason::NoPrivileged { arch: task.arch }
    })?;
    let labelled = keep(&allowed, &|executor| has_labels(executor, task), &|| WaitingReason::NoLabels {
        labels: task.labels.clone(),
    })?;
    let open = keep(&labelled, &|executor| executor.task_limit > 0, &|| WaitingReason::AllDraining {
        executors: names(&labelled),
    })?;
    let alive = keep(&open, &|executor| executor.alive, &|| WaitingReason::AllSilent { executors: names(&open) })?;
    keep(&alive, &|executor| executor.free() > 0, &|| WaitingReason::AllFull { executors: alive.len() })
}

fn has_labels(executor: &ExecutorView, task: &WaitingTask) -> bool {
    task.labels.iter().all(|(label, value)| executor.labels.get(label) == Some(value))
}

/// The larger free share first, then more free slots, then the id: the order of the list never matters.
fn rank(a: &ExecutorView, b: &ExecutorView) -> std::cmp::Ordering {
    // free_a / limit_a > free_b / limit_b, without a division.
    let share = |one: &ExecutorView, other: &ExecutorView| u64::from(one.free()) * u64::from(other.task_limit);
    share(b, a).cmp(&share(a, b)).then_with(|| b.free().cmp(&a.free())).then_with(|| a.id.cmp(&b.id))
}
