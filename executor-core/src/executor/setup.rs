//! How is the place made in which the steps of a task run?

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    attempt::{Attempt, broken, silence},
    environment,
    progress::Outcome,
    signals::StopReason,
    task_log::TaskLog,
};
use crate::{
    contract::{Failure, FailureClass, TaskSpec},
    driver::{DriverError, Pod, PodSpec, SetupLog as _},
};

/// Where steps run.
pub(super) struct Place {
    pub(super) pod: Arc<dyn Pod>,
    /// Absolute.
    pub(super) working_dir: String,
}

/// Makes the pod and the working directory. Each line of the log says one thing that happens.
pub(super) async fn set_up(attempt: &Attempt, log: &TaskLog) -> (Outcome, Option<Place>) {
    if !log.is_empty() {
        log.line("the executor was restarted; setting up again");
        attempt.remove_pods().await;
    }
    let task = &attempt.entry.task;
    log.line(&format!("executor {} takes task `{}`, attempt {}", attempt.context.home.id, task.name, task.attempt));
    for name in environment::unmasked(task) {
        log.line(&format!("warning: `{name}` has a value or a line under 4 bytes, which is not masked in logs"));
    }
    let (outcome, place) = match make(attempt, log).await {
        Ok(place) => (Outcome::Success, Some(place)),
        Err(outcome) => (outcome, None),
    };
    match &outcome {
        Outcome::Failed(failure) => log.line(&format!("setup failed: {}", failure.message)),
        Outcome::Stopped => log.line("stopped on request"),
        Outcome::Success | Outcome::Exit { .. } => {}
    }
    (outcome, place)
}

async fn make(attempt: &Attempt, log: &TaskLog) -> Result<Place, Outcome> {
    let task = &attempt.entry.task;
    if task.runtime.is_privileged() && !attempt.context.settings.allow_privileged_containers {
        let message = "the task asks for a privileged container, and this executor does not allow them \
                       (allow_privileged_containers)";
        return Err(broken(FailureClass::Setup, message));
    }
    let cancel = CancellationToken::new();
    let creating = async {
        let pod = attempt.context.driver.create_pod(pod_spec(attempt), log, &cancel).await?;
        log.line(&format!("pod {} is ready", pod.id()));
        let place = enter_dir(task, pod).await?;
        log.line(&format!("working directory {}", place.working_dir));
        Ok(place)
    };
    let stopping = async {
        let reason = attempt.signals.stopped().await;
        cancel.cancel();
        // A driver that does not listen is left behind: what it has made is found and removed.
        tokio::time::sleep(attempt.context.settings.stop_grace).await;
        reason
    };
    let made = tokio::select! {
        made = creating => made,
        reason = stopping => return Err(stop_outcome(reason)),
    };
    if let Some(reason) = attempt.signals.stop_reason() {
        return Err(stop_outcome(reason));
    }
    made.map_err(|error: DriverError| broken(error.class(), error.user_message()))
}

fn stop_outcome(reason: StopReason) -> Outcome {
    match reason {
        StopReason::Requested => Outcome::Stopped,
        StopReason::Silence => Outcome::Failed(silence()),
    }
}

fn pod_spec(attempt: &Attempt) -> PodSpec {
    let task = &attempt.entry.task;
    PodSpec {
        id: attempt.entry.pod.clone(),
        task: task.id.clone(),
        attempt: task.attempt,
        executor: attempt.context.home.id.clone(),
        arch: task.runtime.arch,
        containers: task.runtime.containers.clone(),
        user: environment::user(task, None),
        registries_auth: task.registries_auth.clone(),
        lost_after: attempt.context.settings.lost_after,
    }
}

/// Finds the working directory of a pod that was made before.
pub(super) async fn enter(task: &TaskSpec, pod: Arc<dyn Pod>) -> Result<Place, Failure> {
    enter_dir(task, pod).await.map_err(|error| Failure { class: error.class(), message: error.user_message() })
}

async fn enter_dir(task: &TaskSpec, pod: Arc<dyn Pod>) -> Result<Place, DriverError> {
    let dir = task.working_dir.as_deref().filter(|dir| !dir.is_empty());
    let dir = match dir.unwrap_or(environment::DEFAULT_WORKING_DIR) {
        dir if dir.starts_with('/') || dir == "~" || dir.starts_with("~/") => dir.to_owned(),
        dir => format!("~/{dir}"),
    };
    let working_dir = pod.create_dir(&dir).await?;
    Ok(Place { pod, working_dir })
}
