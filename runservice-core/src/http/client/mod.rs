//! The management API, called over HTTP: the methods of [`RunService`](crate::RunService), somewhere else.

mod streams;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::BoxStream;
use reqwest::{Method, RequestBuilder};
use runyard_executor_core::{
    contract::{ExecutorId, RunId, TaskName},
    http::Endpoint,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    management::views::{
        Annotations, Approval, Counted, Detail, Executors, JoinTokens, Lines, LinesQuery, Maintenance, Now,
        NumberQuery, Pin, Restart, RunList, RunToCreate, RunsQuery,
    },
    problem::remote,
};
use crate::{
    CreatedJoinToken, Error, EventSequence, ExecutorDetail, JoinToken, LogPage, LogPlace, LogRef, LogRequest,
    NewJoinToken, NewRun, RestartPoint, Result, RunDetail, RunFilter, RunPage, SequencedEvent,
    model::{GroupPath, Run, RunConfig},
};

/// A run service whose management API is called over HTTP. Cloning is cheap.
///
/// Reads, and what may be done twice, are tried again when there is no answer, as often as the endpoint's settings say. The
/// rest is not: [`create`](Self::create) is tried again if it has an idempotency key.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use runyard_executor_core::http::Endpoint;
/// use runyard_runservice_core::{RunFilter, http::ManagementClient};
///
/// let runs = ManagementClient::new(Endpoint::new("https://ci.example.com/api/v1")?.token("secret"));
/// for run in runs.list(&RunFilter::default()).await?.runs {
///     println!("{} {}", run.number, run.name);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Remote`] of the same kind as the error of the service, or of kind
/// [`Unavailable`](crate::ErrorKind::Unavailable).
#[derive(Clone, Debug)]
pub struct ManagementClient {
    endpoint: Endpoint,
}

