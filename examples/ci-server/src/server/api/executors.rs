//! Executors over the API: list them, and let further ones join.

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    routing::{get, post},
};
use runyard_runservice_core::{ExecutorDetail, ExecutorState, NewJoinToken};
use serde::{Deserialize, Serialize};

use crate::server::{AppState, problem::Problem};

/// An executor as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExecutorView {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Whether it is there: `connected`, `silent` or `disconnected`, and `draining` if it is to end.
    pub(crate) state: String,
    /// How many tasks it has.
    pub(crate) tasks: usize,
    /// The most that it takes.
    pub(crate) task_limit: u32,
    pub(crate) archs: Vec<String>,
}

/// A join token that is to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateJoinToken {
    /// What people call it.
    pub(crate) name: String,
    /// How many executors may join with it; none: any number.
    #[serde(default)]
    pub(crate) uses: Option<u32>,
}

/// A join token that was made.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct JoinTokenView {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl From<ExecutorDetail> for ExecutorView {
    fn from(detail: ExecutorDetail) -> Self {
        let word = match detail.state {
            ExecutorState::Connected => "connected",
            ExecutorState::Silent { .. } => "silent",
            ExecutorState::Disconnected { .. } => "disconnected",
        };
        let status = detail.status;
        let state = match (detail.draining, &status.not_ready) {
            (true, _) => format!("{word}, draining"),
            (false, Some(why)) => format!("{word}, not ready: {why}"),
            (false, None) => word.to_owned(),
        };
        Self {
            id: status.id.to_string(),
            name: status.name,
            state,
            tasks: detail.tasks.len(),
            task_limit: status.task_limit,
            archs: status.archs.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/executors", get(list)).route("/join-tokens", post(create_join_token))
}

async fn list(State(state): State<AppState>) -> Result<Json<Vec<ExecutorView>>, Problem> {
    let executors = state.runs.executors().await?;
    Ok(Json(executors.into_iter().map(ExecutorView::from).collect()))
}

async fn create_join_token(
    State(state): State<AppState>,
    body: Result<Json<CreateJoinToken>, JsonRejection>,
) -> Result<(StatusCode, Json<JoinTokenView>), Problem> {
    let Json(CreateJoinToken { name, uses }) = body?;
    let created = state.runs.create_join_token(NewJoinToken { name, uses }).await?;
    tracing::info!(token = created.id, "made a join token");
    Ok((StatusCode::CREATED, Json(JoinTokenView { id: created.id, token: created.token })))
}
