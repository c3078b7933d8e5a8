//! The executor contract, called in process: no socket, no copy.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use runyard_executor_core::contract::{
    ByteStream, CacheHit, CachePut, ClientError, ExecutorId, ExecutorStatus, Fence, Registration, Result,
    RunServiceClient, Siblings, StepRef, TaskId, TaskReport,
};
use runyard_objectstorage::{Body, Durability, GetRange, PutMode, PutOptions, PutSize};

use crate::{
    Error,
    archives::limited,
    caches::CacheScopes,
    layout, references,
    rows::{AssignmentRow, TaskData},
    service::Core,
};

/// What [`RunService::client`](crate::RunService::client) hands out.
#[derive(Clone, Debug)]
pub(crate) struct LocalClient(pub(crate) Arc<Core>);

#[async_trait]
impl RunServiceClient for LocalClient {
    async fn register(&self, status: ExecutorStatus) -> Result<Registration> {
        self.0.register(status, None).await.map_err(client_error("registering an executor"))
    }

    async fn heartbeat(&self, executor: &ExecutorId, epoch: u64) -> Result<()> {
        if self.0.sessions.heard(executor, epoch) {
            return Ok(());
        }
        Err(ClientError::Unavailable { doing: "sending a heartbeat", source: "the executor is not connected".into() })
    }

    async fn siblings(&self, executor: &ExecutorId, epoch: u64, siblings: Siblings) -> Result<()> {
        self.0
            .note_siblings(executor, epoch, siblings)
            .await
            .map_err(client_error("noting the siblings of an executor"))
    }

    async fn accept(&self, fence: &Fence) -> Result<()> {
        self.0.accept(fence).await
    }

    async fn report(&self, report: TaskReport) -> Result<()> {
        self.0.report(report).await
    }

    async fn append_log(&self, fence: &Fence, step: StepRef, offset: u64, bytes: Bytes) -> Result<u64> {
        let row = self.0.fenced_assignment(fence).await?;
        self.0.counters.log_bytes_received.add(bytes.len() as u64);
        let refer = async {
            // Beside the first bytes, so that no log is there of which nobody knows whose it is.
            if self.0.logs.is_referred_to(&fence.task) {
                return Ok(());
            }
            self.refer(TaskData::Logs, fence, &row).await?;
            self.0.logs.set_referred_to(&fence.task);
            Ok(())
        };
        let id = (fence.task.clone(), fence.attempt, step);
        let (stored, ()) = futures::try_join!(self.0.logs.append(&id, offset, bytes), refer)?;
        Ok(stored)
    }

    async fn put_workspace(&self, fence: &Fence, step: u32, archive: ByteStream) -> Result<()> {
        let row = self.0.fenced_assignment(fence).await?;
        self.refer(TaskData::Workspaces, fence, &row).await?;
        let archive = limited(archive, self.0.settings.archive_bytes_max);
        let key = layout::workspace_archive(&fence.task, step);
        let options = PutOptions { size: PutSize::Unknown, durability: Durability::Synced, mode: PutMode::Overwrite };
        self.0
            .storage
            .put(&key, Body::stream(archive), options)
            .await
            .map_err(Error::storage("storing a workspace archive"))
            .map_err(client_error("storing a workspace archive"))
    }

    async fn get_workspace(&self, fence: &Fence, task: &TaskId, step: u32) -> Result<ByteStream> {
        let doing = "opening a workspace archive";
        let row = self.0.fenced_assignment(fence).await?;
        if !self.0.is_ancestor(&row, task).await.map_err(client_error(doing))? {
            return Err(ClientError::BadRequest {
                message: format!("task `{task}` is no ancestor of `{}`: its workspace is not for it", row.name),
            });
        }
        let key = layout::workspace_archive(task, step);
        match self.0.storage.get(&key, GetRange::Full).await {
            Ok(object) => Ok(futures::StreamExt::boxed(futures::TryStreamExt::map_err(object.stream, Into::into))),
            Err(error) if error.is_not_found() => {
                Err(ClientError::NotFound { what: format!("the workspace archive of step {step} of task `{task}`") })
            }
            Err(error) => Err(client_error(doing)(Error::storage(doing)(error))),
        }
    }

    async fn cache_exists(&self, fence: &Fence, key: &str) -> Result<bool> {
        let doing = "looking for a cache entry";
        let scopes = self.cache_scopes(fence, doing).await?;
        self.0.cache_exists(&scopes, key).await.map_err(client_error(doing))
    }

    async fn put_cache(&self, fence: &Fence, key: &str, archive: ByteStream) -> Result<CachePut> {
        let doing = "storing a cache entry";
        let scopes = self.cache_scopes(fence, doing).await?;
        self.0.put_cache(&scopes, key, archive).await.map_err(client_error(doing))
    }

    async fn get_cache(&self, fence: &Fence, keys: &[String]) -> Result<Option<CacheHit>> {
        let doing = "looking for a cache entry";
        let scopes = self.cache_scopes(fence, doing).await?;
        self.0.get_cache(&scopes, keys).await.map_err(client_error(doing))
    }
}

impl LocalClient {
    /// Writes whose the data of a task is that is about to be stored.
    async fn refer(&self, data: TaskData, fence: &Fence, row: &AssignmentRow) -> Result<()> {
        let written = references::write(&*self.0.storage, data, &fence.task, &row.run).await;
        written.map_err(client_error("writing whose a log or an archive is"))
    }

    /// The namespaces whose cache entries the run of an attempt reads and writes.
    async fn cache_scopes(&self, fence: &Fence, doing: &'static str) -> Result<CacheScopes> {
        let row = self.0.fenced_assignment(fence).await?;
        let config = self.0.run_config(&row.run).await.map_err(client_error(doing))?;
        Ok(CacheScopes::of(&config))
    }
}

/// Says an error of the run service in the terms of the contract.
pub(crate) fn client_error(doing: &'static str) -> impl FnOnce(Error) -> ClientError {
    move |error| match error {
        Error::NotExist { what } => ClientError::NotFound { what },
        Error::BadRequest { message } | Error::Conflict { message } => ClientError::BadRequest { message },
        // The executor's own stream failed: asking again will not help, but saying why will.
        Error::Storage { source: runyard_objectstorage::Error::Body { source, .. }, .. } => {
            ClientError::BadRequest { message: format!("the archive could not be read to its end: {source}") }
        }
        Error::Storage { source: source @ runyard_objectstorage::Error::TooLarge { .. }, .. } => {
            ClientError::BadRequest { message: source.to_string() }
        }
        error => ClientError::Unavailable { doing, source: error.into() },
    }
}
