//! The contract, called over HTTP.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;

use super::{
    commands,
    endpoint::{CallError, Endpoint},
    errors::client_error,
    frames,
    lines::Lines,
    upload::{UploadError, upload_archive},
    wire::{
        CacheAsked, CacheExists, CacheFound, CacheQuery, CacheStored, CachesAsked, Commands, Heartbeat, Join, Joined,
        Line, LogQuery, Register, SiblingsSeen, Stored, WorkspaceQuery,
    },
};
use crate::contract::{
    ByteStream, CacheHit, CachePut, ClientError, ExecutorId, ExecutorStatus, Fence, Registration, Result,
    RunServiceClient, Siblings, StepRef, StreamError, TaskId, TaskReport,
};

/// The most bytes of the line before a cache entry.
const FOUND_BYTES_MAX: usize = 64 << 10;

/// A run service that is called over HTTP. Cloning is cheap; clones share their token.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use runyard_executor_core::{Executor, driver::ProcessDriver, http::{Endpoint, HttpClient}};
/// # use tokio_util::sync::CancellationToken;
/// # async fn example(join_token: Option<&str>, token: Option<String>) -> Result<(), Box<dyn std::error::Error>> {
/// let client = HttpClient::new(Endpoint::new("https://ci.example.com/executors")?);
/// let driver = Arc::new(ProcessDriver::open("/var/lib/ci/pods")?);
/// let executor = Executor::builder(Arc::new(client.clone()), driver).open("/var/lib/ci/executor").await?;
/// match (token, join_token) {
///     (Some(token), _) => client.set_token(token),
///     // To be kept, with the executor's directory: it is not told again once it was used.
///     (None, Some(join_token)) => drop(client.join(join_token, executor.id()).await?),
///     (None, None) => return Err("this executor has never joined: give it a join token".into()),
/// }
/// executor.run(CancellationToken::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpClient {
    endpoint: Endpoint,
    /// Names this client, so that the run service knows a late registration of it.
    name: Arc<str>,
    registrations: Arc<AtomicU64>,
}

impl HttpClient {
    /// A run service whose `executor_router` is mounted at the endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        let name = endpoint.random_name().into();
        Self { endpoint, name, registrations: Arc::default() }
    }

    /// Joins: exchanges a join token for the executor's own, which is shown from now on, and to be kept.
    ///
    /// Joining again is fine as long as the token was not used, so that no lost answer locks an executor out.
    ///
    /// # Errors
    /// [`ClientError::Forbidden`] if the join token is not valid (any more), or an executor of this id has joined.
    pub async fn join(&self, join_token: &str, executor: &ExecutorId) -> Result<String> {
        let join = Join { join_token: join_token.to_owned(), executor: executor.clone() };
        let request = || self.endpoint.request(Method::POST, &["join"]).json(&join);
        let joined = self.endpoint.call_json::<Joined>(request).await.map_err(client_error("joining"))?;
        self.set_token(joined.token.clone());
        Ok(joined.token)
    }

    /// The executor's own token, shown from now on.
    pub fn set_token(&self, token: impl Into<String>) {
        self.endpoint.set_token(token);
    }

    fn post(&self, path: &[&str], body: &(impl Serialize + Sync)) -> RequestBuilder {
        self.endpoint.request(Method::POST, path).json(body)
    }

    async fn say(&self, path: &[&str], body: &(impl Serialize + Sync), doing: &'static str) -> Result<()> {
        self.endpoint.call(|| self.post(path, body)).await.map(drop).map_err(client_error(doing))
    }

    /// Registers once, up to the line that says so.
    async fn register_once(&self, status: &ExecutorStatus) -> Result<(u64, Lines), CallError> {
        let numbers = self.endpoint.numbers();
        let number = self.registrations.fetch_add(1, Ordering::Relaxed) + 1;
        let register = Register { client: self.name.to_string(), number, status: status.clone() };
        let response = self.endpoint.open(self.post(&["register"], &register)).await?;
        let mut lines = Lines::new(response, numbers.silence_max);
        loop {
            let bytes = lines.next().await.map_err(|error| self.endpoint.broken(error))?;
            let bytes = bytes.ok_or_else(|| self.endpoint.broken("the connection ended".into()))?;
            if let Some(Line::Connected { epoch }) = commands::line(&bytes) {
                return Ok((epoch, lines));
            }
        }
    }

    /// Why an upload failed, or what came of it: an answer that comes before the end of the archive may be lost with the
    /// connection, so it is asked for again.
    async fn settle(&self, error: UploadError, fence: &Fence, doing: &'static str) -> ClientError {
        match error {
            UploadError::Source(message) => {
                ClientError::BadRequest { message: format!("the archive could not be read to its end: {message}") }
            }
            UploadError::Call(error @ CallError::Problem(_)) => client_error(doing)(error),
            UploadError::Call(error) => match self.say(&["check"], fence, doing).await {
                Err(answer) if !answer.is_retryable() => answer,
                _ => client_error(doing)(error),
            },
        }
    }

    /// The bytes of a response; silence is an error, but not while nobody reads.
    fn body(&self, response: Response) -> ByteStream {
        let silence_max = self.endpoint.numbers().silence_max;
        let body = response.bytes_stream().boxed();
        let body = stream::unfold(Some(body), move |body| async move {
            let mut body = body?;
            match tokio::time::timeout(silence_max, body.next()).await {
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
                Ok(Some(Err(error))) => Some((Err(StreamError::from(error.without_url())), None)),
                Ok(None) => None,
                Err(_) => {
                    let error = format!("nothing came for {} s", silence_max.as_secs());
                    Some((Err(error.into()), None))
                }
            }
        });
        body.boxed()
    }
}

