//! Was something that a transaction read changed meanwhile?
//!
//! The newest position of each key says when it was written last; there is no other write history. What was written
//! after the checkpoint is in memory and checked here at once. A read before the checkpoint must be checked against
//! its files first, which takes time: that is for the task of the caller, never for the committer.

use bytes::Bytes;

use crate::{
    Error, KeyRange, Position, ReadSet, Result,
    base::Base,
    broken::{self, Broken},
    store::{State, recent::Recent, view::View},
    system::GROUPS,
};

/// Up to how many changes since the read are walked to check ranges; past that, the keys of the ranges are.
const WALKED_MAX: usize = 1024;

/// What becomes of a transaction.
#[derive(Debug)]
pub(crate) enum Check {
    /// Nothing that it read was changed.
    Valid,
    /// It read before what the checkpoint covers, and must be checked against that first.
    BelowBase,
    /// It cannot commit.
    Refused(Error),
}

impl State {
    pub(super) fn check(&self, reads: &ReadSet) -> Check {
        if reads.is_empty() {
            return Check::Valid;
        }
        if reads.position > self.position {
            let reason = format!("it read at position {}, which does not exist yet", reads.position);
            return Check::Refused(Error::Refused { reason });
        }
        if let Err(expired) = self.check_remembered(reads) {
            return Check::Refused(expired);
        }
        if reads.position < self.view.base.position() {
            return Check::BelowBase;
        }
        match changed(&self.view, &self.recent, reads) {
            Some(what) => Check::Refused(Error::Conflict { what }),
            None => Check::Valid,
        }
    }

    pub(super) fn check_remembered(&self, reads: &ReadSet) -> Result<()> {
        let oldest = self.history.forgotten;
        if reads.position < oldest {
            return Err(Error::PositionExpired { position: reads.position, oldest });
        }
        Ok(())
    }
}

/// What of a read set was changed in memory after its position.
fn changed(view: &View, recent: &Recent, reads: &ReadSet) -> Option<String> {
    let read_at = reads.position;
    if view.tables().iter().all(|table| table.read().newest() <= read_at) {
        return None;
    }
    let changed = |collection: &str, key: &[u8]| view.written_at(collection, key).is_some_and(|last| last > read_at);
    for (collection, key) in reads.keys.iter().filter(|_| !broken::is(Broken::KeysUnchecked)) {
        if changed(collection, key) {
            return Some(name_of_key(collection, key));
        }
    }
    for group in reads.groups.iter().filter(|_| !broken::is(Broken::GroupsUnchecked)) {
        if changed(GROUPS, group.as_bytes()) {
            return Some(name_of_group(group));
        }
    }
    if reads.ranges.is_empty() || broken::is(Broken::RangesUnchecked) {
        return None;
    }
    let walked = recent.changes_after(read_at, WALKED_MAX);
    let changed = |(collection, range): &&(String, KeyRange)| match &walked {
        Some(changes) => changes.iter().any(|change| change.collection == *collection && range.contains(&change.key)),
        None => view.written_after(collection, range, read_at),
    };
    reads.ranges.iter().find(changed).map(|(collection, _)| name_of_range(collection))
}

/// Refuses a read set of which something was changed after its position and until the checkpoint.
pub(super) async fn check_base(base: &Base, reads: &ReadSet) -> Result<()> {
    let changed = async |collection: &str, key: &[u8]| -> Result<bool> {
        Ok(base.get(collection, key).await?.is_some_and(|entry| entry.position > reads.position))
    };
    let conflict = |what: String| Err(Error::Conflict { what });
    for (collection, key) in &reads.keys {
        if changed(collection, key).await? {
            return conflict(name_of_key(collection, key));
        }
    }
    for group in &reads.groups {
        if changed(GROUPS, group.as_bytes()).await? {
            return conflict(name_of_group(group));
        }
    }
    for (collection, range) in &reads.ranges {
        if !range.is_empty() && base.written_after(collection, range, reads.position).await? {
            return conflict(name_of_range(collection));
        }
    }
    Ok(())
}

fn name_of_key(collection: &str, key: &Bytes) -> String {
    format!("entry `{}` of collection `{collection}`", key.escape_ascii())
}

fn name_of_group(group: &str) -> String {
    format!("change group `{group}`")
}

fn name_of_range(collection: &str) -> String {
    format!("a scanned range of collection `{collection}`")
}

/// An error of reading a base, where `current` is the newest one: what an older one misses was cleaned away.
pub(super) fn explain(error: Error, read: &Base, current: &Base, position: Position) -> Error {
    let Error::Storage { source, .. } = &error else { return error };
    if !source.is_not_found() {
        return error;
    }
    if read.manifest().number < current.manifest().number {
        return Error::PositionExpired { position, oldest: current.position() };
    }
    let object = source.key().map(ToString::to_string).unwrap_or_default();
    Error::Corrupt { object, reason: "it is missing, though the newest checkpoint names it".to_owned() }
}
