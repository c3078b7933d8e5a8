//! Runs and their tasks.

use axum::{extract::State, http::StatusCode};
use runyard_executor_core::contract::RunId;

use super::views::{
    Annotations, Approval, Detail, NumberQuery, Pin, Restart, RunList, RunToCreate, RunsQuery, without_secrets,
};
use crate::{
    RunService,
    http::{
        extract::{At, Json, Params},
        problem::Failed,
    },
    model::{Run, RunConfig},
};

type Answer<T> = Result<Json<T>, Failed>;

pub(super) async fn list(State(runs): State<RunService>, Params(query): Params<RunsQuery>) -> Answer<RunList> {
    Ok(Json(runs.list(&query.filter()?).await?.into()))
}

pub(super) async fn create(
    State(runs): State<RunService>,
    Json(new): Json<RunToCreate>,
) -> Result<(StatusCode, Json<Run>), Failed> {
    Ok((StatusCode::CREATED, Json(runs.create(new.into()).await?)))
}

pub(super) async fn find(
    State(runs): State<RunService>,
    Params(NumberQuery { root, number }): Params<NumberQuery>,
) -> Answer<Run> {
    Ok(Json(runs.find(&root, number).await?))
}

pub(super) async fn detail(State(runs): State<RunService>, At(run): At<RunId>) -> Answer<Detail> {
    Ok(Json(runs.get(&run).await?.into()))
}

pub(super) async fn config(State(runs): State<RunService>, At(run): At<RunId>) -> Answer<RunConfig> {
    Ok(Json(without_secrets(runs.run_config(&run).await?)))
}

pub(super) async fn stop(State(runs): State<RunService>, At(run): At<RunId>) -> Answer<Run> {
    Ok(Json(runs.stop(&run).await?))
}

pub(super) async fn cancel(State(runs): State<RunService>, At(run): At<RunId>) -> Answer<Run> {
    Ok(Json(runs.cancel(&run).await?))
}

pub(super) async fn restart(
    State(runs): State<RunService>,
    At(run): At<RunId>,
    Json(Restart { from }): Json<Restart>,
) -> Result<(StatusCode, Json<Run>), Failed> {
    Ok((StatusCode::CREATED, Json(runs.restart(&run, from).await?)))
}

pub(super) async fn remove(State(runs): State<RunService>, At(run): At<RunId>) -> Result<StatusCode, Failed> {
    runs.delete(&run).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pin(
    State(runs): State<RunService>,
    At(run): At<RunId>,
    Json(Pin { pinned }): Json<Pin>,
) -> Answer<Run> {
    Ok(Json(runs.set_pinned(&run, pinned).await?))
}

pub(super) async fn approve(
    State(runs): State<RunService>,
    At(run): At<RunId>,
    Json(Approval { task, approver }): Json<Approval>,
) -> Answer<Run> {
    Ok(Json(runs.approve(&run, &task, approver.as_deref()).await?))
}

pub(super) async fn annotate(
    State(runs): State<RunService>,
    At(run): At<RunId>,
    Json(Annotations { task, annotations }): Json<Annotations>,
) -> Answer<Run> {
    Ok(Json(runs.annotate(&run, &task, annotations).await?))
}
