//! The calls of an executor that are one question and one answer.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use runyard_executor_core::{
    contract::{Fence, RunServiceClient, TaskReport},
    http::wire::{CacheAsked, CacheExists, Heartbeat, Join, Joined, LogQuery, SiblingsSeen, Stored},
};

use super::auth::Caller;
use crate::{
    RunService,
    client::LocalClient,
    http::{
        extract::{Json, Params, Whole},
        problem::Failed,
    },
};

type Result<T, E = Failed> = std::result::Result<T, E>;

pub(super) fn local(runs: &RunService) -> LocalClient {
    LocalClient(Arc::clone(runs.core()))
}

pub(super) async fn join(State(runs): State<RunService>, Json(join): Json<Join>) -> Result<Json<Joined>> {
    let token = runs.join(&join.join_token, &join.executor).await?;
    Ok(Json(Joined { token }))
}

pub(super) async fn heartbeat(
    State(runs): State<RunService>,
    caller: Caller,
    Json(Heartbeat { executor, epoch }): Json<Heartbeat>,
) -> Result<StatusCode> {
    caller.is(&executor)?;
    local(&runs).heartbeat(&executor, epoch).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn siblings(
    State(runs): State<RunService>,
    caller: Caller,
    Json(SiblingsSeen { executor, epoch, siblings }): Json<SiblingsSeen>,
) -> Result<StatusCode> {
    caller.is(&executor)?;
    local(&runs).siblings(&executor, epoch, siblings).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn accept(
    State(runs): State<RunService>,
    caller: Caller,
    Json(fence): Json<Fence>,
) -> Result<StatusCode> {
    caller.holds(&fence)?;
    local(&runs).accept(&fence).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether a fence holds, which an executor asks after an upload broke off.
pub(super) async fn check(
    State(runs): State<RunService>,
    caller: Caller,
    Json(fence): Json<Fence>,
) -> Result<StatusCode> {
    caller.holds(&fence)?;
    runs.core().fenced_assignment(&fence).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn report(
    State(runs): State<RunService>,
    caller: Caller,
    Json(report): Json<TaskReport>,
) -> Result<StatusCode> {
    caller.holds(&report.fence)?;
    local(&runs).report(report).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn append_log(
    State(runs): State<RunService>,
    caller: Caller,
    Params(query): Params<LogQuery>,
    Whole(bytes): Whole,
) -> Result<Json<Stored>> {
    let LogQuery { task, attempt, executor, epoch, step, offset } = query;
    let fence = Fence { task, attempt, executor, epoch };
    caller.holds(&fence)?;
    let stored = local(&runs).append_log(&fence, step, offset, bytes).await?;
    Ok(Json(Stored { stored }))
}

pub(super) async fn cache_exists(
    State(runs): State<RunService>,
    caller: Caller,
    Json(CacheAsked { fence, key }): Json<CacheAsked>,
) -> Result<Json<CacheExists>> {
    caller.holds(&fence)?;
    let exists = local(&runs).cache_exists(&fence, &key).await?;
    Ok(Json(CacheExists { exists }))
}
