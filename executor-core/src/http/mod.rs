//! How do an executor and a run service talk over a network? The contract as HTTP/1.1, from the executor's side.
//!
//! [`HttpClient`] is a [`RunServiceClient`](crate::contract::RunServiceClient) like the one in process. Every call goes out
//! from the executor; what it is told comes as lines of one long response. Each call may be repeated, so each is, when a
//! connection breaks: a bounded number of times, with growing waits. The commands are taken up again under the same epoch,
//! and only when that fails, too, does the executor hear of it and register anew.
//!
//! The other side is `runyard_runservice_core::http::executor_router`. What both say is in [`wire`].

mod client;
mod commands;
mod endpoint;
mod errors;
pub mod frames;
pub mod lines;
mod upload;
pub mod wire;

pub use client::HttpClient;
pub use endpoint::{CallError, Endpoint, HttpSettings, InvalidUrl, Patience};
pub use upload::UploadError;
