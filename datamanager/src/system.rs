//! What does a store keep for itself, beside what its users wrote?
//!
//! Entries of reserved collections, so that they become visible, durable, checkpointed and forgotten with everything
//! else. Users cannot name them, followers do not see them, and neither hashes nor exports contain them.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Change, Position, Result, Snapshot, Transaction, entry::Entry, record::Logged, store::Batch};

/// Change groups, by name. They have no value: what counts is the position at which each was taken last.
pub(crate) const GROUPS: &str = "\0groups";

/// Who leads, and whether the store is being maintained.
pub(crate) const SYSTEM: &str = "\0system";

/// Whether a collection is one of the store's own.
pub(crate) fn is_hidden(collection: &str) -> bool {
    collection.starts_with('\0')
}

/// The key of the reason why the store is being maintained.
pub(crate) const MAINTENANCE: &[u8] = b"maintenance";

/// The key of the number of the manifest that an import is about to publish. While nobody has made that manifest, nothing
/// may be committed: it would be lost if the import made it.
pub(crate) const IMPORT: &[u8] = b"import";

/// The key of who has the store to itself.
pub(crate) const OWNER: &[u8] = b"owner";

/// The key of who leads a role.
pub(crate) fn leader(role: &str) -> Bytes {
    format!("leader/{role}").into()
}

/// That a transaction on the store's own collections is made by the store.
///
/// Nobody outside this crate can make one.
#[derive(Clone, Copy, Debug)]
pub struct Internal(());

impl Internal {
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

/// A data manager's own collection.
#[async_trait]
pub trait System: Send + Sync {
    /// Reads an entry of it.
    async fn get_own(&self, at: &Snapshot, key: &[u8]) -> Result<Option<Bytes>>;

    /// Commits a transaction that may change it.
    async fn commit_own(&self, transaction: Transaction) -> Result<Position>;
}

/// The reason for maintenance that an entry holds.
pub(crate) fn maintenance(entry: Entry) -> Option<String> {
    entry.value.map(|value| reason(&value))
}

/// What the reason for maintenance is after a batch.
pub(crate) fn follow_maintenance(maintenance: &mut Option<String>, batch: &Batch) {
    let changes = batch.transactions.iter().flat_map(|logged| &logged.committed.changes);
    for change in changes.filter(|change| is_maintenance(&change.collection, &change.key)) {
        *maintenance = change.value.as_deref().map(reason);
    }
}

/// Whether a transaction begins or ends maintenance, or is a part of it.
pub(crate) fn changes_maintenance(logged: &Logged) -> bool {
    let is_import = |change: &Change| change.collection == SYSTEM && change.key == IMPORT;
    logged.committed.changes.iter().any(|change| is_maintenance(&change.collection, &change.key) || is_import(change))
}

fn is_maintenance(collection: &str, key: &[u8]) -> bool {
    collection == SYSTEM && key == MAINTENANCE
}

fn reason(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
