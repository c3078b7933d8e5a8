//! How does a process read what another one is writing? Only the host knows how its processes reach each other.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{LogRequest, Result};

/// The other processes that share a store.
#[async_trait]
pub trait Peers: Send + Sync + fmt::Debug + 'static {
    /// Follows a log through the process of this [name](crate::RunServiceBuilder::process_name), to which the executor is
    /// connected that writes it.
    ///
    /// It answers what its own [`RunService::log_here`](crate::RunService::log_here) says, and asks nobody else. Whoever
    /// asked goes on with what is stored when this fails or ends.
    async fn log(&self, process: &str, request: &LogRequest) -> Result<BoxStream<'static, Result<Bytes>>>;
}
