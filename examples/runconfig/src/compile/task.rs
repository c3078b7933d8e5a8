//! From the definition of a task to what the run service stores.

use std::collections::BTreeMap;

use runyard_executor_core::contract::{
    Container, RegistryAuth, RestoreCacheStep, RestoreWorkspaceStep, RunStep, Runtime, SaveCacheStep,
    SaveToWorkspaceStep, Step, Steps, TmpfsVolume,
};
use runyard_runservice_core::model::{Condition, TaskConfig};

use super::{CompileContext, environment};
use crate::{
    clone::clone_step,
    definition::{
        Action, AuthDefinition, ContainerDefinition, Definition, RunDefinition, StepDefinition, TaskDefinition,
    },
    variables::Variables,
    when::when_matches,
};

/// Compiles a task. Its level is set when the whole run is known.
pub(super) fn task(
    definition: &Definition,
    run: &RunDefinition,
    task: &TaskDefinition,
    context: &CompileContext,
    variables: &mut Variables<'_>,
) -> TaskConfig {
    let owner = format!("the task `{}`", task.name);
    let steps: Vec<&StepDefinition> =
        task.steps.iter().filter(|step| when_matches(step.when.as_ref(), &context.names())).collect();
    let clones = steps.iter().any(|step| matches!(step.action, Action::Clone(_)));
    let mut environment = variables.environment(&task.environment, &owner);
    if clones {
        environment.extend(environment::clone_environment(context));
    }
    // A set without conditions would mean success to the run service; here it never matches.
    let never = task.depends.values().any(|conditions| conditions.is_empty());
    let depends = task.depends.iter().map(|(parent, conditions)| {
        let mut conditions = conditions.clone();
        if conditions.is_empty() {
            conditions.insert(Condition::Success);
        }
        (parent.clone(), conditions)
    });
    TaskConfig {
        level: 0,
        depends: depends.collect(),
        runtime: Runtime {
            arch: task.arch,
            containers: task.containers.iter().map(|container| self::container(container, &owner, variables)).collect(),
        },
        environment,
        working_dir: task.working_dir.clone(),
        shell: task.shell.clone(),
        user: task.user.clone(),
        steps: Steps(steps.into_iter().map(|step| self::step(step, &owner, variables)).collect()),
        ignore_failure: task.ignore_failure,
        needs_approval: task.approval.is_some(),
        approvers_min: task.approval.as_ref().map_or(0, |approval| approval.minimum),
        skip: never || !when_matches(task.when.as_ref(), &context.names()),
        retry: task.retry.clone(),
        labels: task.labels.clone(),
        registries_auth: registries_auth(
            [&definition.registries_auth, &run.registries_auth, &task.registries_auth],
            variables,
        ),
        timeout: task.timeout.or(run.task_timeout).or(definition.task_timeout),
    }
}

/// Later layers replace earlier ones, registry by registry.
fn registries_auth(
    layers: [&BTreeMap<String, AuthDefinition>; 3],
    variables: &mut Variables<'_>,
) -> BTreeMap<String, RegistryAuth> {
    let mut merged: BTreeMap<&String, &AuthDefinition> = BTreeMap::new();
    for layer in layers {
        merged.extend(layer);
    }
    merged.into_iter().map(|(registry, auth)| (registry.clone(), variables.auth(auth, registry))).collect()
}

fn container(container: &ContainerDefinition, owner: &str, variables: &mut Variables<'_>) -> Container {
    let volumes = container.volumes.iter();
    Container {
        image: container.image.clone(),
        environment: variables.environment(&container.environment, &format!("a container of {owner}")),
        user: container.user.clone(),
        privileged: container.privileged,
        entrypoint: container.entrypoint.clone(),
        volumes: volumes.map(|(path, size_max)| TmpfsVolume { path: path.clone(), size_max: *size_max }).collect(),
        resources: container.resources,
    }
}

fn step(step: &StepDefinition, owner: &str, variables: &mut Variables<'_>) -> Step {
    let name = step.name.clone();
    match &step.action {
        Action::Clone(options) => Step::Run(clone_step(name, options)),
        Action::Run(command) => Step::Run(RunStep {
            environment: variables.environment(&command.environment, &format!("the step `{name}` of {owner}")),
            name,
            command: command.command.clone(),
            working_dir: command.working_dir.clone(),
            shell: command.shell.clone(),
            user: command.user.clone(),
            tty: command.tty,
            timeout: command.timeout,
        }),
        Action::SaveToWorkspace { contents } => {
            Step::SaveToWorkspace(SaveToWorkspaceStep { name, contents: contents.clone() })
        }
        Action::RestoreWorkspace { dest_dir } => {
            Step::RestoreWorkspace(RestoreWorkspaceStep { name, dest_dir: dest_dir.clone() })
        }
        Action::SaveCache { key, contents } => {
            Step::SaveCache(SaveCacheStep { name, key: key.clone(), contents: contents.clone() })
        }
        Action::RestoreCache { keys, dest_dir } => {
            Step::RestoreCache(RestoreCacheStep { name, keys: keys.clone(), dest_dir: dest_dir.clone() })
        }
    }
}
