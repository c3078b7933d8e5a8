//! Where is an attempt, and what comes next? Pure: no clock, no I/O.

use serde::{Deserialize, Serialize};

use crate::contract::{AttemptState, Failure, FailureClass, LogEnd, Step, StepReport, StepStatus, TaskSpec};

/// How far an attempt has come; the part of a report that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    pub(super) setup: StepReport,
    pub(super) steps: Vec<StepReport>,
    /// Why it ends early, once that is certain.
    pub(super) end: Option<AttemptState>,
}

/// How the setup or a step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Exit { code: i32 },
    Failed(Failure),
    Stopped,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Setup,
    Step(usize),
    End(AttemptState),
}

impl Progress {
    /// Nothing has happened.
    pub(super) fn new(task: &TaskSpec) -> Self {
        Self { setup: StepReport::default(), steps: vec![StepReport::default(); task.steps.0.len()], end: None }
    }

    /// What comes next: the first that does not succeed ends the attempt.
    pub(super) fn next(&self) -> Next {
        if let Some(end) = &self.end {
            return Next::End(end.clone());
        }
        if self.setup.status != StepStatus::Success {
            return Next::Setup;
        }
        match self.steps.iter().position(|step| step.status != StepStatus::Success) {
            Some(index) => Next::Step(index),
            None => Next::End(AttemptState::Success),
        }
    }

    /// The setup has begun.
    pub(super) fn begin_setup(&mut self) {
        self.setup.status = StepStatus::Running;
    }

    /// Step `index` has begun, or is about to.
    pub(super) fn begin_step(&mut self, index: usize) {
        self.steps[index].status = StepStatus::Running;
    }

    /// The setup went like this.
    pub(super) fn end_setup(&mut self, outcome: Outcome) {
        let (status, end) = match outcome {
            Outcome::Success => (StepStatus::Success, None),
            Outcome::Exit { code } => {
                (StepStatus::Failed, Some(failed(FailureClass::Setup, format!("the setup exited with status {code}"))))
            }
            Outcome::Failed(failure) => (StepStatus::Failed, Some(AttemptState::Failed(failure))),
            Outcome::Stopped => (StepStatus::Stopped, Some(AttemptState::Stopped)),
        };
        self.setup.status = status;
        self.end = self.end.take().or(end);
    }

    /// Step `index` of `task` went like this.
    pub(super) fn end_step(&mut self, index: usize, task: &TaskSpec, outcome: Outcome, log: Option<LogEnd>) {
        let step = &mut self.steps[index];
        step.log = log;
        let end = match outcome {
            Outcome::Success => {
                step.status = StepStatus::Success;
                // Only commands have an exit status.
                step.exit_code = matches!(task.steps.0[index], Step::Run(_)).then_some(0);
                None
            }
            Outcome::Exit { code } => {
                step.status = StepStatus::Failed;
                step.exit_code = Some(code);
                Some(failed(FailureClass::Exit, exit_message(task, index, code)))
            }
            Outcome::Failed(failure) => {
                step.status = StepStatus::Failed;
                Some(AttemptState::Failed(failure))
            }
            Outcome::Stopped => {
                step.status = StepStatus::Stopped;
                Some(AttemptState::Stopped)
            }
        };
        self.end = self.end.take().or(end);
    }
}

fn failed(class: FailureClass, message: String) -> AttemptState {
    AttemptState::Failed(Failure { class, message })
}

/// How a sentence calls a step.
pub(super) fn step_title(task: &TaskSpec, index: usize) -> String {
    let step = &task.steps.0[index];
    match step.name() {
        "" => format!("step {} ({})", index + 1, step.kind()),
        name => format!("step {} ({name})", index + 1),
    }
}

fn step_name(task: &TaskSpec, index: usize) -> &str {
    task.steps.0[index].name()
}

fn exit_message(task: &TaskSpec, index: usize, code: i32) -> String {
    let title = step_title(task, index);
    let command = match &task.steps.0[index] {
        Step::Run(step) => short(&step.command),
        _ => None,
    };
    match command {
        // A step without a name of its own is named after its command.
        Some(command) if step_name(task, index) == command => {
            format!("command `{command}` of step {} exited with status {code}", index + 1)
        }
        Some(command) => format!("command `{command}` of {title} exited with status {code}"),
        None => format!("the command of {title} exited with status {code}"),
    }
}

/// The command, if it is one short line.
fn short(command: &str) -> Option<&str> {
    let command = command.trim();
    (!command.is_empty() && command.len() <= 60 && !command.contains('\n')).then_some(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::samples;

    #[test]
    fn steps_follow_the_setup_until_one_does_not_succeed() {
        let task = samples::task("t", ["true", "cargo test", "true"]);
        let mut progress = Progress::new(&task);
        assert_eq!(progress.next(), Next::Setup);
        progress.begin_setup();
        assert_eq!(progress.next(), Next::Setup);
        progress.end_setup(Outcome::Success);
        assert_eq!(progress.next(), Next::Step(0));
        progress.begin_step(0);
        assert_eq!(progress.next(), Next::Step(0));
        progress.end_step(0, &task, Outcome::Success, None);
        assert_eq!(progress.steps[0].exit_code, Some(0));
        assert_eq!(progress.next(), Next::Step(1));
        progress.end_step(1, &task, Outcome::Exit { code: 101 }, None);
        let Next::End(AttemptState::Failed(failure)) = progress.next() else { panic!("{:?}", progress.next()) };
        assert_eq!(failure.class, FailureClass::Exit);
        assert_eq!(failure.message, "command `cargo test` of step 2 exited with status 101");
        assert_eq!(progress.steps[2].status, StepStatus::NotStarted);
    }

    #[test]
    fn a_task_without_steps_succeeds_after_its_setup() {
        let mut progress = Progress::new(&samples::task("t", []));
        progress.end_setup(Outcome::Success);
        assert_eq!(progress.next(), Next::End(AttemptState::Success));
    }

    #[test]
    fn the_first_end_counts() {
        let task = samples::task("t", ["true"]);
        let mut progress = Progress::new(&task);
        progress.end_setup(Outcome::Stopped);
        progress.end_step(0, &task, Outcome::Exit { code: 1 }, None);
        assert_eq!(progress.next(), Next::End(AttemptState::Stopped));
    }
}
