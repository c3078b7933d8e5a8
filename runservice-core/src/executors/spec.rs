//! What does an executor need to know of a task? Pure: from the run config and the state of the run.

use runyard_executor_core::contract::{Environment, Step, StepStatus, TaskName, TaskSpec, WorkspaceArchive};

use crate::model::{RunConfig, RunState};

/// The specification of the current attempt of a task; none if the run has no such task.
pub(crate) fn task_spec(config: &RunConfig, state: &RunState, name: &TaskName) -> Option<TaskSpec> {
    let definition = config.tasks.get(name)?;
    let task = state.tasks.get(name)?;
    let mut static_environment = config.static_environment.clone();
    static_environment.extend(number_variables(config, state.run.number));
    Some(TaskSpec {
        id: task.id.clone(),
        attempt: task.attempt,
        run: state.run.id.clone(),
        name: name.clone(),
        runtime: definition.runtime.clone(),
        environment: definition.environment.clone(),
        static_environment,
        run_environment: config.environment.clone(),
        working_dir: definition.working_dir.clone(),
        shell: definition.shell.clone(),
        user: definition.user.clone(),
        steps: definition.steps.clone(),
        timeout: definition.timeout,
        registries_auth: definition.registries_auth.clone(),
        workspace: workspace(config, state, name),
    })
}

fn number_variables(config: &RunConfig, number: u64) -> Environment {
    config.number_variables.iter().map(|name| (name.clone(), number.to_string().into())).collect()
}

/// What the ancestors stored, in the order in which it is restored: by level, then name, then step.
///
/// An archive is stored before the success of its step is reported, so the state of the step says whether it exists.
fn workspace(config: &RunConfig, state: &RunState, name: &TaskName) -> Vec<WorkspaceArchive> {
    let mut archives = Vec::new();
    for ancestor in config.ancestors(name) {
        let (Some(definition), Some(task)) = (config.tasks.get(ancestor), state.tasks.get(ancestor)) else { continue };
        for (index, (step, reported)) in definition.steps.0.iter().zip(&task.steps).enumerate() {
            if matches!(step, Step::SaveToWorkspace(_)) && reported.status == StepStatus::Success {
                archives.push(WorkspaceArchive {
                    level: definition.level,
                    name: ancestor.clone(),
                    step: index as u32,
                    task: task.id.clone(),
                });
            }
        }
    }
    archives.sort();
    archives
}
