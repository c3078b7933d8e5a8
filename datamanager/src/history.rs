//! Which transactions are so old that a read before them cannot be checked any more?
//!
//! Counted in transactions and never timed, so an idle store does not expire anybody's reads. What the younger ones
//! wrote is known from the positions of entries and tombstones, in memory and in data files: a tombstone may only be
//! dropped once it is [forgotten](History::forgotten).

use std::collections::VecDeque;

use crate::Position;

/// How many transactions a store remembers the writes of.
pub(crate) const TRANSACTIONS_KEPT: u64 = 1_000_000;

/// How finely they are counted: a few more are remembered than asked for.
const MARKS: u64 = 256;

/// How many transactions there were, and where every so many of them are. Part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// How many transactions there are in all.
    pub(crate) transactions: u64,
    /// Some of them, in order: how many there were up to and with the one at the position.
    pub(crate) marks: VecDeque<(u64, Position)>,
    /// The last transaction that is forgotten: reads at an older position cannot be checked.
    pub(crate) forgotten: Position,
}

impl History {
    /// Counts a transaction that is after all others, and forgets what is more than `kept` before it.
    pub(crate) fn record(&mut self, position: Position, kept: u64) {
        self.transactions += 1;
        let stride = (kept / MARKS).max(1);
        if self.transactions.is_multiple_of(stride) {
            self.marks.push_back((self.transactions, position));
        }
        while let Some((count, position)) = self.marks.front().copied()
            && self.transactions - count >= kept
        {
            self.forgotten = self.forgotten.max(position);
            self.marks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_as_many_transactions_are_remembered_as_asked_for_and_hardly_more() {
        for kept in [1, 10, 1_000, 10_000] {
            let mut history = History::default();
            for lsn in 1..=3 * kept {
                history.record(Position { lsn, index: 0 }, kept);
                let remembered = lsn - history.forgotten.lsn;
                assert!(remembered >= kept.min(lsn), "{remembered} of {lsn}");
                assert!(remembered <= kept + kept / MARKS + 1, "{remembered} of {lsn}");
                assert!(history.marks.len() as u64 <= 2 * MARKS);
            }
        }
    }
}
