//! Executors, and what lets them join.

use axum::{extract::State, http::StatusCode};
use runyard_executor_core::contract::ExecutorId;

use super::views::{Executors, JoinTokens};
use crate::{
    CreatedJoinToken, Error, ExecutorDetail, NewJoinToken, RunService,
    http::{
        extract::{At, Json},
        problem::Failed,
    },
};

pub(super) async fn list(State(runs): State<RunService>) -> Result<Json<Executors>, Failed> {
    Ok(Json(Executors { executors: runs.executors().await? }))
}

pub(super) async fn detail(
    State(runs): State<RunService>,
    At(executor): At<ExecutorId>,
) -> Result<Json<ExecutorDetail>, Failed> {
    Ok(Json(runs.executor(&executor).await?))
}

pub(super) async fn drain(State(runs): State<RunService>, At(executor): At<ExecutorId>) -> Result<StatusCode, Failed> {
    runs.drain_executor(&executor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Also its token: one that is removed does not come back by itself.
pub(super) async fn remove(State(runs): State<RunService>, At(executor): At<ExecutorId>) -> Result<StatusCode, Failed> {
    runs.remove_executor(&executor).await?;
    match runs.revoke_executor(&executor).await {
        // It never had one, as one that is in the same process.
        Err(Error::NotExist { .. }) => {}
        revoked => revoked?,
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn revoke(State(runs): State<RunService>, At(executor): At<ExecutorId>) -> Result<StatusCode, Failed> {
    runs.revoke_executor(&executor).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn join_tokens(State(runs): State<RunService>) -> Result<Json<JoinTokens>, Failed> {
    Ok(Json(JoinTokens { join_tokens: runs.join_tokens().await? }))
}

pub(super) async fn create_join_token(
    State(runs): State<RunService>,
    Json(new): Json<NewJoinToken>,
) -> Result<(StatusCode, Json<CreatedJoinToken>), Failed> {
    Ok((StatusCode::CREATED, Json(runs.create_join_token(new).await?)))
}

pub(super) async fn delete_join_token(
    State(runs): State<RunService>,
    At(token): At<String>,
) -> Result<StatusCode, Failed> {
    runs.delete_join_token(&token).await?;
    Ok(StatusCode::NO_CONTENT)
}
