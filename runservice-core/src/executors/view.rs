//! What does the placement see of an executor?

use crate::{rows::ExecutorRow, scheduler::ExecutorView};

/// An executor that has so many assignments.
pub(crate) fn view(row: &ExecutorRow, active: u32) -> ExecutorView {
    let status = &row.status;
    ExecutorView {
        id: status.id.clone(),
        name: status.name.clone(),
        alive: row.is_here(),
        archs: status.archs.clone(),
        labels: status.labels.clone(),
        allow_privileged_containers: status.allow_privileged_containers,
        task_limit: if row.drain.is_some() { 0 } else { status.task_limit },
        not_ready: status.not_ready.clone(),
        active,
    }
}
