//! The database of the run service: export, import, maintenance. Only where the host gave it to the API.

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::TryStreamExt;
use runyard_datamanager::WalDataManager;

use super::views::{Imported, Maintenance};
use crate::{
    Error,
    http::{body::JSON_LINES, extract::Json, problem::Failed},
};

type Data = State<Option<WalDataManager>>;

fn there(data: Option<WalDataManager>) -> Result<WalDataManager, Failed> {
    let message = "this server does not offer its database over the network".to_owned();
    data.ok_or_else(|| Error::NotExist { what: message }.into())
}

pub(super) async fn export(State(data): Data) -> Result<Response, Failed> {
    // An export ends with a trailer: without one, it broke off.
    let lines = there(data)?.export(None).inspect_err(|error| {
        tracing::error!(error = error as &dyn std::error::Error, "an export broke off");
    });
    Ok(([(header::CONTENT_TYPE, JSON_LINES)], Body::from_stream(lines)).into_response())
}

pub(super) async fn import(State(data): Data, body: Body) -> Result<Json<Imported>, Failed> {
    let imported = there(data)?.import(body.into_data_stream()).await.map_err(Error::from)?;
    Ok(Json(Imported { entries: imported.entries }))
}

pub(super) async fn enter_maintenance(
    State(data): Data,
    Json(Maintenance { reason }): Json<Maintenance>,
) -> Result<StatusCode, Failed> {
    there(data)?.enter_maintenance(&reason).await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn leave_maintenance(State(data): Data) -> Result<StatusCode, Failed> {
    there(data)?.leave_maintenance().await.map_err(Error::from)?;
    Ok(StatusCode::NO_CONTENT)
}
