//! When did it happen? The one place where a time enters a state.

use std::{sync::Arc, time::SystemTime};

use runyard_executor_core::contract::StepStatus;

use crate::model::{RunPhase, RunState, StepState, Task, TaskStatus, Times};

/// Sets the times that the statuses of a run call for and that it lacks.
///
/// Called with the new state of every [`Stepped`](super::Stepped) before it is written. A time that is set stays.
/// What never began, such as a skipped task, has an end but no start.
pub fn stamp(state: &mut RunState, now: SystemTime) {
    let run = &mut state.run;
    set(&mut run.times.created, true, now);
    set(&mut run.times.started, matches!(run.phase, RunPhase::Running | RunPhase::Finished), now);
    set(&mut run.times.finished, run.phase.is_final(), now);
    // Only these, so that what did not change stays shared with the state before.
    for task in state.tasks.values_mut().filter(|task| lacks_a_time(task)) {
        stamp_task(Arc::make_mut(task), now);
    }
}

/// How far something is, as far as times tell.
#[derive(Clone, Copy)]
struct Progress {
    began: bool,
    ended: bool,
}

impl Progress {
    fn of_task(task: &Task) -> Self {
        let began = task.status == TaskStatus::Running || task.setup.status != StepStatus::NotStarted;
        Self { began, ended: task.status.is_final() }
    }

    fn of_step(step: &StepState) -> Self {
        Self { began: step.status != StepStatus::NotStarted, ended: step.status.is_final() }
    }

    fn is_untold(self, times: &Times) -> bool {
        (self.began && times.started.is_none()) || (self.ended && times.finished.is_none())
    }

    fn tell(self, times: &mut Times, now: SystemTime) {
        set(&mut times.started, self.began, now);
        set(&mut times.finished, self.ended, now);
    }
}

fn lacks_a_time(task: &Task) -> bool {
    let earlier = task.earlier.iter().flat_map(|attempt| std::iter::once(&attempt.setup).chain(&attempt.steps));
    let mut steps = std::iter::once(&task.setup).chain(&task.steps).chain(earlier);
    Progress::of_task(task).is_untold(&task.times) || steps.any(|step| Progress::of_step(step).is_untold(&step.times))
}

fn stamp_task(task: &mut Task, now: SystemTime) {
    Progress::of_task(task).tell(&mut task.times, now);
    let earlier =
        task.earlier.iter_mut().flat_map(|attempt| std::iter::once(&mut attempt.setup).chain(&mut attempt.steps));
    for step in std::iter::once(&mut task.setup).chain(&mut task.steps).chain(earlier) {
        Progress::of_step(step).tell(&mut step.times, now);
    }
}

fn set(time: &mut Option<SystemTime>, due: bool, now: SystemTime) {
    if due && time.is_none() {
        *time = Some(now);
    }
}
