//! What can go wrong with a transaction, as far as a caller acts on it.

use crate::Position;

/// The result of a call to a data manager.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call to a data manager failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that the transaction read or locked was changed meanwhile: read again and retry.
    #[error("the transaction conflicts with a change of {what}")]
    Conflict {
        /// What was changed: an entry, a range or a change group, by name.
        what: String,
    },
    /// The snapshot is older than what the store still holds: take a new one and read again.
    #[error("position {position} is no longer held; the oldest is {oldest}")]
    PositionExpired {
        /// The position that was asked for.
        position: Position,
        /// The oldest position that can be read.
        oldest: Position,
    },
    /// The storage did not say whether the transaction was written: it is there wholly or not at all.
    #[error("it is unknown whether the transaction was committed")]
    OutcomeUnknown {
        /// What the storage reported.
        source: std::sync::Arc<runyard_objectstorage::Error>,
    },
    /// A storage call failed.
    #[error("storage failed while {doing}")]
    Storage {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What the storage reported.
        source: std::sync::Arc<runyard_objectstorage::Error>,
    },
    /// An object of the store is damaged, missing or not ours.
    #[error("object `{object}` is corrupt: {reason}")]
    Corrupt {
        /// The object's key.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store was written by a version of Runyard that this one does not understand.
    #[error("the store at `{base_path}` has format {found}, and this version reads format {supported}: {advice}")]
    FormatVersion {
        /// The base path of the store; empty for the root of the storage.
        base_path: String,
        /// The version that was found.
        found: u32,
        /// The version that this program reads.
        supported: u32,
        /// What to do.
        advice: &'static str,
    },
    /// An entry does not decode as its collection's type.
    #[error("entry `{key}` of collection `{collection}` does not decode")]
    Decode {
        /// The collection.
        collection: String,
        /// The key, escaped where it is not text.
        key: String,
        /// What the decoder reported.
        source: std::sync::Arc<serde_json::Error>,
    },
    /// What is asked for breaks a rule.
    #[error("refused: {reason}")]
    Refused {
        /// Which rule, and what to do.
        reason: String,
    },
    /// Another process took the store over, or holds it.
    #[error("{message}")]
    TakenOver {
        /// Who holds it, and what to do.
        message: String,
    },
    /// The store is in maintenance mode: nothing else is committed until it is left.
    #[error("the store is in maintenance: {reason}")]
    Maintenance {
        /// What is being done, in the words of whoever does it.
        reason: String,
    },
    /// The coordinator cannot be used.
    #[error("{message}")]
    Coordinator {
        /// What is wrong, and what to do.
        message: String,
        /// What it reported.
        source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
    },
    /// A line of an import cannot be what an export has written, or does not go with the others.
    #[error("line {line} cannot be imported: {reason}")]
    Line {
        /// Its number, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The data manager was closed.
    #[error("the data manager is closed")]
    Closed,
}

impl Error {
    /// Whether reading again and retrying the transaction may succeed at once.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::PositionExpired { .. })
    }

    /// Wraps an error of the storage with what was being done.
    pub fn storage(doing: &'static str) -> impl FnOnce(runyard_objectstorage::Error) -> Self {
        move |source| Self::Storage { doing, source: std::sync::Arc::new(source) }
    }
}
