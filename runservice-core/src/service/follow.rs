//! How is a log followed that is written through another process? Through that one, wherever it moves, and to its end.
//!
//! What is acknowledged is stored, and the end of a log is a row, so every process knows how a log ends. While it grows,
//! only the process knows of it to which its executor is connected; the row of the executor names it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use runyard_datamanager::{Change, Committed, DataManagerExt};

use super::{Core, LogRef, LogRequest};
use crate::{
    Error, Result,
    layout::{self, EXECUTORS, TASKS},
    peers::Peers,
};

/// Who is asked for the rest of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Here,
    /// The process of this name.
    Peer(String),
}

struct Follow {
    core: Arc<Core>,
    peers: Arc<dyn Peers>,
    request: LogRequest,
    source: Source,
    bytes: BoxStream<'static, Result<Bytes>>,
    changes: BoxStream<'static, runyard_datamanager::Result<Committed>>,
    /// What the keys of the tasks of its run begin with.
    tasks: String,
}

/// Follows a log that grows, through whichever process it is written.
pub(super) async fn follow(
    core: Arc<Core>,
    peers: Arc<dyn Peers>,
    request: LogRequest,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let changes = core.data.follow(core.data.snapshot().position());
    let bytes = core.log_here(&request).await?;
    let tasks = layout::tasks_prefix(&request.log.run);
    let mut follow = Follow { core, peers, request, source: Source::Here, bytes, changes, tasks };
    follow.turn_to_the_writer().await?;
    let pieces = stream::try_unfold(follow, async |mut follow| Ok(follow.next().await?.map(|bytes| (bytes, follow))));
    Ok(pieces.boxed())
}

impl Follow {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            tokio::select! {
                piece = self.bytes.next() => match piece {
                    Some(Ok(bytes)) => {
                        self.request.offset += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    // What is stored is whole, whatever a peer says of its end.
                    ended if self.source != Source::Here => {
                        if let Some(Err(error)) = ended {
                            tracing::debug!(%error, source = ?self.source, "a log is followed from here again");
                        }
                        self.turn_to(Source::Here).await?;
                    }
                    ended => return ended.transpose(),
                },
                moved = moved(&mut self.changes, &self.tasks) => {
                    if !moved? {
                        return Ok(None);
                    }
                    self.turn_to_the_writer().await?;
                }
            }
        }
    }

    async fn turn_to_the_writer(&mut self) -> Result<()> {
        let writer = self.core.writer_of(&self.request.log).await?;
        let source = writer.map_or(Source::Here, Source::Peer);
        if source != self.source { self.turn_to(source).await } else { Ok(()) }
    }

    async fn turn_to(&mut self, source: Source) -> Result<()> {
        self.source = source;
        if let Source::Peer(name) = &self.source {
            match self.peers.log(name, &self.request).await {
                Ok(bytes) => {
                    self.bytes = bytes;
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(%error, process = name, "a process cannot be asked for a log that it writes");
                    self.source = Source::Here;
                }
            }
        }
        self.bytes = self.core.log_here(&self.request).await?;
        Ok(())
    }
}

/// Waits until an executor, or a task of the run, is perhaps not where it was; or says that there will be no more changes.
async fn moved(changes: &mut BoxStream<'static, runyard_datamanager::Result<Committed>>, tasks: &str) -> Result<bool> {
    while let Some(committed) = changes.try_next().await? {
        let is_meant = |change: &Change| match &*change.collection {
            collection if collection == EXECUTORS.name() => true,
            collection => collection == TASKS.name() && change.key.starts_with(tasks.as_bytes()),
        };
        if committed.changes.iter().any(is_meant) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Core {
    /// The name of the other process to which the executor is connected that writes a log; none: it is this one, or nobody
    /// writes it.
    async fn writer_of(&self, log: &LogRef) -> Result<Option<String>> {
        let at = self.data.snapshot();
        let task = match self.find_task(&at, log).await {
            // It was deleted meanwhile.
            Err(Error::NotExist { .. }) => return Ok(None),
            found => found?,
        };
        let is_current = log.attempt.is_none_or(|attempt| attempt == task.attempt);
        let Some(assignment) = task.assignment.filter(|_| is_current) else { return Ok(None) };
        let row = self.data.read(&at, &EXECUTORS, assignment.executor.as_str()).await?;
        let elsewhere = row.filter(|row| row.process.as_ref().is_some_and(|process| *process != self.process.id));
        Ok(elsewhere.and_then(|row| row.process_name))
    }
}
