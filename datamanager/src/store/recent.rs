//! Which batches are still in memory, for followers and for cheap checks?

use std::{collections::VecDeque, mem::size_of, sync::Arc};

use crate::{
    Change, Position,
    record::{Hash, Logged},
};

/// Transactions of the log that became visible in one step.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) lsn: u64,
    /// What the next batch of the log is chained to.
    pub(crate) hash: Hash,
    /// At least one, in order.
    pub(crate) transactions: Vec<Logged>,
    /// About what it takes in memory.
    bytes: usize,
}

/// The newest batches, without a gap.
#[derive(Debug)]
pub(super) struct Recent {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    bytes_max: usize,
}

/// Where the batch of a log number is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Here.
    Recent(Arc<Batch>),
    /// In the log alone.
    Older,
    /// Not written yet.
    Future,
}

impl Batch {
    pub(crate) fn new(lsn: u64, hash: Hash, transactions: Vec<Logged>) -> Self {
        let bytes = transactions.iter().map(bytes_of).sum::<usize>() + size_of::<Self>();
        Self { lsn, hash, transactions, bytes }
    }
}

/// Each of the allocations of a transaction counts, not only what it says: small ones are mostly that.
fn bytes_of(logged: &Logged) -> usize {
    let changes = logged.committed.changes.iter().map(|change| {
        let content = change.collection.len() + change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len);
        size_of::<Change>() + content
    });
    let groups = logged.groups.iter().map(|group| size_of::<String>() + group.len());
    size_of::<Logged>() + changes.sum::<usize>() + groups.sum::<usize>()
}

impl Recent {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The newest batch is kept whatever its size.
    pub(super) fn push(&mut self, batch: Batch) {
        self.bytes += batch.bytes;
        self.batches.push_back(Arc::new(batch));
        while self.bytes > self.bytes_max && self.batches.len() > 1 {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.bytes -= oldest.bytes;
        }
    }

    /// A batch; none if it is not here.
    pub(super) fn get(&self, lsn: u64) -> Option<&Arc<Batch>> {
        let oldest = self.batches.front()?.lsn;
        self.batches.get(usize::try_from(lsn.checked_sub(oldest)?).ok()?)
    }

    pub(super) fn newest(&self) -> Option<&Batch> {
        self.batches.back().map(|batch| &**batch)
    }

    /// The changes of all transactions after a position, if all of them are here and there are at most `count`.
    pub(super) fn changes_after(&self, position: Position, count: usize) -> Option<Vec<&Change>> {
        let mut changes = Vec::new();
        for batch in self.batches.iter().rev() {
            for logged in batch.transactions.iter().rev() {
                if logged.committed.position <= position {
                    return Some(changes);
                }
                if changes.len() + logged.committed.changes.len() > count {
                    return None;
                }
                changes.extend(&logged.committed.changes);
            }
        }
        // Where the log begins here, there was nothing before.
        self.batches.front().filter(|oldest| oldest.lsn == 1).map(|_| changes)
    }
}
