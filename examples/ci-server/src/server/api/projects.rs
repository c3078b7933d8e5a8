//! Projects over the API: create, list, get.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{Items, PageQuery};
use crate::{
    configdata::{Project, ProjectId, ProjectName},
    server::{AppState, problem::Problem},
};

/// What a project is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateProject {
    pub(crate) name: String,
}

/// A project as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProjectView {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The short name; none before the first branch was pushed.
    pub(crate) default_branch: Option<String>,
    /// Where its repository is, below the address of the server.
    pub(crate) git_path: String,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        Self {
            git_path: format!("/git/{}.git", project.name),
            id: project.id.to_string(),
            name: project.name.to_string(),
            default_branch: project.default_branch.as_ref().and_then(|name| name.branch()).map(str::to_owned),
        }
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/projects", get(list).post(create)).route("/projects/{project}", get(show))
}

async fn create(
    State(state): State<AppState>,
    body: Result<Json<CreateProject>, JsonRejection>,
) -> Result<(StatusCode, Json<ProjectView>), Problem> {
    let Json(body) = body?;
    let name = ProjectName::parse(&body.name)?;
    let project = state.config.create_project(ProjectId::generate(&state.ids), name).await?;
    tracing::info!(project = %project.id, name = %project.name, "created a project");
    Ok((StatusCode::CREATED, Json(project.into())))
}

async fn list(
    State(state): State<AppState>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Items<ProjectView>>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request("invalid-query", rejection.body_text()))?;
    let page = state.config.list_projects(query.cursor.as_deref(), query.limit()?).await?;
    let last = page.projects.last().map(|project| project.name.to_string());
    Ok(Json(Items {
        next_cursor: last.filter(|_| page.more),
        items: page.projects.into_iter().map(ProjectView::from).collect(),
    }))
}

async fn show(State(state): State<AppState>, Path(project): Path<String>) -> Result<Json<ProjectView>, Problem> {
    Ok(Json(state.config.find_project(&project).await?.into()))
}