impl ManagementClient {
    /// A run service whose management router is mounted at the endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.endpoint.request(method, path)
    }

    async fn get_json<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &(impl Serialize + Sync),
        doing: &'static str,
    ) -> Result<T> {
        self.endpoint.call_json(|| self.request(Method::GET, path).query(query)).await.map_err(remote(doing))
    }

    /// Sends a change that may be made twice.
    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &(impl Serialize + Sync),
        doing: &'static str,
    ) -> Result<T> {
        self.endpoint.call_json(|| self.request(method.clone(), path).json(body)).await.map_err(remote(doing))
    }

    /// Sends a change that may be made twice, and is answered by nothing.
    async fn tell(
        &self,
        method: Method,
        path: &[&str],
        body: &(impl Serialize + Sync),
        doing: &'static str,
    ) -> Result<()> {
        self.endpoint.call(|| self.request(method.clone(), path).json(body)).await.map(drop).map_err(remote(doing))
    }

    /// Sends a change that must not be made twice.
    async fn once<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
        doing: &'static str,
    ) -> Result<T> {
        let response = self.endpoint.open(self.request(Method::POST, path).json(body)).await.map_err(remote(doing))?;
        response.json().await.map_err(|error| Error::Remote {
            doing,
            kind: crate::ErrorKind::Unavailable,
            message: format!("the answer was lost while {doing}: look whether it was done before you try again"),
            source: error.without_url().into(),
        })
    }

    /// As [`RunService::create`](crate::RunService::create). Without an idempotency key it is tried once.
    pub async fn create(&self, new: NewRun) -> Result<Run> {
        let doing = "creating a run";
        let new = RunToCreate::from(new);
        match new.idempotency_key {
            Some(_) => self.change(Method::POST, &["runs"], &new, doing).await,
            None => self.once(&["runs"], &new, doing).await,
        }
    }

    /// As [`RunService::list`](crate::RunService::list).
    pub async fn list(&self, filter: &RunFilter) -> Result<RunPage> {
        self.get_json::<RunList>(&["runs"], &RunsQuery::of(filter), "listing runs").await?.try_into()
    }

    /// As [`RunService::get`](crate::RunService::get), but without the values of secrets.
    pub async fn get(&self, run: &RunId) -> Result<RunDetail> {
        Ok(self.get_json::<Detail>(&["runs", run.as_str()], &(), "reading a run").await?.into())
    }

    /// As [`RunService::find`](crate::RunService::find).
    pub async fn find(&self, root: &GroupPath, number: u64) -> Result<Run> {
        let query = NumberQuery { root: root.clone(), number };
        self.get_json(&["run-by-number"], &query, "reading a run").await
    }

    /// As [`RunService::run_config`](crate::RunService::run_config), but without the values of secrets.
    pub async fn run_config(&self, run: &RunId) -> Result<RunConfig> {
        self.get_json(&["runs", run.as_str(), "config"], &(), "reading the definition of a run").await
    }

    /// As [`RunService::stop`](crate::RunService::stop).
    pub async fn stop(&self, run: &RunId) -> Result<Run> {
        self.change(Method::POST, &["runs", run.as_str(), "stop"], &(), "stopping a run").await
    }

    /// As [`RunService::cancel`](crate::RunService::cancel).
    pub async fn cancel(&self, run: &RunId) -> Result<Run> {
        self.once(&["runs", run.as_str(), "cancel"], &(), "cancelling a run").await
    }

    /// As [`RunService::restart`](crate::RunService::restart). It is tried once.
    pub async fn restart(&self, run: &RunId, from: RestartPoint) -> Result<Run> {
        self.once(&["runs", run.as_str(), "restart"], &Restart { from }, "restarting a run").await
    }

    /// As [`RunService::delete`](crate::RunService::delete). It is tried once.
    pub async fn delete(&self, run: &RunId) -> Result<()> {
        let request = self.request(Method::DELETE, &["runs", run.as_str()]);
        self.endpoint.open(request).await.map(drop).map_err(remote("deleting a run"))
    }

    /// As [`RunService::set_pinned`](crate::RunService::set_pinned).
    pub async fn set_pinned(&self, run: &RunId, pinned: bool) -> Result<Run> {
        self.change(Method::PUT, &["runs", run.as_str(), "pin"], &Pin { pinned }, "pinning a run").await
    }

    /// As [`RunService::executors`](crate::RunService::executors).
    pub async fn executors(&self) -> Result<Vec<ExecutorDetail>> {
        let listed: Executors = self.get_json(&["executors"], &(), "listing executors").await?;
        Ok(listed.executors)
    }

    /// As [`RunService::executor`](crate::RunService::executor).
    pub async fn executor(&self, executor: &ExecutorId) -> Result<ExecutorDetail> {
        self.get_json(&["executors", executor.as_str()], &(), "reading an executor").await
    }

    /// As [`RunService::drain_executor`](crate::RunService::drain_executor).
    pub async fn drain_executor(&self, executor: &ExecutorId) -> Result<()> {
        self.tell(Method::POST, &["executors", executor.as_str(), "drain"], &(), "draining an executor").await
    }

    /// As [`RunService::remove_executor`](crate::RunService::remove_executor), and its token is worthless. It is tried once.
    pub async fn remove_executor(&self, executor: &ExecutorId) -> Result<()> {
        let request = self.request(Method::DELETE, &["executors", executor.as_str()]);
        self.endpoint.open(request).await.map(drop).map_err(remote("removing an executor"))
    }

    /// As [`RunService::approve`](crate::RunService::approve).
    pub async fn approve(&self, run: &RunId, task: &TaskName, approver: Option<&str>) -> Result<Run> {
        let approval = Approval { task: task.clone(), approver: approver.map(str::to_owned) };
        self.once(&["runs", run.as_str(), "approvals"], &approval, "approving a task").await
    }

    /// As [`RunService::annotate`](crate::RunService::annotate).
    pub async fn annotate(&self, run: &RunId, task: &TaskName, patch: BTreeMap<String, Option<String>>) -> Result<Run> {
        let annotations = Annotations { task: task.clone(), annotations: patch };
        let path = ["runs", run.as_str(), "annotations"];
        self.change(Method::PATCH, &path, &annotations, "annotating a task").await
    }

    /// As [`RunService::log`](crate::RunService::log). A connection that breaks is taken up again at the offset that was
    /// reached; the stream ends with an error when that does not succeed.
    pub async fn log(&self, request: &LogRequest) -> Result<BoxStream<'static, Result<Bytes>>> {
        streams::log(self.endpoint.clone(), request.clone()).await
    }

    /// As [`RunService::log_page`](crate::RunService::log_page), of at most 10,000 lines. What is no UTF-8 is replaced.
    pub async fn log_page(&self, log: &LogRef, place: LogPlace, limit: usize) -> Result<LogPage> {
        let LogRef { run, task, attempt, step } = log.clone();
        let first = match place {
            LogPlace::From(first) => Some(first),
            LogPlace::Last => None,
        };
        let query = LinesQuery { task, step, attempt, first, limit: Some(limit) };
        let page: Lines =
            self.get_json(&["runs", run.as_str(), "logs", "lines"], &query, "reading lines of a log").await?;
        Ok(page.into())
    }

    /// As [`RunService::events`](crate::RunService::events). A connection that breaks is taken up again after the event
    /// that was seen last; the stream ends with an error when that does not succeed.
    pub fn events(&self, after: EventSequence) -> BoxStream<'static, Result<SequencedEvent>> {
        streams::events(self.endpoint.clone(), after)
    }

    /// As [`RunService::now`](crate::RunService::now).
    pub async fn now(&self) -> Result<EventSequence> {
        let now: Now = self.get_json(&["now"], &(), "asking for the newest event").await?;
        Ok(now.sequence.parse()?)
    }

    /// What a process of the service has done, by name. As [`RunService::metrics`](crate::RunService::metrics).
    pub async fn metrics(&self) -> Result<BTreeMap<String, u64>> {
        let Counted(counted) = self.get_json(&["metrics"], &(), "reading metrics").await?;
        Ok(counted)
    }

    /// As [`RunService::revoke_executor`](crate::RunService::revoke_executor).
    pub async fn revoke_executor(&self, executor: &ExecutorId) -> Result<()> {
        let path = ["executors", executor.as_str(), "revoke"];
        self.tell(Method::POST, &path, &(), "revoking the token of an executor").await
    }

    /// As [`RunService::join_tokens`](crate::RunService::join_tokens).
    pub async fn join_tokens(&self) -> Result<Vec<JoinToken>> {
        let listed: JoinTokens = self.get_json(&["join-tokens"], &(), "listing join tokens").await?;
        Ok(listed.join_tokens)
    }

    /// As [`RunService::create_join_token`](crate::RunService::create_join_token).
    pub async fn create_join_token(&self, new: NewJoinToken) -> Result<CreatedJoinToken> {
        self.once(&["join-tokens"], &new, "making a join token").await
    }

    /// As [`RunService::delete_join_token`](crate::RunService::delete_join_token).
    ///
    /// # Panics
    /// If `id` is `.` or `..`, which none is.
    pub async fn delete_join_token(&self, id: &str) -> Result<()> {
        let request = self.request(Method::DELETE, &["join-tokens", id]);
        self.endpoint.open(request).await.map(drop).map_err(remote("deleting a join token"))
    }

    /// Everything that the database holds, where the server offers that. It is whole if it ends with a trailer, which an
    /// import checks.
    pub async fn export(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        streams::export(&self.endpoint).await
    }

    /// Takes in what [`export`](Self::export) gave, wholly or not at all: into a database that is in maintenance, and
    /// empty. Returns how many entries there were.
    pub async fn import(&self, export: BoxStream<'static, Result<Bytes>>) -> Result<u64> {
        streams::import(&self.endpoint, export).await
    }

    /// Refuses every change of the database, in every process, until it is ended.
    pub async fn enter_maintenance(&self, reason: &str) -> Result<()> {
        let doing = "beginning maintenance";
        let maintenance = Maintenance { reason: reason.to_owned() };
        let request = self.request(Method::PUT, &["data", "maintenance"]).json(&maintenance);
        self.endpoint.open(request).await.map(drop).map_err(remote(doing))
    }

    /// Ends maintenance, whoever began it.
    pub async fn leave_maintenance(&self) -> Result<()> {
        self.tell(Method::DELETE, &["data", "maintenance"], &(), "ending maintenance").await
    }
}
