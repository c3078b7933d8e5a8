//! A run under test: built from a few words, driven by events, shown as a line of text.

use std::collections::BTreeMap;

use runyard_executor_core::contract::{
    AttemptState, ExecutorId, Failure, FailureClass, Fence, LogEnd, RunId, RunStep, SaveToWorkspaceStep, Step,
    StepReport, StepStatus, Steps, TaskId, TaskName, TaskReport,
};

use crate::{
    engine::{Change, Effect, Event, Refusal, RunIdentity, create, ready, step},
    model::{Condition, GroupPath, RetryPolicy, RunConfig, RunState, Task, TaskConfig},
    scheduler::DefaultScheduler,
};

/// A definition of a task, with one step.
pub(super) struct Def(pub(super) TaskName, pub(super) TaskConfig);

pub(super) fn name(name: &str) -> TaskName {
    TaskName::parse(name).unwrap()
}

pub(super) fn executor(id: &str) -> ExecutorId {
    ExecutorId::parse(id).unwrap()
}

pub(super) fn task(task: &str) -> Def {
    let steps = Steps(vec![Step::Run(RunStep::default())]);
    Def(name(task), TaskConfig { steps, ..TaskConfig::default() })
}

impl Def {
    pub(super) fn after(self, parent: &str) -> Self {
        self.on(parent, &[])
    }

    pub(super) fn on(mut self, parent: &str, conditions: &[Condition]) -> Self {
        self.1.depends.insert(name(parent), conditions.iter().copied().collect());
        self
    }

    pub(super) fn approval(mut self, approvers_min: u32) -> Self {
        self.1.needs_approval = true;
        self.1.approvers_min = approvers_min;
        self
    }

    pub(super) fn ignore_failure(mut self) -> Self {
        self.1.ignore_failure = true;
        self
    }

    pub(super) fn skip(mut self) -> Self {
        self.1.skip = true;
        self
    }

    pub(super) fn retry(mut self, max: u32, on: &[FailureClass]) -> Self {
        self.1.retry = RetryPolicy { max, on: on.to_vec() };
        self
    }

    pub(super) fn saving(mut self) -> Self {
        self.1.steps.0.push(Step::SaveToWorkspace(SaveToWorkspaceStep::default()));
        self
    }
}

pub(super) fn config(tasks: impl IntoIterator<Item = Def>) -> RunConfig {
    let group = GroupPath::new("project", "1").unwrap().child("branch", "main").unwrap();
    let mut config = RunConfig::new("build", group);
    config.tasks = tasks.into_iter().map(|Def(name, task)| (name, task)).collect();
    config.check();
    config
}

pub(super) fn identity(number: u64) -> RunIdentity {
    RunIdentity { id: RunId::parse(format!("run-{number}")).unwrap(), number }
}

/// Ids in the order in which they are asked for.
pub(super) fn ids(prefix: &'static str) -> impl FnMut() -> TaskId {
    let mut count = 0;
    move || {
        count += 1;
        TaskId::parse(format!("{prefix}{count}")).unwrap()
    }
}

pub(super) fn failure(class: FailureClass) -> Failure {
    Failure { class, message: "it broke".to_owned() }
}

pub(super) fn exit() -> AttemptState {
    AttemptState::Failed(failure(FailureClass::Exit))
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) config: RunConfig,
    pub(super) state: RunState,
}

impl World {
    /// A queued run.
    pub(super) fn queued(tasks: impl IntoIterator<Item = Def>) -> Self {
        let config = config(tasks);
        let state = create(&config, identity(7), &mut ids("task-")).state;
        Self { config, state }
    }

    /// A run that was started.
    pub(super) fn running(tasks: impl IntoIterator<Item = Def>) -> Self {
        let mut world = Self::queued(tasks);
        world.apply(Event::Start);
        world
    }

    pub(super) fn try_apply(&mut self, event: Event) -> Result<Vec<Effect>, Refusal> {
        let stepped = step(&DefaultScheduler::default(), &self.config, &self.state, &event)?;
        self.state = stepped.state;
        Ok(stepped.effects)
    }

    /// Applies a legal event; returns its effects.
    pub(super) fn apply(&mut self, event: Event) -> Vec<Effect> {
        self.try_apply(event.clone()).unwrap_or_else(|refusal| panic!("{event:?}: {refusal}"))
    }

    /// The reason why an event is refused; it must have changed nothing.
    pub(super) fn refused(&mut self, event: Event) -> Refusal {
        self.try_apply(event.clone()).expect_err(&format!("{event:?} should be refused"))
    }

