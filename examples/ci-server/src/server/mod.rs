//! How do the rooms become a server?
//!
//! ```text
//! <data>/objects        the object storage: logs, archives, packs and the databases
//! <data>/cache          repositories and unfinished pushes; can be deleted when the server is stopped
//! <data>/executor       the journal of the executor
//! <data>/pods           where tasks run
//! <data>/lock           held by the process that uses the directory
//! <data>/admin-token    the first token
//! ```

pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod data_dir;
pub(crate) mod listen;
pub(crate) mod problem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{Router, middleware, routing::get};
use runyard_datamanager::DataManager;
use runyard_objectstorage::ObjectStorage;

use crate::{
    configdata::ConfigData,
    git::{self, GitService},
    ids::Ids,
};

/// Where in the object storage the configuration data is.
pub(crate) const CONFIG_DATA_PATH: &str = "configdata";

/// What the routes of the API work on.
#[derive(Clone, Debug)]
pub(crate) struct AppState {
    pub(crate) config: ConfigData,
    pub(crate) ids: Arc<Ids>,
}

/// The parts that a server is put together from.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The data manager of the configuration data.
    pub(crate) config_data: Arc<dyn DataManager>,
    pub(crate) storage: Arc<dyn ObjectStorage>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) token: auth::AdminToken,
    pub(crate) git: git::Settings,
}

/// Wires the parts, and returns all routes of the server.
pub(crate) async fn router(parts: Parts) -> git::Result<Router> {
    let config = ConfigData::new(parts.config_data);
    let git = GitService::open(config.clone(), parts.storage, Arc::clone(&parts.ids), parts.git).await?;
    let state = AppState { config, ids: Arc::clone(&parts.ids) };
    let api = api::routes()
        .with_state(state)
        .layer(middleware::from_fn_with_state(parts.token.clone(), auth::require_bearer));
    let git = git::routes(Arc::new(git)).layer(middleware::from_fn_with_state(parts.token, auth::require_basic));
    Ok(Router::new()
        .route("/healthz", get(async || "ok\n"))
        .nest("/api/v1", api)
        .merge(git)
        .layer(middleware::from_fn_with_state(parts.ids, problem::finish)))
}
