//! What does a command see, and what must its output not show?
//!
//! Pure: the task's definition in, plain values out.

use std::collections::BTreeSet;

use runyard_toolbox::{MASKED_BYTES_MIN, Masker};

use crate::contract::{Environment, RegistryAuth, RunStep, TaskSpec};

/// The program that reads commands where neither the step nor the task names one.
const DEFAULT_SHELL: &str = "/bin/sh -e";

/// Where steps run where the task does not say.
pub(super) const DEFAULT_WORKING_DIR: &str = "~/project";

/// The variables of a task, and those of one of its run steps if given. Later wins: container, task, static, run, step.
pub(super) fn environment(task: &TaskSpec, step: Option<&RunStep>) -> Environment {
    let container = task.runtime.containers.first().map(|container| &container.environment);
    let own = [&task.environment, &task.static_environment, &task.run_environment];
    let layers = container.into_iter().chain(own).chain(step.map(|step| &step.environment));
    layers.flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Every secret value of the task, also of other steps and of layers that lose: a command may find them in a file that
/// an earlier step wrote.
pub(super) fn secrets(task: &TaskSpec) -> Vec<String> {
    let mut secrets = BTreeSet::new();
    let steps = task.steps.0.iter().filter_map(|step| match step {
        crate::contract::Step::Run(step) => Some(&step.environment),
        _ => None,
    });
    let containers = task.runtime.containers.iter().map(|container| &container.environment);
    let own = [&task.environment, &task.static_environment, &task.run_environment];
    for layer in containers.chain(own).chain(steps) {
        secrets.extend(layer.values().filter(|value| value.is_secret()).map(|value| value.expose().to_owned()));
    }
    for auth in task.registries_auth.values() {
        let values = match auth {
            RegistryAuth::Basic { username, password } => vec![username, password],
            RegistryAuth::EncodedAuth { auth } => vec![auth],
        };
        secrets.extend(values.into_iter().filter(|value| value.is_secret()).map(|value| value.expose().to_owned()));
    }
    secrets.into_iter().filter(|secret| !secret.is_empty()).collect()
}

/// Masks what the executor itself writes into the logs of the task.
pub(super) fn masker(task: &TaskSpec) -> Masker {
    Masker::new(secrets(task))
}

/// The names of secret variables whose values, or some of their lines, are too short to be masked.
pub(super) fn unmasked(task: &TaskSpec) -> Vec<String> {
    let too_short = |value: &str| value.lines().any(|line| !line.is_empty() && line.len() < MASKED_BYTES_MIN);
    let all = environment(task, None);
    all.iter()
        .filter(|(_, value)| value.is_secret() && too_short(value.expose()))
        .map(|(name, _)| name.clone())
        .collect()
}

/// The program that reads the command of a step, with its arguments.
pub(super) fn shell(task: &TaskSpec, step: &RunStep) -> Vec<String> {
    let given = |shell: &Option<String>| shell.clone().filter(|shell| !shell.trim().is_empty());
    let shell = given(&step.shell).or_else(|| given(&task.shell)).unwrap_or_else(|| DEFAULT_SHELL.to_owned());
    shell.split_whitespace().map(str::to_owned).collect()
}

/// The user that a step runs as: its own, else the task's, else the first container's. None: the pod's.
pub(super) fn user(task: &TaskSpec, step: Option<&RunStep>) -> Option<String> {
    let container = task.runtime.containers.first().and_then(|container| container.user.clone());
    step.and_then(|step| step.user.clone()).or_else(|| task.user.clone()).or(container).filter(|user| !user.is_empty())
}

/// A directory that a step names, seen from the task's working directory.
pub(crate) fn directory(working_dir: &str, step: Option<&str>) -> String {
    match step.filter(|dir| !dir.is_empty()) {
        None => working_dir.to_owned(),
        Some(dir) if dir.starts_with('/') || dir == "~" || dir.starts_with("~/") => dir.to_owned(),
        Some(dir) => format!("{}/{dir}", working_dir.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::Value, executor::samples};

    #[test]
    fn later_layers_win() {
        let layer = |names: &[&str], value: &str| -> Environment {
            names.iter().map(|name| ((*name).to_owned(), Value::from(value))).collect()
        };
        let mut task = samples::task("t", []);
        task.runtime.containers[0].environment = layer(&["A", "B", "C", "D", "E"], "container");
        task.environment = layer(&["B", "C", "D", "E"], "task");
        task.static_environment = layer(&["C", "D", "E"], "static");
        task.run_environment = layer(&["D", "E"], "run");
        let step = RunStep { environment: layer(&["E"], "step"), ..RunStep::default() };
        let seen = environment(&task, Some(&step));
        let values: Vec<_> = seen.values().map(Value::expose).collect();
        assert_eq!(values, ["container", "task", "static", "run", "step"]);
    }

    #[test]
    fn the_secrets_of_every_layer_are_masked_once() {
        let mut task = samples::task("t", ["true"]);
        task.environment.insert("A".into(), Value::secret("hunter2"));
        task.run_environment.insert("A".into(), Value::secret("other"));
        task.static_environment.insert("B".into(), Value::secret("hunter2"));
        task.static_environment.insert("SHORT".into(), Value::secret("abc"));
        let password = RegistryAuth::Basic { username: "user".into(), password: Value::secret("pass") };
        task.registries_auth.insert("registry.example".into(), password);
        assert_eq!(secrets(&task), ["abc", "hunter2", "other", "pass"]);
        assert_eq!(unmasked(&task), ["SHORT"]);
    }

    #[test]
    fn the_nearest_shell_and_user_count() {
        let mut task = samples::task("t", []);
        let mut step = RunStep::default();
        assert_eq!(shell(&task, &step), ["/bin/sh", "-e"]);
        assert_eq!(user(&task, Some(&step)), None);
        task.runtime.containers[0].user = Some("container".into());
        assert_eq!(user(&task, Some(&step)).as_deref(), Some("container"));
        task.shell = Some("bash  -eu".into());
        task.user = Some("task".into());
        assert_eq!(shell(&task, &step), ["bash", "-eu"]);
        assert_eq!(user(&task, Some(&step)).as_deref(), Some("task"));
        step.shell = Some("python3".into());
        step.user = Some("step".into());
        assert_eq!(shell(&task, &step), ["python3"]);
        assert_eq!(user(&task, Some(&step)).as_deref(), Some("step"));
    }

    #[test]
    fn directories_of_steps_begin_at_the_working_directory() {
        assert_eq!(directory("/w", None), "/w");
        assert_eq!(directory("/w/", Some("a/b")), "/w/a/b");
        assert_eq!(directory("/w", Some("/etc")), "/etc");
        assert_eq!(directory("/w", Some("~/x")), "~/x");
    }
}
