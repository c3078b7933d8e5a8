//! Which values are sealed? All that are marked as secret, wherever they stand.

use std::collections::BTreeMap;

use runyard_executor_core::contract::{Environment, RegistryAuth, Runtime, Step, Steps, TaskSpec, Value};

use super::{SealError, Sealer};
use crate::model::{GroupPath, RunConfig};

/// Seals every secret value of a run config; once.
pub(crate) async fn seal(sealer: &dyn Sealer, config: &mut RunConfig) -> Result<(), SealError> {
    let context = context(&config.group);
    let RunConfig { static_environment, environment, tasks, .. } = config;
    let mut values: Vec<&mut Value> = static_environment.values_mut().chain(environment.values_mut()).collect();
    for task in tasks.values_mut() {
        values.extend(task.environment.values_mut());
        values.extend(of_parts(&mut task.runtime, &mut task.steps, &mut task.registries_auth));
    }
    for secret in values.into_iter().filter_map(secret) {
        *secret = sealer.seal(&context, secret).await?;
    }
    config.sealed = true;
    Ok(())
}

/// Opens what the secret values of a task were in the run config, which is of a run of `group`.
pub(crate) async fn open(sealer: &dyn Sealer, group: &GroupPath, task: &mut TaskSpec) -> Result<(), SealError> {
    let context = context(group);
    let TaskSpec { environment, static_environment, run_environment, runtime, steps, registries_auth, .. } = task;
    let environments = [environment, static_environment, run_environment];
    let mut values: Vec<&mut Value> = environments.into_iter().flat_map(Environment::values_mut).collect();
    values.extend(of_parts(runtime, steps, registries_auth));
    for secret in values.into_iter().filter_map(secret) {
        *secret = sealer.open(&context, secret).await?;
    }
    Ok(())
}

/// A restart has the same root group, so what was sealed for a run opens for its restarts.
fn context(group: &GroupPath) -> String {
    group.root().as_str().to_owned()
}

fn secret(value: &mut Value) -> Option<&mut String> {
    match value {
        Value::Plain(_) => None,
        Value::Secret { secret } => Some(secret),
    }
}

/// The values of what a run config and a task specification have in common.
fn of_parts<'a>(
    runtime: &'a mut Runtime,
    steps: &'a mut Steps,
    registries_auth: &'a mut BTreeMap<String, RegistryAuth>,
) -> Vec<&'a mut Value> {
    let of_steps = steps.0.iter_mut().filter_map(|step| match step {
        Step::Run(run) => Some(&mut run.environment),
        Step::SaveToWorkspace(_) | Step::RestoreWorkspace(_) | Step::SaveCache(_) | Step::RestoreCache(_) => None,
    });
    let of_containers = runtime.containers.iter_mut().map(|container| &mut container.environment);
    let mut values: Vec<&mut Value> = of_steps.chain(of_containers).flat_map(Environment::values_mut).collect();
    for auth in registries_auth.values_mut() {
        match auth {
            RegistryAuth::Basic { username, password } => values.extend([username, password]),
            RegistryAuth::EncodedAuth { auth } => values.push(auth),
        }
    }
    values
}
