//! Logs over the API: the bytes of one step from an offset on, and with `follow` until the log ends.

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, TryStreamExt, stream};
use runyard_executor_core::contract::StepRef;
use runyard_runservice_core::LogRequest;
use serde::{Deserialize, Serialize};

use super::runs::{run_id, task_name};
use crate::server::{AppState, problem::Problem};

/// Which log, and how much of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    pub(crate) task: String,
    /// `setup`, or the index of a step, counted from 0.
    pub(crate) step: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    /// The first byte.
    #[serde(default)]
    pub(crate) offset: u64,
    /// Whether to wait for what is not yet written.
    #[serde(default)]
    pub(crate) follow: bool,
}

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/runs/{run}/logs", get(read))
}

async fn read(
    State(state): State<AppState>,
    Path(run): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request("invalid-query", rejection.body_text()))?;
    let step = query.step.parse::<StepRef>();
    let request = LogRequest {
        run: run_id(&run)?,
        task: task_name(&query.task)?,
        attempt: query.attempt,
        step: step.map_err(|error| Problem::bad_request("invalid-step", error.to_string()))?,
        offset: query.offset,
        follow: query.follow,
    };
    // A client that goes away drops the stream; one that reads slowly holds it back.
    let log = state.runs.log(&request).await?.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "a log broke off while it was read");
        std::io::Error::other(error)
    });
    // The server ends: the client must not take that for the end of the log.
    let broken_off = state.end.clone();
    let broken_off = stream::once(async move { broken_off.is_cancelled() })
        .filter_map(async |is_ending| is_ending.then(|| Err(std::io::Error::other("the server is ending"))));
    let log = log.take_until(state.end.cancelled_owned()).chain(broken_off);
    let head = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((head, Body::from_stream(log)).into_response())
}
