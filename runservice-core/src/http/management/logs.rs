//! Logs: the bytes of one step from an offset on, or some lines.

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures::TryStreamExt;
use runyard_executor_core::contract::RunId;

use super::views::{self, LINES_MAX, Lines, LinesQuery, LogQuery};
use crate::{
    LogPlace, LogRef, LogRequest, RunService,
    http::{
        extract::{At, Json, Params},
        problem::Failed,
    },
};

pub(super) async fn read(
    State(runs): State<RunService>,
    At(run): At<RunId>,
    Params(LogQuery { task, step, attempt, offset, follow }): Params<LogQuery>,
) -> Result<Response, Failed> {
    let request = LogRequest { log: LogRef { run, task, attempt, step }, offset, follow };
    // A reader that goes away drops the stream; one that is slow holds it back. An error breaks the connection, so that
    // nobody takes it for the end of the log.
    let log = runs.log(&request).await?.inspect_err(|error| {
        tracing::error!(error = error as &dyn std::error::Error, "a log broke off while it was read");
    });
    let head = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((head, Body::from_stream(log)).into_response())
}

pub(super) async fn lines(
    State(runs): State<RunService>,
    At(run): At<RunId>,
    Params(LinesQuery { task, step, attempt, first, limit }): Params<LinesQuery>,
) -> Result<Json<Lines>, Failed> {
    let limit = views::checked(limit, LINES_MAX)?.unwrap_or(1_000);
    let place = first.map_or(LogPlace::Last, LogPlace::From);
    let log = LogRef { run, task, attempt, step };
    Ok(Json(runs.log_page(&log, place, limit).await?.into()))
}
