//! What does a store keep for itself, beside what its users wrote?
//!
//! Entries of reserved collections, so that they become visible, durable, checkpointed and forgotten with everything
//! else. Users cannot name them, followers do not see them, and neither hashes nor exports contain them.

/// Change groups, by name. They have no value: what counts is the position at which each was taken last.
pub(crate) const GROUPS: &str = "\0groups";

/// Who leads, and whether the store is being maintained.
pub(crate) const SYSTEM: &str = "\0system";

/// Whether a collection is one of the store's own.
pub(crate) fn is_hidden(collection: &str) -> bool {
    collection.starts_with('\0')
}
