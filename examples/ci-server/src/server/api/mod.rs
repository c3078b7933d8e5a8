//! What can be asked over `/api/v1`?

pub(crate) mod executors;
pub(crate) mod logs;
pub(crate) mod projects;
pub(crate) mod runs;

use axum::{Router, http::StatusCode};
use serde::{Deserialize, Serialize};

use super::{AppState, problem::Problem};

/// The most items of one page, and the default.
const PAGE_ITEMS_MAX: usize = 100;

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    /// Asks for the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// Which page of a list is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
}

impl PageQuery {
    fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(PAGE_ITEMS_MAX) {
            limit @ 1..=PAGE_ITEMS_MAX => Ok(limit),
            limit => Err(Problem::bad_request("invalid-limit", format!("limit {limit} is not between 1 and 100"))),
        }
    }
}

/// The routes of the API, without its prefix. Whoever gets here is authenticated.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .merge(projects::routes())
        .merge(runs::routes())
        .merge(logs::routes())
        .merge(executors::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

async fn not_found(uri: axum::http::Uri) -> Problem {
    let detail = format!("there is no `{}` in this version of the API", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", detail)
}

async fn method_not_allowed(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    let detail = format!("`{}` cannot be asked with {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}
