//! The executor contract, answered over HTTP. `runyard_executor_core::http::wire` says what is said.

mod auth;
mod calls;
mod commands;
mod transfers;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post, put},
};
use runyard_executor_core::http::wire::{APPEND_BYTES_MAX, JSON_BYTES_MAX};

use super::problem;
use crate::RunService;

/// What executors of other processes call, to be mounted anywhere.
///
/// Each call but the first, which exchanges a [join token](RunService::create_join_token), shows the executor's own token
/// (`Authorization: Bearer`), and is refused if it speaks for another executor. Beyond that, the fence of a call says what
/// it may read and write: the archives and caches of the executor's own assignments.
///
/// Bodies of JSON and parts of logs have at most 8 MiB, archives at most
/// [`Settings::archive_bytes_max`](crate::Settings::archive_bytes_max).
///
/// Whoever serves it should speak TLS: secrets of tasks go through it.
pub fn executor_router(runs: RunService) -> Router {
    let authenticated = Router::new()
        .route("/register", post(commands::register))
        .route("/commands", get(commands::resume))
        .route("/heartbeat", post(calls::heartbeat))
        .route("/siblings", post(calls::siblings))
        .route("/accept", post(calls::accept))
        .route("/check", post(calls::check))
        .route("/report", post(calls::report))
        .route("/log", put(calls::append_log).layer(DefaultBodyLimit::max(APPEND_BYTES_MAX)))
        .route("/workspace", put(transfers::put_workspace).get(transfers::get_workspace))
        .route("/cache/exists", post(calls::cache_exists))
        .route("/cache", put(transfers::put_cache))
        .route("/cache/find", post(transfers::find_cache))
        .route_layer(middleware::from_fn_with_state(runs.clone(), auth::authenticate));
    Router::new()
        .route("/join", post(calls::join))
        .merge(authenticated)
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .layer(middleware::from_fn(problem::finish))
        .with_state(runs)
}
