//! Archives, in frames, both ways: streamed, never held.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use runyard_executor_core::{
    contract::{CacheHit, Fence, RunServiceClient},
    http::{
        frames,
        wire::{CacheFound, CacheQuery, CacheStored, CachesAsked, WorkspaceQuery},
    },
};

use super::{auth::Caller, calls::local};
use crate::{
    Error, RunService,
    http::{
        body::{self, Upload},
        extract::{Json, Params},
        problem::Failed,
    },
};

pub(super) async fn put_workspace(
    State(runs): State<RunService>,
    caller: Caller,
    Params(query): Params<WorkspaceQuery>,
    body: Body,
) -> Result<StatusCode, Failed> {
    let WorkspaceQuery { task, attempt, executor, epoch, of: _, step } = query;
    let fence = Fence { task, attempt, executor, epoch };
    caller.holds(&fence)?;
    let bytes_max = runs.core().settings.archive_bytes_max;
    let (archive, upload) = Upload::begin(body, bytes_max);
    let put = local(&runs).put_workspace(&fence, step, archive).await;
    put.map_err(|error| upload.failed(error, bytes_max))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn get_workspace(
    State(runs): State<RunService>,
    caller: Caller,
    Params(query): Params<WorkspaceQuery>,
) -> Result<Response, Failed> {
    let WorkspaceQuery { task, attempt, executor, epoch, of, step } = query;
    let fence = Fence { task, attempt, executor, epoch };
    caller.holds(&fence)?;
    let missing = || Error::BadRequest { message: "`of` is missing: the task that stored the archive".to_owned() };
    let of = of.ok_or_else(missing)?;
    Ok(body::archive(local(&runs).get_workspace(&fence, &of, step).await?))
}

pub(super) async fn put_cache(
    State(runs): State<RunService>,
    caller: Caller,
    Params(query): Params<CacheQuery>,
    body: Body,
) -> Result<Json<CacheStored>, Failed> {
    let CacheQuery { task, attempt, executor, epoch, key } = query;
    let fence = Fence { task, attempt, executor, epoch };
    caller.holds(&fence)?;
    let bytes_max = runs.core().settings.archive_bytes_max;
    let (archive, upload) = Upload::begin(body, bytes_max);
    let put = local(&runs).put_cache(&fence, &key, archive).await;
    Ok(Json(put.map_err(|error| upload.failed(error, bytes_max))?.into()))
}

pub(super) async fn find_cache(
    State(runs): State<RunService>,
    caller: Caller,
    Json(CachesAsked { fence, keys }): Json<CachesAsked>,
) -> Result<Response, Failed> {
    caller.holds(&fence)?;
    let Some(CacheHit { key, size, archive }) = local(&runs).get_cache(&fence, &keys).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let found: Bytes = body::line(&CacheFound { key, size });
    let body = stream::iter([Ok(found)]).chain(frames::encode(archive));
    let head = [(axum::http::header::CONTENT_TYPE, frames::MEDIA_TYPE)];
    Ok((head, Body::from_stream(body)).into_response())
}
