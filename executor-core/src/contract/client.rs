//! The trait through which an executor talks to its run service, in one process or over a network.
//!
//! All calls go out from the executor: it needs no inbound port.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::{Command, ExecutorId, ExecutorStatus, Fence, Siblings, StepRef, TaskId, TaskReport};

/// A result of the contract.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

/// What a byte stream may fail with.
pub type StreamError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes that are produced while they are read.
pub type ByteStream = BoxStream<'static, Result<Bytes, StreamError>>;

/// What an executor needs of a run service.
///
/// Every call that changes something may be repeated: the fence and the sequence number or offset make the second
/// one harmless.
#[async_trait]
pub trait RunServiceClient: Send + Sync + fmt::Debug + 'static {
    /// Registers an executor, ending whatever connection it had before.
    ///
    /// Attempts that were accepted by an earlier registration of the same executor stay its own, under the new epoch.
    async fn register(&self, status: ExecutorStatus) -> Result<Registration>;

    /// Says that the executor is alive.
    async fn heartbeat(&self, executor: &ExecutorId, epoch: u64) -> Result<()>;

    /// Says what has changed about the others of its group since it registered, or since this was called last.
    ///
    /// The tasks of those that are [removed](Siblings::removed) are lost at once: the run service need not wait.
    async fn siblings(&self, executor: &ExecutorId, epoch: u64, siblings: Siblings) -> Result<()>;

    /// Takes an assignment. Once this has returned `Ok`, and not before, the executor may start it.
    ///
    /// # Errors
    /// [`ClientError::Fenced`] if the assignment is no longer this executor's: it must not be started.
    async fn accept(&self, fence: &Fence) -> Result<()>;

    /// Says where an attempt is. `Ok` means that the report is durable.
    ///
    /// # Errors
    /// [`ClientError::Fenced`] if nobody expects this attempt any more: its pod is to be removed.
    async fn report(&self, report: TaskReport) -> Result<()>;

    /// Appends to a log; returns the length that is stored durably.
    ///
    /// What the log has already is dropped, by offset. Empty `bytes` only ask for the stored length.
    ///
    /// # Errors
    /// [`ClientError::LogGap`] if `offset` is past the stored end.
    async fn append_log(&self, fence: &Fence, step: StepRef, offset: u64, bytes: Bytes) -> Result<u64>;

    /// Stores the workspace archive of a `save_to_workspace` step; durable when it returns.
    async fn put_workspace(&self, fence: &Fence, step: u32, archive: ByteStream) -> Result<()>;

    /// Opens a workspace archive that an ancestor stored.
    async fn get_workspace(&self, fence: &Fence, task: &TaskId, step: u32) -> Result<ByteStream>;

    /// Whether a `save_cache` step would store anything under `key`: saving an existing key does nothing.
    async fn cache_exists(&self, fence: &Fence, key: &str) -> Result<bool>;

    /// Stores a cache entry, unless the key exists.
    async fn put_cache(&self, fence: &Fence, key: &str, archive: ByteStream) -> Result<CachePut>;

    /// Opens the first entry that matches: for each key in order an exact match, else the newest with that prefix.
    async fn get_cache(&self, fence: &Fence, keys: &[String]) -> Result<Option<CacheHit>>;
}

/// An accepted registration.
pub struct Registration {
    /// The epoch that everything the executor says must carry.
    pub epoch: u64,
    /// What the executor is told, until the connection ends or a newer registration replaces it. An end without an
    /// error means the latter.
    pub commands: BoxStream<'static, Result<Command>>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What became of a cache entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePut {
    /// It was stored.
    Stored,
    /// The key had an entry already; the new one was dropped.
    Exists,
}

/// A cache entry opened for reading.
pub struct CacheHit {
    /// The key of the entry, which may be longer than the one asked for.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its archive.
    pub archive: ByteStream,
}

impl fmt::Debug for CacheHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHit").field("key", &self.key).field("size", &self.size).finish_non_exhaustive()
    }
}

/// Why a call of the contract failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The attempt, the executor or its epoch is not the one that the run service expects.
    #[error("task `{task}` attempt {attempt} is not this executor's any more: {reason}")]
    Fenced {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: u32,
        /// What does not match.
        reason: String,
    },
    /// The registration was replaced by a newer one of the same executor id.
    #[error("executor `{executor}` was registered again, by another process with the same id")]
    Replaced {
        /// The executor.
        executor: ExecutorId,
    },
    /// Bytes before `offset` are missing.
    #[error("log of step `{step}` has {stored} bytes, and offset {offset} would leave a gap")]
    LogGap {
        /// The setup or the step.
        step: StepRef,
        /// What is stored.
        stored: u64,
        /// What was offered.
        offset: u64,
    },
    /// What was asked for does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// What, with its name.
        what: String,
    },
    /// The caller asks for something that makes no sense or is not its own.
    #[error("{message}")]
    BadRequest {
        /// Why, for the log of the task.
        message: String,
    },
    /// The run service does not know the executor's token, or it is not for what is asked.
    #[error("{message}")]
    Forbidden {
        /// Why, and what to do.
        message: String,
    },
    /// The run service or its storage did not answer; the call may be repeated.
    #[error("the run service is unavailable while {doing}")]
    Unavailable {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What was reported.
        source: StreamError,
    },
}

impl ClientError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
