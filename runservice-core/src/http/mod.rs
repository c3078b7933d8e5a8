//! How is a run service reached over a network? Routers to mount anywhere, and a client.
//!
//! | part | for | who may |
//! |---|---|---|
//! | [`executor_router`] | executors: [`HttpClient`](runyard_executor_core::http::HttpClient) calls it | executors that [joined](crate::RunService::join), each for itself |
//! | [`management_router`], [`ManagementApi`] | people and programs: [`ManagementClient`] calls it | whom the host lets: it has no authentication of its own |
//!
//! Whatever fails is answered with an `application/problem+json` whose `code` never changes its meaning
//! ([`ErrorKind::code`](crate::ErrorKind::code)). A request that carries a `traceparent`, or to which the host's middleware
//! added a [`TraceId`], has that id in its problem.
//!
//! ```no_run
//! # async fn example(runs: runyard_runservice_core::RunService) -> Result<(), Box<dyn std::error::Error>> {
//! use runyard_runservice_core::http;
//!
//! let app = axum::Router::new()
//!     .nest("/executors/v1", http::executor_router(runs.clone()))
//!     // With the host's authentication as a layer: whoever comes through may do everything.
//!     .nest("/api/v1", http::management_router(runs));
//! axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
//! # Ok(())
//! # }
//! ```

mod body;
mod client;
mod executor;
mod extract;
mod management;
mod problem;

pub use client::ManagementClient;
pub use executor::executor_router;
pub use management::{ManagementApi, management_router};
pub use problem::TraceId;