#[async_trait]
impl RunServiceClient for HttpClient {
    async fn register(&self, status: ExecutorStatus) -> Result<Registration> {
        let mut patience = self.endpoint.patience();
        let (epoch, lines) = loop {
            match self.register_once(&status).await {
                Ok(registered) => break registered,
                // The next registration takes the place of one of which the answer was lost.
                Err(error) => patience.after(error).await.map_err(client_error("registering an executor"))?,
            }
        };
        let who = Commands { executor: status.id, epoch };
        Ok(Registration { epoch, commands: commands::stream(self.endpoint.clone(), who, lines) })
    }

    async fn heartbeat(&self, executor: &ExecutorId, epoch: u64) -> Result<()> {
        let heartbeat = Heartbeat { executor: executor.clone(), epoch };
        self.say(&["heartbeat"], &heartbeat, "sending a heartbeat").await
    }

    async fn siblings(&self, executor: &ExecutorId, epoch: u64, siblings: Siblings) -> Result<()> {
        let seen = SiblingsSeen { executor: executor.clone(), epoch, siblings };
        self.say(&["siblings"], &seen, "noting the siblings of an executor").await
    }

    async fn accept(&self, fence: &Fence) -> Result<()> {
        self.say(&["accept"], fence, "accepting a task").await
    }

    async fn report(&self, report: TaskReport) -> Result<()> {
        self.say(&["report"], &report, "reporting a task").await
    }

    async fn append_log(&self, fence: &Fence, step: StepRef, offset: u64, bytes: Bytes) -> Result<u64> {
        let Fence { task, attempt, executor, epoch } = fence.clone();
        let query = LogQuery { task, attempt, executor, epoch, step, offset };
        let request = || self.endpoint.request(Method::PUT, &["log"]).query(&query).body(bytes.clone());
        let stored = self.endpoint.call_json::<Stored>(request).await;
        stored.map(|stored| stored.stored).map_err(client_error("appending to a log"))
    }

