//! The behaviour of the default scheduler's placement, its fairness and its words.

mod fairness;
mod placement;
mod words;

use std::collections::BTreeMap;

use runyard_executor_core::contract::{Arch, ExecutorId, RunId, TaskName};

use super::{ExecutorView, WaitingTask};
use crate::model::GroupPath;

fn executor(id: &str, active: u32, task_limit: u32) -> ExecutorView {
    ExecutorView {
        id: ExecutorId::parse(id).unwrap(),
        name: id.to_uppercase(),
        alive: true,
        archs: vec![Arch::Amd64],
        labels: BTreeMap::new(),
        allow_privileged_containers: false,
        not_ready: None,
        task_limit,
        active,
    }
}

fn waiting(project: &str, task: &str, position: u64) -> WaitingTask {
    WaitingTask {
        run: RunId::parse("run-1").unwrap(),
        task: TaskName::parse(task).unwrap(),
        attempt: 1,
        root: GroupPath::new("project", project).unwrap(),
        position,
        arch: None,
        privileged: false,
        labels: BTreeMap::new(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}
