//! What does the log say that a store holds?
//!
//! The simplest store there is: the log, replayed into ordered maps.

use std::collections::BTreeMap;

use bytes::Bytes;
use runyard_datamanager::{Direction, KeyRange, Page, Position, Scan};

use crate::{
    batch::{Logged, decode},
    world::{Read, SYSTEM},
};

/// Everything that a store holds at some position.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) collections: BTreeMap<String, BTreeMap<Bytes, Bytes>>,
}

impl Model {
    pub(crate) fn apply(&mut self, logged: &Logged) {
        for change in &logged.changes {
            let entries = self.collections.entry(change.collection.clone()).or_default();
            match &change.value {
                Some(value) => entries.insert(change.key.clone(), value.clone()),
                None => entries.remove(&change.key),
            };
        }
    }

    /// What is wrong with an answer, if anything is.
    pub(crate) fn contradicts(&self, read: &Read) -> Option<String> {
        match read {
            Read::Key(collection, key, value) => {
                let holds = self.collections.get(collection).and_then(|entries| entries.get(key));
                (holds != value.as_ref()).then(|| format!("{collection}/{key:?} is {holds:?}, not {value:?}"))
            }
            Read::Range(scan, page) => {
                let holds = self.scan(scan);
                // A full page of a closure does not say whether there are more.
                let is_right =
                    holds.entries == page.entries && (holds.more == page.more || page.entries.len() == scan.limit);
                (!is_right).then(|| format!("{scan:?} is {holds:?}, not {page:?}"))
            }
        }
    }

    fn scan(&self, scan: &Scan) -> Page {
        let Scan { collection, range, direction, limit } = scan;
        let Some(entries) = self.collections.get(collection) else { return Page::default() };
        let mut inside: Vec<_> = entries
            .iter()
            .filter(|(key, _)| range.contains(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if *direction == Direction::Descending {
            inside.reverse();
        }
        let more = inside.len() > *limit;
        inside.truncate(*limit);
        Page { entries: inside, more }
    }

    /// Its entries, without collections that are empty.
    pub(crate) fn content(&self) -> BTreeMap<String, Vec<(Bytes, Bytes)>> {
        self.collections
            .iter()
            .filter(|(name, entries)| *name != SYSTEM && !entries.is_empty())
            .map(|(name, entries)| (name.clone(), entries.clone().into_iter().collect()))
            .collect()
    }
}

/// The transactions of a log, in order; the error says what is wrong with it.
pub(crate) fn transactions(log: &BTreeMap<u64, Bytes>) -> Result<Vec<Logged>, String> {
    let mut transactions = Vec::new();
    let mut previous: Option<Vec<u8>> = None;
    for (expected, (lsn, bytes)) in (1..).zip(log) {
        if *lsn != expected {
            return Err(format!("the log has no batch {expected}"));
        }
        let batch = decode(*lsn, bytes).map_err(|damage| format!("batch {lsn}: {damage}"))?;
        if previous.is_some_and(|previous| previous != batch.previous) {
            return Err(format!("batch {lsn} does not follow on the one before it"));
        }
        previous = Some(batch.hash);
        transactions.extend(batch.transactions);
    }
    Ok(transactions)
}

/// Whether a transaction writes an entry of a range.
pub(crate) fn writes_in(logged: &Logged, collection: &str, range: &KeyRange) -> bool {
    logged.changes.iter().any(|change| change.collection == collection && range.contains(&change.key))
}

/// The transactions after `after` and before `before`.
pub(crate) fn between(transactions: &[Logged], after: Position, before: Position) -> &[Logged] {
    let start = transactions.partition_point(|logged| logged.position <= after);
    let end = transactions.partition_point(|logged| logged.position < before);
    &transactions[start.min(end)..end]
}
