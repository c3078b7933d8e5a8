//! What is said over HTTP, and where? Golden files freeze it; both sides share these types.
//!
//! | call | request | answer |
//! |---|---|---|
//! | `POST join` | [`Join`] | [`Joined`] |
//! | `POST register` | [`Register`] | lines of [`Line`] |
//! | `GET commands` | query [`Commands`] | lines of [`Line`] |
//! | `POST heartbeat` | [`Heartbeat`] | |
//! | `POST siblings` | [`SiblingsSeen`] | |
//! | `POST accept`, `POST check` | [`Fence`] | |
//! | `POST report` | [`TaskReport`](crate::contract::TaskReport) | |
//! | `PUT log` | query [`LogQuery`], the bytes | [`Stored`] |
//! | `PUT workspace`, `GET workspace` | query [`WorkspaceQuery`] | [frames](super::frames) |
//! | `POST cache/exists` | [`CacheAsked`] | [`CacheExists`] |
//! | `PUT cache` | query [`CacheQuery`], [frames](super::frames) | [`CacheStored`] |
//! | `POST cache/find` | [`CachesAsked`] | 204, or a line with [`CacheFound`] and then [frames](super::frames) |
//!
//! Whatever fails is answered with a [`Problem`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contract::{CachePut, Command, ExecutorId, ExecutorStatus, Fence, Siblings, StepRef, TaskId};

/// How often the run service says something while there is nothing to say: often enough that what stands between
/// notices no idle connection, and that silence is noticed soon. Nothing else tells that the other side is gone.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The most bytes of a JSON body.
pub const JSON_BYTES_MAX: usize = 8 << 20;

/// The most bytes of one append to a log.
pub const APPEND_BYTES_MAX: usize = 8 << 20;

/// The most bytes of one line of a stream.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Asks for a token of an executor's own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// What lets an executor join.
    pub join_token: String,
    /// Who joins.
    pub executor: ExecutorId,
}

/// An executor's own token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// To be shown with every call.
    pub token: String,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("executor", &self.executor).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").finish_non_exhaustive()
    }
}

/// Registers an executor. A network may deliver a call after its successor: then it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Random, one for each client.
    pub client: String,
    /// Grows with each call of the client.
    pub number: u64,
    /// What the executor says about itself.
    pub status: ExecutorStatus,
}

/// One line of what an executor is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// The first line: the executor is connected.
    Connected {
        /// The epoch of its registration.
        epoch: u64,
    },
    /// What it is told.
    Command {
        /// That.
        command: Command,
    },
    /// There is nothing to say.
    Alive,
    /// The last line: a newer registration took the place of this one. An end without it is a broken connection.
    Replaced,
}

/// Whose commands to go on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// The executor.
    pub executor: ExecutorId,
    /// The epoch of its registration.
    pub epoch: u64,
}

/// An executor is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Which one.
    pub executor: ExecutorId,
    /// The epoch of its registration.
    pub epoch: u64,
}

/// What an executor sees of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiblingsSeen {
    /// Which one sees it.
    pub executor: ExecutorId,
    /// The epoch of its registration.
    pub epoch: u64,
    /// What it sees.
    pub siblings: Siblings,
}

/// A query: which log, who speaks, and where the bytes begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// The task.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: u32,
    /// The executor that speaks.
    pub executor: ExecutorId,
    /// The epoch of its registration.
    pub epoch: u64,
    /// The setup or the step.
    pub step: StepRef,
    /// Where the bytes begin in the log.
    pub offset: u64,
}

/// How much of a log is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Bytes.
    pub stored: u64,
}

/// A query: which workspace archive, and who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceQuery {
    /// The task that speaks.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: u32,
    /// The executor that speaks.
    pub executor: ExecutorId,
    /// The epoch of its registration.
    pub epoch: u64,
    /// The task that stored the archive, when it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<TaskId>,
    /// The step that stores or stored it.
    pub step: u32,
}

/// A query: which cache entry, and who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheQuery {
    /// The task that speaks.
    pub task: TaskId,
    /// Its attempt.
    pub attempt: u32,
    /// The executor that speaks.
    pub executor: ExecutorId,
    /// The epoch of its registration.
    pub epoch: u64,
    /// The key of the entry.
    pub key: String,
}

/// Asks whether a cache has an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheAsked {
    /// Who speaks.
    pub fence: Fence,
    /// The key of the entry.
    pub key: String,
}

/// Asks for the first cache entry that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachesAsked {
    /// Who speaks.
    pub fence: Fence,
    /// The keys, in order.
    pub keys: Vec<String>,
}

/// Whether a cache has an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheExists {
    /// Whether.
    pub exists: bool,
}

/// What became of a cache entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStored {
    /// Whether it was stored; otherwise the key has an entry.
    pub stored: bool,
}

/// The line before a cache entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheFound {
    /// The key of the entry.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

impl From<CachePut> for CacheStored {
    fn from(put: CachePut) -> Self {
        Self { stored: put == CachePut::Stored }
    }
}

impl From<CacheStored> for CachePut {
    fn from(put: CacheStored) -> Self {
        if put.stored { Self::Stored } else { Self::Exists }
    }
}

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request failed (RFC 9457). `code` is what a program acts on: it never changes its meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
pub struct Problem {
    /// The code as a URI, `urn:runyard:problem:<code>`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What a person calls this class of problems.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What a program acts on.
    pub code: String,
    /// What a person reads: what failed, on what, and what to do.
    #[serde(default)]
    pub detail: String,
    /// Finds the request in the log of the server, where that keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// What the code is about.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
}

/// The particulars of a [`Problem`], by its code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Facts {
    /// What does not exist, as a phrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Its attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The executor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorId>,
    /// The setup or the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepRef>,
    /// The bytes that are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// The offset that was offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The sequence of the oldest event that can still be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
}

impl Facts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Problem {
    /// A problem of a class.
    pub fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:runyard:problem:{code}"),
            title: title.to_owned(),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            trace_id: None,
            facts: Facts::default(),
        }
    }

    /// The same, with particulars.
    #[must_use]
    pub fn with(mut self, facts: Facts) -> Self {
        self.facts = facts;
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = if self.detail.is_empty() { &self.title } else { &self.detail };
        write!(f, "the server answered {} ({}): {text}", self.status, self.code)?;
        match &self.trace_id {
            Some(id) => write!(f, " (trace id {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests;
