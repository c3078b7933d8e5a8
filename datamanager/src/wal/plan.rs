//! Which of the waiting transactions go into the next batch?
//!
//! Pure: a transaction that conflicts with the visible state is refused; one that conflicts with another of the same
//! batch waits for that one's outcome, since a batch that is never written must not fail anybody; one that read before
//! the checkpoint is handed back, because checking it takes reading files.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{
    Error, Position, ReadSet,
    broken::{self, Broken},
    record::Logged,
    store::Check,
    system,
    wal::queue::Pending,
};

/// What becomes of transactions that wait.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The next batch; each transaction is placed in it.
    pub(crate) accepted: Vec<Pending>,
    /// To be looked at again when the batch has its outcome.
    pub(crate) deferred: Vec<Pending>,
    /// To be checked against the checkpoint by their callers, and queued again.
    pub(crate) below_base: Vec<Pending>,
    /// To be answered with an error.
    pub(crate) refused: Vec<(Pending, Error)>,
}

/// What the transactions of a batch write.
#[derive(Debug, Default)]
struct Written {
    /// By collection.
    keys: BTreeMap<String, BTreeSet<Bytes>>,
    groups: BTreeSet<String>,
}

/// Plans the batch with number `lsn`; `check` is against everything visible.
pub(crate) fn plan(lsn: u64, candidates: Vec<Pending>, check: impl Fn(&Pending) -> Check) -> Plan {
    let mut plan = Plan::default();
    let mut written = Written::default();
    // Only what comes before it can conflict with it in the batch.
    let last_reader = candidates.iter().rposition(|pending| !pending.reads.is_empty()).unwrap_or(0);
    let mut closed = false;
    for (index, mut pending) in candidates.into_iter().enumerate() {
        match check(&pending) {
            Check::Refused(error) => {
                plan.refused.push((pending, error));
                continue;
            }
            Check::BelowBase => {
                plan.below_base.push(pending);
                continue;
            }
            Check::Valid
                if closed || written.touches(&pending.reads) && !broken::is(Broken::ConflictsInBatchAccepted) =>
            {
                plan.deferred.push(pending);
                continue;
            }
            Check::Valid => {}
        }
        let position = Position { lsn, index: plan.accepted.len() as u32 };
        if broken::is(Broken::AppendsNotPlacedAgain) && pending.logged.committed.position != Position::ZERO {
            pending.logged.committed.position = position;
        } else {
            pending.logged.place(position);
        }
        if index < last_reader {
            written.add(&pending.logged);
        }
        // Whether what comes after may be committed is known once this is.
        closed = system::changes_maintenance(&pending.logged);
        plan.accepted.push(pending);
    }
    plan
}

impl Written {
    fn add(&mut self, logged: &Logged) {
        for change in &logged.committed.changes {
            // Most transactions write to the same few collections.
            match self.keys.get_mut(&change.collection) {
                Some(keys) => drop(keys.insert(change.key.clone())),
                None => drop(self.keys.insert(change.collection.clone(), BTreeSet::from([change.key.clone()]))),
            }
        }
        self.groups.extend(logged.groups.iter().cloned());
    }

    fn touches(&self, reads: &ReadSet) -> bool {
        let keys_of = |collection: &str| self.keys.get(collection);
        reads.keys.iter().any(|(collection, key)| keys_of(collection).is_some_and(|keys| keys.contains(key)))
            || reads.groups.iter().any(|group| self.groups.contains(group))
            || reads.ranges.iter().any(|(collection, range)| {
                let keys = keys_of(collection).filter(|_| !range.is_empty());
                keys.is_some_and(|keys| keys.range::<[u8], _>(range.as_slices()).next().is_some())
            })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{
        Action,
        record::{Logged, encode_payload},
        wal::queue::Queue,
    };

    /// A transaction that reads and then writes these keys.
    async fn pending(queue: &Queue, reads: &[&'static str], writes: &[&'static str]) {
        let keys = reads.iter().map(|key| ("c".to_owned(), (*key).into())).collect();
        let reads = ReadSet { position: Position { lsn: 4, index: 0 }, keys, ..ReadSet::default() };
        let delete = |key: &&'static str| Action::Delete { collection: "c".into(), key: (*key).into() };
        let actions: Vec<_> = writes.iter().map(delete).collect();
        let payload = encode_payload(&crate::Transaction { reads: reads.clone(), actions: actions.clone() });
        let logged = Logged::new(Position::ZERO, Vec::new(), actions);
        queue.push((reads, logged, payload), Instant::now()).await.unwrap();
    }

    fn keys(pending: &Pending) -> Vec<&[u8]> {
        pending.logged.committed.changes.iter().map(|change| &change.key[..]).collect()
    }

    #[tokio::test]
    async fn a_conflict_inside_the_batch_waits_and_one_with_what_is_visible_is_refused() {
        let queue = Queue::new(1 << 20);
        pending(&queue, &[], &["a"]).await;
        pending(&queue, &["a"], &["b"]).await;
        pending(&queue, &["stale"], &["c"]).await;
        pending(&queue, &["b"], &["d"]).await;
        pending(&queue, &["old"], &["e"]).await;
        let check = |pending: &Pending| {
            let reads = &pending.reads;
            let stale = reads.keys.iter().any(|(_, key)| &key[..] == b"stale");
            let old = reads.keys.iter().any(|(_, key)| &key[..] == b"old");
            match (stale, old) {
                (true, _) => Check::Refused(Error::Conflict { what: "the entry".into() }),
                (_, true) => Check::BelowBase,
                _ => Check::Valid,
            }
        };
        let plan = plan(5, queue.take(1 << 20), check);
        // The second one waits for the first; what it would have written conflicts with nobody.
        assert_eq!(plan.accepted.iter().map(keys).collect::<Vec<_>>(), [vec![b"a"], vec![b"d"]]);
        assert_eq!(plan.deferred.iter().map(keys).collect::<Vec<_>>(), [vec![b"b"]]);
        assert_eq!(plan.below_base.iter().map(keys).collect::<Vec<_>>(), [vec![b"e"]]);
        assert_eq!(plan.refused.len(), 1);
        let places = plan.accepted.iter().map(|pending| pending.logged.committed.position);
        assert!(places.eq([Position { lsn: 5, index: 0 }, Position { lsn: 5, index: 1 }]));
    }

    #[tokio::test]
    async fn a_batch_takes_what_fits_in_the_order_of_arrival() {
        let queue = Queue::new(1 << 20);
        for key in ["a", "b", "c"] {
            pending(&queue, &[], &[key]).await;
        }
        let one = queue.take(1 << 20);
        let size = one[0].framed_bytes();
        queue.put_back(one);
        assert_eq!(queue.take(2 * size).iter().map(keys).collect::<Vec<_>>(), [vec![b"a"], vec![b"b"]]);
        assert!(queue.take(size - 1).is_empty());
        assert_eq!(queue.take(size).len(), 1);
    }
}
