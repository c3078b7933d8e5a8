//! Runs over the API: list, show, stop, cancel, approve.

use std::{collections::BTreeMap, time::SystemTime};

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use runyard_executor_core::contract::{Failure, RunId, Step, StepStatus, TaskName};
use runyard_runservice_core::{
    RunDetail, RunFilter,
    model::{Run, StepState, Task, TaskConfig},
};
use serde::{Deserialize, Serialize};

use super::{Items, PageQuery};
use crate::{
    server::{AppState, problem::Problem},
    trigger::root_group,
};

/// A run as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunView {
    pub(crate) id: String,
    /// Counts the runs of the project.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) group: String,
    /// `setuperror`, `queued`, `cancelled`, `running` or `finished`.
    pub(crate) phase: String,
    /// `unknown`, `success`, `failed` or `stopped`.
    pub(crate) result: String,
    pub(crate) stop_requested: bool,
    /// `project`, `ref`, `branch` or `tag`, `commit`, `message`, `author`.
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) setup_errors: Vec<String>,
    #[serde(flatten)]
    pub(crate) times: TimesView,
}

/// When something happened, in RFC 3339.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimesView {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finished: Option<String>,
}

/// A run with its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunDetailView {
    #[serde(flatten)]
    pub(crate) run: RunView,
    pub(crate) warnings: Vec<String>,
    /// Why the run waits, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waiting_reason: Option<String>,
    /// In the order of their level, then of their names.
    pub(crate) tasks: Vec<TaskView>,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskView {
    pub(crate) name: String,
    /// `notstarted`, `cancelled`, `skipped`, `running`, `stopped`, `success` or `failed`.
    pub(crate) status: String,
    pub(crate) level: u32,
    pub(crate) depends: Vec<String>,
    pub(crate) attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) executor: Option<String>,
    pub(crate) waiting_approval: bool,
    /// Why it waits, where nothing of its own run is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waiting_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    pub(crate) setup: StepView,
    pub(crate) steps: Vec<StepView>,
    #[serde(flatten)]
    pub(crate) times: TimesView,
}

/// The setup of a task, or one of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepView {
    pub(crate) name: String,
    /// `notstarted`, `running`, `success`, `failed` or `stopped`.
    pub(crate) status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    /// The length of its log, once that is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log_bytes: Option<u64>,
    #[serde(flatten)]
    pub(crate) times: TimesView,
}

/// Who approves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approve {
    pub(crate) task: String,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            id: run.id.to_string(),
            number: run.number,
            name: run.name,
            group: run.group.to_string(),
            phase: run.phase.as_str().to_owned(),
            result: run.result.as_str().to_owned(),
            stop_requested: run.stop_requested,
            annotations: run.annotations,
            setup_errors: run.setup_errors,
            times: run.times.into(),
        }
    }
}

impl From<runyard_runservice_core::model::Times> for TimesView {
    fn from(times: runyard_runservice_core::model::Times) -> Self {
        let text = |time: Option<SystemTime>| Some(jiff::Timestamp::try_from(time?).ok()?.to_string());
        Self { created: text(times.created), started: text(times.started), finished: text(times.finished) }
    }
}

impl From<RunDetail> for RunDetailView {
    fn from(detail: RunDetail) -> Self {
        let reasons: BTreeMap<_, _> =
            detail.waiting_tasks.into_iter().map(|waiting| (waiting.task, waiting.reason.to_string())).collect();
        let configs = detail.config.tasks;
        let view = |(name, task): (TaskName, Task)| {
            let config = configs.get(&name).cloned().unwrap_or_default();
            task_view(task, &config, reasons.get(&name).cloned())
        };
        let mut tasks: Vec<TaskView> = detail.tasks.into_iter().map(view).collect();
        tasks.sort_by_key(|task| task.level);
        Self {
            run: detail.run.into(),
            warnings: detail.config.warnings,
            waiting_reason: detail.waiting.map(|reason| reason.to_string()),
            tasks,
        }
    }
}

fn task_view(task: Task, config: &TaskConfig, waiting_reason: Option<String>) -> TaskView {
    let name_of = |index: usize| config.steps.0.get(index).map(Step::name).unwrap_or_default();
    TaskView {
        name: task.name.to_string(),
        status: task.status.as_str().to_owned(),
        level: config.level,
        depends: config.depends.keys().map(ToString::to_string).collect(),
        attempt: task.attempt,
        executor: task.executor.map(|executor| executor.to_string()),
        waiting_approval: task.waiting_approval,
        waiting_reason,
        failure: task.failure,
        setup: step_view("setup", task.setup),
        steps: task.steps.into_iter().enumerate().map(|(index, step)| step_view(name_of(index), step)).collect(),
        times: task.times.into(),
    }
}

