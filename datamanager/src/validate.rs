//! Was something that a transaction read changed meanwhile?
//!
//! Pure: the keys and change groups that recent transactions wrote, against a read set. What is kept is counted in
//! transactions and never timed, so an idle store does not expire anybody's reads.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;

use crate::{
    Error, KeyRange, Position, ReadSet, Result,
    broken::{self, Broken},
    record::Logged,
};

/// How many transactions a store remembers the writes of.
pub(crate) const TRANSACTIONS_KEPT: usize = 1_000_000;

/// Up to how many transactions since the read are walked to check a range; past that, the range's keys are.
const WALKED_MAX: usize = 256;

/// What recent transactions wrote.
#[derive(Debug)]
pub(crate) struct WriteHistory {
    kept_max: usize,
    transactions: VecDeque<Writes>,
    names: HashMap<String, usize>,
    /// By number of the collection: the last write of each key.
    keys: Vec<BTreeMap<Bytes, Position>>,
    groups: HashMap<String, Position>,
    /// The last transaction that was forgotten: older reads cannot be checked.
    forgotten: Position,
}

#[derive(Debug)]
struct Writes {
    position: Position,
    keys: Box<[(usize, Bytes)]>,
    groups: Box<[String]>,
}

impl WriteHistory {
    /// An empty history that will hold `kept_max` transactions.
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            kept_max,
            transactions: VecDeque::new(),
            names: HashMap::new(),
            keys: Vec::new(),
            groups: HashMap::new(),
            forgotten: Position::ZERO,
        }
    }

    /// Refuses a read set of which something was written after its position.
    pub(crate) fn check(&self, reads: &ReadSet) -> Result<()> {
        if reads.is_empty() {
            return Ok(());
        }
        if reads.position < self.forgotten && !broken::is(Broken::ForgottenUnchecked) {
            return Err(Error::PositionExpired { position: reads.position, oldest: self.forgotten });
        }
        let since = self.transactions.partition_point(|writes| writes.position <= reads.position);
        if since == self.transactions.len() {
            return Ok(());
        }
        let conflict = |what: String| Err(Error::Conflict { what });
        for (collection, key) in reads.keys.iter().filter(|_| !broken::is(Broken::KeysUnchecked)) {
            if self.key_written_at(collection, key).is_some_and(|written| written > reads.position) {
                return conflict(format!("entry `{}` of collection `{collection}`", key.escape_ascii()));
            }
        }
        for group in reads.groups.iter().filter(|_| !broken::is(Broken::GroupsUnchecked)) {
            if self.groups.get(group).is_some_and(|written| *written > reads.position) {
                return conflict(format!("change group `{group}`"));
            }
        }
        for (collection, range) in reads.ranges.iter().filter(|_| !broken::is(Broken::RangesUnchecked)) {
            if self.range_written(collection, range, reads.position, since) {
                return conflict(format!("a scanned range of collection `{collection}`"));
            }
        }
        Ok(())
    }

    /// Remembers a transaction that is after all others.
    pub(crate) fn record(&mut self, logged: &Logged) {
        let position = logged.committed.position;
        let mut keys = Vec::with_capacity(logged.committed.changes.len());
        for change in &logged.committed.changes {
            if change.value.is_none() && broken::is(Broken::DeletesUnrecorded) {
                continue;
            }
            let number = self.number(&change.collection);
            self.keys[number].insert(change.key.clone(), position);
            keys.push((number, change.key.clone()));
        }
        for group in &logged.groups {
            self.groups.insert(group.clone(), position);
        }
        self.transactions.push_back(Writes {
            position,
            keys: keys.into_boxed_slice(),
            groups: logged.groups.clone().into_boxed_slice(),
        });
        if self.transactions.len() > self.kept_max {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.transactions.pop_front() else { return };
        self.forgotten = oldest.position;
        for (number, key) in &oldest.keys {
            if self.keys[*number].get(key) == Some(&oldest.position) {
                self.keys[*number].remove(key);
            }
        }
        for group in &oldest.groups {
            if self.groups.get(group) == Some(&oldest.position) {
                self.groups.remove(group);
            }
        }
    }

    fn number(&mut self, collection: &str) -> usize {
        if let Some(number) = self.names.get(collection) {
            return *number;
        }
        self.names.insert(collection.to_owned(), self.keys.len());
        self.keys.push(BTreeMap::new());
        self.keys.len() - 1
    }

    fn key_written_at(&self, collection: &str, key: &[u8]) -> Option<Position> {
        let number = self.names.get(collection)?;
        self.keys[*number].get(key).copied()
    }

    fn range_written(&self, collection: &str, range: &KeyRange, read_at: Position, since: usize) -> bool {
        let Some(number) = self.names.get(collection) else { return false };
        if range.is_empty() {
            return false;
        }
        if self.transactions.len() - since <= WALKED_MAX {
            let keys = self.transactions.range(since..).flat_map(|writes| &writes.keys);
            return keys.into_iter().any(|(written, key)| written == number && range.contains(key));
        }
        self.keys[*number].range::<[u8], _>(range.as_slices()).any(|(_, written)| *written > read_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;

    fn at(lsn: u64) -> Position {
        Position { lsn, index: 0 }
    }

    fn logged(lsn: u64, keys: &[&str], groups: &[&str]) -> Logged {
        let delete = |key: &&str| Action::Delete { collection: "c".into(), key: Bytes::from(key.to_string()) };
        let groups = groups.iter().map(|group| group.to_string()).collect();
        Logged::new(at(lsn), groups, keys.iter().map(delete).collect())
    }

    fn reads(lsn: u64) -> ReadSet {
        ReadSet { position: at(lsn), ..ReadSet::default() }
    }

    fn key(lsn: u64, key: &'static str) -> ReadSet {
        ReadSet { keys: vec![("c".into(), key.into())], ..reads(lsn) }
    }

    fn range(lsn: u64, range: KeyRange) -> ReadSet {
        ReadSet { ranges: vec![("c".into(), range)], ..reads(lsn) }
    }

    fn group(lsn: u64, group: &str) -> ReadSet {
        ReadSet { groups: vec![group.into()], ..reads(lsn) }
    }

    /// Whether the check of ranges walks transactions or keys must make no difference.
    fn histories() -> [WriteHistory; 2] {
        let mut walked = WriteHistory::new(usize::MAX);
        let mut by_key = WriteHistory::new(usize::MAX);
        for logged in [logged(5, &["a"], &["g"]), logged(7, &["b"], &[]), logged(9, &["a"], &[])] {
            walked.record(&logged);
            by_key.record(&logged);
        }
        for lsn in 0..=WALKED_MAX as u64 {
            by_key.record(&logged(10 + lsn, &["unrelated"], &[]));
        }
        [walked, by_key]
    }

    #[test]
    fn only_what_was_written_after_the_read_conflicts() {
        for history in histories() {
            for (reads, conflicts) in [
                (reads(0), false),
                (key(8, "a"), true),
                (key(9, "a"), false),
                (key(0, "absent"), false),
                (key(6, "b"), true),
                (key(7, "b"), false),
                (group(4, "g"), true),
                (group(5, "g"), false),
                (group(0, "other"), false),
                (range(6, KeyRange::prefix("b")), true),
                (range(7, KeyRange::prefix("b")), false),
                (range(8, KeyRange::all().before("b")), true),
                (range(8, KeyRange::all().before("a")), false),
                (range(0, KeyRange::prefix("c")), false),
                (range(0, KeyRange::all().after("z").before("a")), false),
            ] {
                assert_eq!(history.check(&reads).is_err(), conflicts, "{reads:?}");
            }
        }
    }

    #[test]
    fn a_read_older_than_the_history_is_expired_and_a_blind_write_never_is() {
        let mut history = WriteHistory::new(2);
        for lsn in 1..=4 {
            history.record(&logged(lsn, &["a"], &["g"]));
        }
        let error = history.check(&key(1, "b")).expect_err("forgotten");
        assert!(matches!(error, Error::PositionExpired { oldest, .. } if oldest == at(2)), "{error}");
        assert!(history.check(&key(2, "b")).is_ok());
        assert!(history.check(&key(3, "a")).is_err());
        assert!(history.check(&reads(0)).is_ok());
    }

    #[test]
    fn forgetting_a_transaction_leaves_later_writes_of_its_keys() {
        let mut history = WriteHistory::new(1);
        history.record(&logged(1, &["a", "b"], &["g", "h"]));
        history.record(&logged(2, &["a"], &["g"]));
        assert_eq!(history.keys[0].len(), 1);
        assert_eq!(history.groups.len(), 1);
        assert!(history.check(&key(1, "a")).is_err());
        assert!(history.check(&group(1, "g")).is_err());
    }
}
