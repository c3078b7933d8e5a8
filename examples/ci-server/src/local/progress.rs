//! Where is a run? A fold of its events; pure.

use std::collections::BTreeMap;

use runyard_executor_core::contract::{Arch, RunId, StepRef, StepStatus, TaskName};
use runyard_runservice_core::{
    engine::Change,
    model::{Run, RunConfig, RunPhase, TaskConfig, TaskStatus},
    scheduler::WaitingReason,
};
use tokio::time::Instant;

/// A run as far as its events tell.
#[derive(Clone, Debug)]
pub(super) struct RunProgress {
    pub(super) id: RunId,
    pub(super) number: u64,
    pub(super) config: RunConfig,
    pub(super) tasks: BTreeMap<TaskName, TaskProgress>,
    pub(super) phase: RunPhase,
    pub(super) stop_requested: bool,
}

/// A task as far as the events tell.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskProgress {
    pub(super) status: TaskStatus,
    /// An executor has it.
    is_assigned: bool,
    waits_for_approval: bool,
    /// When it began to run.
    pub(super) since: Option<Instant>,
    /// What it is at.
    pub(super) step: Option<StepRef>,
}

impl RunProgress {
    /// A run of which nothing has been heard.
    pub(super) fn new(run: &Run, config: RunConfig) -> Self {
        let tasks = config.tasks.keys().map(|name| (name.clone(), TaskProgress::default())).collect();
        let (id, number) = (run.id.clone(), run.number);
        let phase = if run.phase == RunPhase::SetupError { run.phase } else { RunPhase::Queued };
        Self { id, number, config, tasks, phase, stop_requested: false }
    }

    /// Takes an event in, heard `now`.
    pub(super) fn apply(&mut self, change: &Change, now: Instant) {
        match change {
            Change::RunStarted => self.phase = RunPhase::Running,
            Change::RunStopRequested => self.stop_requested = true,
            Change::RunCancelled => self.phase = RunPhase::Cancelled,
            Change::RunFinished { .. } => self.phase = RunPhase::Finished,
            Change::TaskStatus { task, status, .. } => self.with(task, |task| {
                task.status = *status;
                if *status == TaskStatus::Running {
                    task.since.get_or_insert(now);
                }
                if status.is_final() {
                    task.step = None;
                }
            }),
            Change::TaskAssigned { task, .. } => self.with(task, |task| task.is_assigned = true),
            Change::TaskUnassigned { task, .. } => self.with(task, |task| task.is_assigned = false),
            Change::TaskWaitingApproval { task, waiting, .. } => {
                self.with(task, |task| task.waits_for_approval = *waiting);
            }
            Change::StepChanged { task, step, status: StepStatus::Running, .. } => {
                self.with(task, |task| task.step = Some(*step));
            }
            _ => {}
        }
    }

    fn with(&mut self, task: &TaskName, change: impl FnOnce(&mut TaskProgress)) {
        if let Some(task) = self.tasks.get_mut(task) {
            change(task);
        }
    }

    /// The tasks that could start by the graph, but wait for what cannot come while this program runs.
    pub(super) fn blocked(&self) -> Vec<(TaskName, WaitingReason)> {
        let ready = self.tasks.iter().filter(|(name, _)| self.is_ready(name));
        ready.filter_map(|(name, task)| Some((name.clone(), self.why_blocked(name, task)?))).collect()
    }

    /// Whether nothing of the run goes on, and nothing will by itself.
    pub(super) fn is_stuck(&self) -> bool {
        let mut ready = self.tasks.iter().filter(|(name, _)| self.is_ready(name)).peekable();
        let is_active = |task: &TaskProgress| task.is_assigned || task.status == TaskStatus::Running;
        self.phase == RunPhase::Running
            && !self.stop_requested
            && !self.tasks.values().any(is_active)
            && ready.peek().is_some()
            && ready.all(|(name, task)| self.why_blocked(name, task).is_some())
    }

    fn is_ready(&self, name: &TaskName) -> bool {
        let task = &self.tasks[name];
        let mut parents = self.config.tasks[name].depends.keys();
        self.phase == RunPhase::Running
            && task.status == TaskStatus::NotStarted
            && !task.is_assigned
            && parents.all(|parent| self.tasks.get(parent).is_none_or(|parent| parent.status.is_final()))
    }

    fn why_blocked(&self, name: &TaskName, task: &TaskProgress) -> Option<WaitingReason> {
        let config = &self.config.tasks[name];
        let approval = || WaitingReason::WaitingForApproval { have: 0, need: config.approvers_min.max(1) };
        task.waits_for_approval.then(approval).or_else(|| unplaceable(config, Arch::current()))
    }
}

