//! How do the rooms become a server?
//!
//! ```text
//! <data>/objects        the object storage, unless it is elsewhere: logs, archives, packs and the databases
//! <data>/cache          repositories and unfinished pushes; can be deleted when the server is stopped
//! <data>/executor       the journal of the executor
//! <data>/pods           where tasks run
//! <data>/lock           held by the process that uses the directory
//! <data>/admin-token    the first token
//! ```

pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod coordination;
pub(crate) mod data_dir;
pub(crate) mod listen;
pub(crate) mod problem;
pub(crate) mod storage;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{Router, middleware, routing::get};
use runyard_datamanager::{DataManager, coordinator::Coordinator};
use runyard_objectstorage::ObjectStorage;
use runyard_runservice_core::{RunService, http::executor_router};
use tokio_util::sync::CancellationToken;

use crate::{
    configdata::ConfigData,
    git::{self, GitService},
    ids::Ids,
    trigger::{CloneAccess, TriggerWorker},
};

/// Where in the object storage the configuration data is.
pub(crate) const CONFIG_DATA_PATH: &str = "configdata";

/// Where executors of other processes call.
pub(crate) const EXECUTORS_PATH: &str = "/executors";

/// What the routes of the API work on.
#[derive(Clone, Debug)]
pub(crate) struct AppState {
    pub(crate) config: ConfigData,
    pub(crate) runs: RunService,
    pub(crate) ids: Arc<Ids>,
    /// When it is cancelled, answers that could go on for ever break off.
    pub(crate) end: CancellationToken,
}

/// The parts that a server is put together from.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The data manager of the configuration data.
    pub(crate) config_data: Arc<dyn DataManager>,
    /// Says which of several servers makes runs out of pushes.
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) storage: Arc<dyn ObjectStorage>,
    pub(crate) runs: RunService,
    pub(crate) ids: Arc<Ids>,
    pub(crate) token: auth::AdminToken,
    pub(crate) git: git::Settings,
    /// The address of this server, as tasks reach it: `http://127.0.0.1:8080`.
    pub(crate) own_url: String,
    /// Ends the server.
    pub(crate) end: CancellationToken,
}

/// What there is to do, each part for its own future.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// Answers requests.
    pub(crate) router: Router,
    /// Makes runs out of pushes.
    pub(crate) triggers: TriggerWorker,
}

/// Wires the parts.
pub(crate) async fn assemble(parts: Parts) -> git::Result<Assembled> {
    let Parts { config_data, coordinator, storage, runs, ids, token, git, own_url, end } = parts;
    let config = ConfigData::new(config_data);
    let git = Arc::new(GitService::open(config.clone(), storage, Arc::clone(&ids), git).await?);
    let clone = CloneAccess { server: own_url, token: token.clone() };
    let triggers = TriggerWorker::new(config.clone(), coordinator, Arc::clone(&git), runs.clone(), clone);
    let executors = executor_router(runs.clone());
    let api = api::routes()
        .with_state(AppState { config, runs, ids: Arc::clone(&ids), end })
        .layer(middleware::from_fn_with_state(token.clone(), auth::require_bearer));
    let git = git::routes(git).layer(middleware::from_fn_with_state(token, auth::require_basic));
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .nest("/api/v1", api)
        .merge(git)
        .nest(EXECUTORS_PATH, executors)
        .layer(middleware::from_fn_with_state(ids, problem::finish));
    Ok(Assembled { router, triggers })
}