    async fn put_workspace(&self, fence: &Fence, step: u32, archive: ByteStream) -> Result<()> {
        let request = self.endpoint.request(Method::PUT, &["workspace"]).query(&workspace(fence, None, step));
        match upload_archive(&self.endpoint, request, archive).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.settle(error, fence, "storing a workspace archive").await),
        }
    }

    async fn get_workspace(&self, fence: &Fence, task: &TaskId, step: u32) -> Result<ByteStream> {
        let query = workspace(fence, Some(task.clone()), step);
        let request = || self.endpoint.request(Method::GET, &["workspace"]).query(&query);
        let response = self.endpoint.open_retried(request).await;
        let response = response.map_err(client_error("opening a workspace archive"))?;
        Ok(frames::decode(self.body(response)))
    }

    async fn cache_exists(&self, fence: &Fence, key: &str) -> Result<bool> {
        let asked = CacheAsked { fence: fence.clone(), key: key.to_owned() };
        let exists = self.endpoint.call_json::<CacheExists>(|| self.post(&["cache", "exists"], &asked)).await;
        exists.map(|exists| exists.exists).map_err(client_error("looking for a cache entry"))
    }

    async fn put_cache(&self, fence: &Fence, key: &str, archive: ByteStream) -> Result<CachePut> {
        let doing = "storing a cache entry";
        let Fence { task, attempt, executor, epoch } = fence.clone();
        let query = CacheQuery { task, attempt, executor, epoch, key: key.to_owned() };
        let request = self.endpoint.request(Method::PUT, &["cache"]).query(&query);
        let error = match upload_archive(&self.endpoint, request, archive).await {
            Ok(answer) => match serde_json::from_slice::<CacheStored>(&answer) {
                Ok(stored) => return Ok(stored.into()),
                Err(error) => UploadError::Call(self.endpoint.broken(error.into())),
            },
            Err(error) => error,
        };
        // That the key has an entry is said before the archive is read, so the answer may be lost with the connection.
        if matches!(error, UploadError::Call(CallError::Transport { .. }))
            && self.cache_exists(fence, key).await.unwrap_or(false)
        {
            return Ok(CachePut::Exists);
        }
        Err(self.settle(error, fence, doing).await)
    }

    async fn get_cache(&self, fence: &Fence, keys: &[String]) -> Result<Option<CacheHit>> {
        let doing = "looking for a cache entry";
        let asked = CachesAsked { fence: fence.clone(), keys: keys.to_vec() };
        let mut patience = self.endpoint.patience();
        loop {
            let error = match self.endpoint.open(self.post(&["cache", "find"], &asked)).await {
                Ok(response) if response.status() == StatusCode::NO_CONTENT => return Ok(None),
                Ok(response) => match found(self.body(response)).await {
                    Ok((CacheFound { key, size }, archive)) => return Ok(Some(CacheHit { key, size, archive })),
                    Err(error) => self.endpoint.broken(error),
                },
                Err(error) => error,
            };
            patience.after(error).await.map_err(client_error(doing))?;
        }
    }
}

fn workspace(fence: &Fence, of: Option<TaskId>, step: u32) -> WorkspaceQuery {
    let Fence { task, attempt, executor, epoch } = fence.clone();
    WorkspaceQuery { task, attempt, executor, epoch, of, step }
}

/// Reads the line before a cache entry.
async fn found(mut body: ByteStream) -> Result<(CacheFound, ByteStream), StreamError> {
    let mut line = BytesMut::new();
    loop {
        let piece = body.next().await.ok_or("the connection ended")??;
        line.extend_from_slice(&piece);
        if let Some(at) = line.iter().position(|byte| *byte == b'\n') {
            let rest = line.split_off(at + 1).freeze();
            let found = serde_json::from_slice(&line)?;
            return Ok((found, frames::decode(stream::iter([Ok(rest)]).chain(body))));
        }
        if line.len() > FOUND_BYTES_MAX {
            return Err("the line before a cache entry is too long".into());
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
