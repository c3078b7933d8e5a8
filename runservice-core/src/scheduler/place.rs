//! Which executor takes a task? Filter by what it needs, then rank by free share.

use std::collections::BTreeMap;

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

pub(super) fn place(task: &WaitingTask, executors: &[ExecutorView]) -> Placement {
    match best(task, executors) {
        Ok(executor) => Placement::To(executor.id.clone()),
        Err(reason) => Placement::Wait(reason),
    }
}

/// What never changes by waiting is filtered first, so that the reason names what somebody must do something about.
fn best<'a>(task: &WaitingTask, executors: &'a [ExecutorView]) -> Result<&'a ExecutorView, WaitingReason> {
    let mut left: Vec<&ExecutorView> = executors.iter().collect();
    narrow(&mut left, |_| true, |_| WaitingReason::NoExecutor)?;
    if let Some(arch) = task.arch {
        narrow(&mut left, |one| one.archs.contains(&arch), |_| WaitingReason::NoExecutorForArch { arch })?;
    }
    let allowed = |one: &ExecutorView| !task.privileged || one.allow_privileged_containers;
    narrow(&mut left, allowed, |_| WaitingReason::NoPrivileged { arch: task.arch })?;
    narrow(&mut left, |one| has_labels(one, task), |_| WaitingReason::NoLabels { labels: task.labels.clone() })?;
    narrow(&mut left, |one| one.task_limit > 0, |all| WaitingReason::AllDraining { executors: names(all) })?;
    narrow(&mut left, |one| one.alive, |all| WaitingReason::AllSilent { executors: names(all) })?;
    narrow(&mut left, |one| one.not_ready.is_none(), |all| WaitingReason::AllNotReady { executors: why(all) })?;
    narrow(&mut left, |one| one.free() > 0, |all| WaitingReason::AllFull { executors: all.len() })?;
    left.into_iter().min_by(|a, b| rank(a, b)).ok_or(WaitingReason::NoExecutor)
}

/// Keeps those that fit; if that is none, `reason` says of those that were left why.
fn narrow(
    left: &mut Vec<&ExecutorView>,
    fits: impl Fn(&ExecutorView) -> bool,
    reason: impl FnOnce(&[&ExecutorView]) -> WaitingReason,
) -> Result<(), WaitingReason> {
    let kept: Vec<&ExecutorView> = left.iter().copied().filter(|one| fits(one)).collect();
    if kept.is_empty() {
        return Err(reason(left));
    }
    *left = kept;
    Ok(())
}

fn names(executors: &[&ExecutorView]) -> Vec<String> {
    executors.iter().map(|executor| executor.name.clone()).collect()
}

/// Their names with what each says of itself.
fn why(executors: &[&ExecutorView]) -> BTreeMap<String, String> {
    executors.iter().map(|one| (one.name.clone(), one.not_ready.clone().unwrap_or_default())).collect()
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