    pub(super) fn task(&self, task: &str) -> &Task {
        &self.state.tasks[&name(task)]
    }

    pub(super) fn assign(&mut self, task: &str, to: &str) -> Vec<Effect> {
        let attempt = self.task(task).attempt;
        self.apply(Event::Assign { task: name(task), executor: executor(to), attempt })
    }

    pub(super) fn accept(&mut self, task: &str, by: &str) -> Vec<Effect> {
        let attempt = self.task(task).attempt;
        self.apply(Event::Accept { task: name(task), attempt, executor: executor(by) })
    }

    /// The next report of the current attempt.
    pub(super) fn next_report(&self, task: &str, by: &str, state: AttemptState) -> TaskReport {
        let task = self.task(task);
        let status = match state {
            AttemptState::Running => StepStatus::Running,
            AttemptState::Success => StepStatus::Success,
            AttemptState::Failed(_) => StepStatus::Failed,
            AttemptState::Stopped => StepStatus::Stopped,
        };
        let log = |ended: bool| ended.then_some(LogEnd { bytes: 3, sha256: None });
        let ended = state.is_final();
        TaskReport {
            fence: Fence { task: task.id.clone(), attempt: task.attempt, executor: executor(by), epoch: 1 },
            sequence: task.report_sequence + 1,
            state,
            setup: StepReport { status: StepStatus::Success, exit_code: None, log: log(true) },
            steps: task.steps.iter().map(|_| StepReport { status, exit_code: None, log: log(ended) }).collect(),
        }
    }

    pub(super) fn report(&mut self, task: &str, state: AttemptState) -> Vec<Effect> {
        let by = self.task(task).assignment.as_ref().expect("scheduled").executor.to_string();
        self.apply(Event::Report(self.next_report(task, &by, state)))
    }

    /// Assigns, accepts and lets it run.
    pub(super) fn begin(&mut self, task: &str) {
        self.assign(task, "exec");
        self.accept(task, "exec");
        self.report(task, AttemptState::Running);
    }

    /// Begins a task unless it runs, and lets it end.
    pub(super) fn end(&mut self, task: &str, state: AttemptState) -> Vec<Effect> {
        if self.task(task).assignment.is_none() {
            self.begin(task);
        }
        self.report(task, state)
    }

    pub(super) fn succeed(&mut self, task: &str) -> Vec<Effect> {
        self.end(task, AttemptState::Success)
    }

    pub(super) fn fail(&mut self, task: &str) -> Vec<Effect> {
        self.end(task, exit())
    }

    pub(super) fn lose(&mut self, task: &str, by: &str) -> Vec<Effect> {
        let (attempt, message) = (self.task(task).attempt, "silent for 11 min".to_owned());
        self.apply(Event::ExecutorLost { task: name(task), attempt, executor: executor(by), message })
    }

    pub(super) fn approve(&mut self, task: &str) -> Vec<Effect> {
        self.apply(Event::Approve { task: name(task), approver: None })
    }

    pub(super) fn approve_as(&mut self, task: &str, user: &str) -> Vec<Effect> {
        self.apply(Event::Approve { task: name(task), approver: Some(user.to_owned()) })
    }

    /// `<phase> <result> | <task>=<what it does> ...`
    pub(super) fn show(&self) -> String {
        let ready = ready(&DefaultScheduler::default(), &self.config, &self.state);
        let what = |task: &Task| match &task.assignment {
            Some(assignment) if assignment.stop => "stopping",
            Some(_) if task.status.as_str() == "notstarted" => "assigned",
            _ if ready.contains(&task.name) => "ready",
            _ if task.waiting_approval => "approval",
            _ if task.status.as_str() == "notstarted" => "waits",
            _ => task.status.as_str(),
        };
        let tasks: Vec<_> = self.state.tasks.values().map(|task| format!("{}={}", task.name, what(task))).collect();
        format!("{} {} | {}", self.state.run.phase.as_str(), self.state.run.result.as_str(), tasks.join(" "))
    }
}

/// The changes that are told to the world.
pub(super) fn changes(effects: &[Effect]) -> Vec<&Change> {
    let mut changes = Vec::new();
    for effect in effects {
        if let Effect::Emit(event) = effect {
            changes.push(&event.change);
        }
    }
    changes
}

/// The other effects.
pub(super) fn rows(effects: &[Effect]) -> Vec<&Effect> {
    effects.iter().filter(|effect| !matches!(effect, Effect::Emit(_))).collect()
}

pub(super) fn patch(key: &str, value: Option<&str>) -> BTreeMap<String, Option<String>> {
    BTreeMap::from([(key.to_owned(), value.map(str::to_owned))])
}
