//! Logs over the API: the bytes of one step from an offset on, and with `follow` until the log ends; or some lines.

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt, TryStreamExt, stream};
use runyard_executor_core::contract::StepRef;
use runyard_runservice_core::{LogLine, LogPage, LogPlace, LogRef, LogRequest};
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

/// So many lines are in a page, unless fewer are asked for.
const LINES_MAX: usize = 10_000;

/// Which lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinesQuery {
    pub(crate) task: String,
    /// `setup`, or the index of a step, counted from 0.
    pub(crate) step: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    /// The first line, counted from 0; none: the last lines that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<u64>,
    /// How many lines.
    #[serde(default = "lines_default")]
    pub(crate) limit: usize,
}

fn lines_default() -> usize {
    1_000
}

/// Some lines of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinesView {
    /// The number of the first one, counted from 0.
    pub(crate) first: u64,
    /// Where it begins, in bytes.
    pub(crate) offset: u64,
    pub(crate) lines: Vec<LineView>,
    pub(crate) lines_total: u64,
    pub(crate) bytes_total: u64,
    /// Whether nothing more comes.
    pub(crate) ended: bool,
    /// How many bytes are missing at the end, because they were lost before they were stored.
    pub(crate) missing: u64,
}

/// A line of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LineView {
    pub(crate) text: String,
    /// How many bytes of a very long line are not shown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) cut: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<LogLine> for LineView {
    fn from(line: LogLine) -> Self {
        Self { text: String::from_utf8_lossy(&line.text).into_owned(), cut: line.cut }
    }
}

impl From<LogPage> for LinesView {
    fn from(page: LogPage) -> Self {
        let LogPage { first, offset, lines, lines_total, bytes_total, ended, missing, .. } = page;
        let lines = lines.into_iter().map(LineView::from).collect();
        Self { first, offset, lines, lines_total, bytes_total, ended, missing }
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/runs/{run}/logs", get(read)).route("/runs/{run}/logs/lines", get(lines))
}

fn log_ref(run: &str, task: &str, attempt: Option<u32>, step: &str) -> Result<LogRef, Problem> {
    let step = step.parse::<StepRef>().map_err(|error| Problem::bad_request("invalid-step", error.to_string()))?;
    Ok(LogRef { run: run_id(run)?, task: task_name(task)?, attempt, step })
}

async fn lines(
    State(state): State<AppState>,
    Path(run): Path<String>,
    query: Result<Query<LinesQuery>, QueryRejection>,
) -> Result<Json<LinesView>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request("invalid-query", rejection.body_text()))?;
    if !(1..=LINES_MAX).contains(&query.limit) {
        let message = format!("`limit` is {}, and must be from 1 to {LINES_MAX}", query.limit);
        return Err(Problem::bad_request("invalid-query", message));
    }
    let log = log_ref(&run, &query.task, query.attempt, &query.step)?;
    let place = query.first.map_or(LogPlace::Last, LogPlace::From);
    Ok(Json(state.runs.log_page(&log, place, query.limit).await?.into()))
}

async fn read(
    State(state): State<AppState>,
    Path(run): Path<String>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request("invalid-query", rejection.body_text()))?;
    let log = log_ref(&run, &query.task, query.attempt, &query.step)?;
    let request = LogRequest { log, offset: query.offset, follow: query.follow };
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
