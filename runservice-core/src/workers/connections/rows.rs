//! What do the rows say of connections? A fold of the stream of changes.

use std::collections::BTreeMap;

use futures::{TryStreamExt, stream::BoxStream};
use runyard_datamanager::{Committed, DataManager, DataManagerExt, KeyRange, Position};
use runyard_executor_core::contract::{ExecutorId, ExecutorStatus};

use crate::{Result, layout::EXECUTORS, process::ProcessId, rows::ExecutorRow};

/// What a row says of an executor's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::workers) struct Connection {
    pub(in crate::workers) epoch: u64,
    pub(in crate::workers) process: Option<ProcessId>,
    pub(in crate::workers) silent: bool,
    /// The group whose executors see each other.
    pub(in crate::workers) group: String,
    pub(in crate::workers) siblings: Vec<ExecutorId>,
    /// Whether it may be forgotten when nobody sees it.
    pub(in crate::workers) dynamic: bool,
}

impl Connection {
    /// Whether it is connected and heard of.
    pub(in crate::workers) fn is_here(&self) -> bool {
        self.process.is_some() && !self.silent
    }
}

/// The connections of all executors.
pub(in crate::workers) type Connections = BTreeMap<ExecutorId, Connection>;

/// The rows, as they change.
pub(in crate::workers) struct Rows {
    pub(in crate::workers) connections: Connections,
    /// The last transaction that was folded.
    pub(in crate::workers) seen: Position,
    changes: BoxStream<'static, runyard_datamanager::Result<Committed>>,
}

impl Rows {
    /// Reads them, and follows them from there.
    pub(in crate::workers) async fn load(data: &dyn DataManager) -> Result<Self> {
        let at = data.snapshot();
        let rows = data.read_all(&at, &EXECUTORS, KeyRange::all()).await?;
        let connections = rows.into_iter().map(|(_, row)| of_row(row)).collect();
        Ok(Self { connections, seen: at.position(), changes: data.follow(at.position()) })
    }

    /// Waits until a row changes; false if nothing changes any more. It can be dropped and called again.
    pub(in crate::workers) async fn changed(&mut self) -> Result<bool> {
        loop {
            match self.next().await? {
                Some(false) => {}
                Some(true) => return Ok(true),
                None => return Ok(false),
            }
        }
    }

    /// Waits until a transaction has been folded; false if nothing comes any more.
    pub(in crate::workers) async fn reach(&mut self, position: Position) -> Result<bool> {
        while self.seen < position {
            if self.next().await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Folds the next transaction; whether a row changed.
    async fn next(&mut self) -> Result<Option<bool>> {
        let Some(committed) = self.changes.try_next().await? else { return Ok(None) };
        let mut changed = false;
        for change in committed.changes.iter().filter(|change| change.collection == EXECUTORS.name()) {
            changed = true;
            match &change.value {
                Some(value) => {
                    let (id, connection) = of_row(EXECUTORS.decode(&change.key, value)?);
                    self.connections.insert(id, connection);
                }
                None => self.connections.retain(|id, _| id.as_str().as_bytes() != change.key),
            }
        }
        self.seen = committed.position;
        Ok(Some(changed))
    }
}

fn of_row(row: ExecutorRow) -> (ExecutorId, Connection) {
    let ExecutorRow { epoch, process, silent, status, .. } = row;
    let ExecutorStatus { id, group, siblings, dynamic, .. } = status;
    (id, Connection { epoch, process, silent, group, siblings, dynamic })
}
