//! Which of the waiting transactions go into the next batch?
//!
//! Pure: a transaction that conflicts with the visible state is refused; one that conflicts with another of the same
//! batch waits for that one's outcome, since a batch that is never written must not fail anybody.

use crate::{Error, Position, ReadSet, Result, validate::WriteHistory, wal::queue::Pending};

/// What becomes of transactions that wait.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The next batch; each transaction is placed in it.
    pub(crate) accepted: Vec<Pending>,
    /// To be looked at again when the batch has its outcome.
    pub(crate) deferred: Vec<Pending>,
    /// To be answered with an error.
    pub(crate) refused: Vec<(Pending, Error)>,
}

/// Plans the batch with number `lsn`; `check` is against everything visible.
pub(crate) fn plan(lsn: u64, candidates: Vec<Pending>, check: impl Fn(&ReadSet) -> Result<()>) -> Plan {
    let mut plan = Plan::default();
    let mut written = WriteHistory::new(usize::MAX);
    let alone = candidates.len() == 1;
    for mut pending in candidates {
        if let Err(error) = check(&pending.reads) {
            plan.refused.push((pending, error));
            continue;
        }
        if written.check(&pending.reads).is_err() {
            plan.deferred.push(pending);
            continue;
        }
        pending.logged.place(Position { lsn, index: plan.accepted.len() as u32 });
        if !alone {
            written.record(&pending.logged);
        }
        plan.accepted.push(pending);
    }
    plan
}
