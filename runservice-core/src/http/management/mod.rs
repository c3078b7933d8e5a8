//! The management API: runs, tasks, logs, events, executors and the data of a run service over HTTP.
//!
//! It has no users. Whoever gets through the host's middleware may do everything, so a host mounts it behind its own
//! authentication, or not at all.

mod data;
mod events;
mod executors;
mod logs;
pub(super) mod openapi;
mod routes;
mod runs;
pub(super) mod views;

use axum::{Router, extract::DefaultBodyLimit, extract::FromRef, middleware};
use runyard_datamanager::WalDataManager;

use super::problem;
use crate::RunService;

/// The most bytes of a JSON body, such as a run to be created.
const JSON_BYTES_MAX: usize = 32 << 20;

/// Puts the management API together.
#[derive(Clone, Debug)]
pub struct ManagementApi {
    runs: RunService,
    data: Option<WalDataManager>,
}

impl ManagementApi {
    /// The API of a run service.
    pub fn new(runs: RunService) -> Self {
        Self { runs, data: None }
    }

    /// Also export, import and maintenance of the data manager that the run service was built with.
    #[must_use]
    pub fn data(mut self, data: WalDataManager) -> Self {
        self.data = Some(data);
        self
    }

    /// The router, to be mounted anywhere, behind the host's authentication. Its document is at `/openapi.json`.
    pub fn router(self) -> Router {
        let mut router = Router::new();
        for route in routes::all() {
            router = router.route(route.path, route.handler);
        }
        router
            .method_not_allowed_fallback(problem::no_method)
            .fallback(problem::no_route)
            .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
            .layer(middleware::from_fn(problem::finish))
            .with_state(self)
    }
}

/// What a host's users and programs call; [`ManagementApi`] says more.
pub fn management_router(runs: RunService) -> Router {
    ManagementApi::new(runs).router()
}

impl FromRef<ManagementApi> for RunService {
    fn from_ref(api: &ManagementApi) -> Self {
        api.runs.clone()
    }
}

impl FromRef<ManagementApi> for Option<WalDataManager> {
    fn from_ref(api: &ManagementApi) -> Self {
        api.data.clone()
    }
}