/// Why the process driver of a machine with this architecture can never run the task.
fn unplaceable(task: &TaskConfig, own: Option<Arch>) -> Option<WaitingReason> {
    match task.runtime.arch {
        Some(arch) if Some(arch) != own => return Some(WaitingReason::NoExecutorForArch { arch }),
        _ => {}
    }
    if task.runtime.is_privileged() {
        return Some(WaitingReason::NoPrivileged { arch: None });
    }
    (!task.labels.is_empty()).then(|| WaitingReason::NoLabels { labels: task.labels.clone() })
}

#[cfg(test)]
pub(super) mod tests {
    use runyard_executor_core::contract::{ExecutorId, TaskId};
    use runyard_runservice_core::model::{GroupPath, RunResult, Times};

    use super::*;

    pub(in super::super) fn name(text: &str) -> TaskName {
        TaskName::parse(text).expect("valid")
    }

    /// A running run with these tasks and their parents.
    pub(in super::super) fn run(tasks: &[(&str, &[&str])]) -> RunProgress {
        let group = GroupPath::new("local", "x").expect("valid");
        let mut config = RunConfig::new("build", group.clone());
        for (task, parents) in tasks {
            let depends = parents.iter().map(|parent| (name(parent), Default::default())).collect();
            config.tasks.insert(name(task), TaskConfig { depends, ..TaskConfig::default() });
        }
        let run = Run {
            id: RunId::parse("r1").expect("valid"),
            number: 1,
            name: "build".to_owned(),
            group,
            phase: RunPhase::Queued,
            result: RunResult::Unknown,
            stop_requested: false,
            parallel: false,
            restart_of: None,
            annotations: BTreeMap::new(),
            setup_errors: Vec::new(),
            pinned: false,
            logs_expired: false,
            workspaces_expired: false,
            idempotency_key: None,
            times: Times::default(),
        };
        let mut progress = RunProgress::new(&run, config);
        progress.apply(&Change::RunStarted, Instant::now());
        progress
    }

    pub(in super::super) fn status(task: &str, status: TaskStatus) -> Change {
        let id = TaskId::parse("t").expect("valid");
        Change::TaskStatus { task: name(task), id, attempt: 1, status, failure: None }
    }

    fn assigned(task: &str) -> Change {
        let (id, executor) = (TaskId::parse("t").expect("valid"), ExecutorId::parse("x").expect("valid"));
        Change::TaskAssigned { task: name(task), id, attempt: 1, executor, accepted: false, stop: false }
    }

    #[test]
    fn a_run_is_stuck_only_when_nothing_of_it_goes_on() {
        let mut run = run(&[("a", &[]), ("b", &["a"]), ("c", &[])]);
        let now = Instant::now();
        run.config.tasks.get_mut(&name("b")).expect("there").runtime.containers =
            vec![runyard_executor_core::contract::Container { privileged: true, ..Default::default() }];
        assert!(!run.is_stuck(), "a and c are about to start");
        assert!(run.blocked().is_empty(), "b waits for a, which comes");
        run.apply(&assigned("a"), now);
        run.apply(&status("c", TaskStatus::Success), now);
        assert!(!run.is_stuck());
        run.apply(&status("a", TaskStatus::Success), now);
        let id = TaskId::parse("t").expect("valid");
        let executor = ExecutorId::parse("x").expect("valid");
        run.apply(&Change::TaskUnassigned { task: name("a"), id, attempt: 1, executor }, now);
        assert_eq!(run.blocked(), [(name("b"), WaitingReason::NoPrivileged { arch: None })]);
        assert!(run.is_stuck());
        run.apply(&Change::RunStopRequested, now);
        assert!(!run.is_stuck(), "it ends already");
    }

    #[test]
    fn a_task_that_waits_for_approval_is_blocked_until_it_is_approved() {
        let mut run = run(&[("a", &[])]);
        let id = || TaskId::parse("t").expect("valid");
        let waiting = |waiting| Change::TaskWaitingApproval { task: name("a"), id: id(), waiting };
        run.apply(&waiting(true), Instant::now());
        assert!(run.is_stuck());
        run.apply(&waiting(false), Instant::now());
        assert!(!run.is_stuck() && run.blocked().is_empty());
    }

    #[test]
    fn what_this_machine_does_not_have_is_said() {
        let mut task = TaskConfig::default();
        assert_eq!(unplaceable(&task, Some(Arch::Amd64)), None);
        task.labels.insert("gpu".into(), "yes".into());
        assert!(matches!(unplaceable(&task, Some(Arch::Amd64)), Some(WaitingReason::NoLabels { .. })));
        task.runtime.arch = Some(Arch::Arm64);
        let arch = Arch::Arm64;
        assert_eq!(unplaceable(&task, Some(Arch::Amd64)), Some(WaitingReason::NoExecutorForArch { arch }));
    }
}