fn step_view(name: &str, step: StepState) -> StepView {
    StepView {
        name: name.to_owned(),
        status: step_status(step.status).to_owned(),
        exit_code: step.exit_code,
        log_bytes: step.log.map(|log| log.bytes),
        times: step.times.into(),
    }
}

fn step_status(status: StepStatus) -> &'static str {
    match status {
        StepStatus::NotStarted => "notstarted",
        StepStatus::Running => "running",
        StepStatus::Success => "success",
        StepStatus::Failed => "failed",
        StepStatus::Stopped => "stopped",
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/projects/{project}/runs", get(list))
        .route("/projects/{project}/runs/{number}", get(show_by_number))
        .route("/runs/{run}", get(show))
        .route("/runs/{run}/stop", post(stop))
        .route("/runs/{run}/cancel", post(cancel))
        .route("/runs/{run}/approve", post(approve))
}

async fn list(
    State(state): State<AppState>,
    Path(project): Path<String>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Items<RunView>>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request("invalid-query", rejection.body_text()))?;
    let project = state.config.find_project(&project).await?;
    let after = query.cursor.as_ref().map(|cursor| URL_SAFE_NO_PAD.decode(cursor)).transpose();
    let after = after.map_err(|_| Problem::bad_request("invalid-cursor", "the cursor is not one of this list"))?;
    let filter = RunFilter {
        root: Some(root_group(&project)),
        limit: query.limit()?,
        after: after.map(bytes::Bytes::from),
        ..RunFilter::default()
    };
    let page = state.runs.list(&filter).await?;
    Ok(Json(Items {
        items: page.runs.into_iter().map(RunView::from).collect(),
        next_cursor: page.next.map(|next| URL_SAFE_NO_PAD.encode(next)),
    }))
}

async fn show_by_number(
    State(state): State<AppState>,
    Path((project, number)): Path<(String, String)>,
) -> Result<Json<RunDetailView>, Problem> {
    let project = state.config.find_project(&project).await?;
    let not_found = || {
        let detail = format!("project `{}` has no run #{number}: `runyard runs list` shows its runs", project.name);
        Problem::new(axum::http::StatusCode::NOT_FOUND, "not-exist", detail)
    };
    let parsed = number.parse().map_err(|_| not_found())?;
    let run = match state.runs.find(&root_group(&project), parsed).await {
        Err(runyard_runservice_core::Error::NotExist { .. }) => return Err(not_found()),
        other => other?,
    };
    Ok(Json(state.runs.get(&run.id).await?.into()))
}

async fn show(State(state): State<AppState>, Path(run): Path<String>) -> Result<Json<RunDetailView>, Problem> {
    match state.runs.get(&run_id(&run)?).await {
        Err(runyard_runservice_core::Error::NotExist { what }) => {
            let detail = format!("{what}: `runyard runs list --project <name>` shows the runs of a project");
            Err(Problem::new(axum::http::StatusCode::NOT_FOUND, "not-exist", detail))
        }
        found => Ok(Json(found?.into())),
    }
}

async fn stop(State(state): State<AppState>, Path(run): Path<String>) -> Result<Json<RunView>, Problem> {
    Ok(Json(state.runs.stop(&run_id(&run)?).await?.into()))
}

async fn cancel(State(state): State<AppState>, Path(run): Path<String>) -> Result<Json<RunView>, Problem> {
    Ok(Json(state.runs.cancel(&run_id(&run)?).await?.into()))
}

async fn approve(
    State(state): State<AppState>,
    Path(run): Path<String>,
    body: Result<Json<Approve>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<RunView>, Problem> {
    let Json(body) = body?;
    let task = task_name(&body.task)?;
    // The admin token is the only user so far, and stands above the number of approvers.
    Ok(Json(state.runs.approve(&run_id(&run)?, &task, None).await?.into()))
}

/// What is no id names no run.
pub(super) fn run_id(text: &str) -> Result<RunId, Problem> {
    RunId::parse(text).map_err(|error| Problem::bad_request("invalid-id", error.to_string()))
}

pub(super) fn task_name(text: &str) -> Result<TaskName, Problem> {
    TaskName::parse(text).map_err(|error| Problem::bad_request("invalid-name", error.to_string()))
}
