//! What can go wrong with an object, as far as a caller acts on it.

use std::io;

use crate::{InvalidKey, ObjectKey};

/// The result of a storage call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a storage call failed.
///
/// A variant exists because a caller acts on it: [`Error::is_retryable`] sums that up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object does not exist.
    #[error("object `{key}` does not exist")]
    NotFound {
        /// The object that was asked for.
        key: ObjectKey,
    },
    /// [`PutMode::Create`](crate::PutMode::Create) met an object of that name.
    #[error("object `{key}` already exists")]
    AlreadyExists {
        /// The object that was to be created.
        key: ObjectKey,
    },
    /// The string is not a key for any storage.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// The key is valid, but this storage cannot hold it (on `posix`: a component over 255 bytes, or `a` beside `a/b`).
    #[error("this storage cannot hold object `{key}`: {reason}")]
    UnsupportedKey {
        /// The key that was refused.
        key: ObjectKey,
        /// What the storage cannot do, as a phrase.
        reason: &'static str,
    },
    /// The body had another length than the exact size that was announced; nothing was written.
    #[error("object `{key}` was announced with {announced} bytes, but its body has {actual_phrase} {actual}")]
    SizeMismatch {
        /// The object that was to be written.
        key: ObjectKey,
        /// The announced size in bytes.
        announced: u64,
        /// The bytes that were seen until the mismatch was certain.
        actual: u64,
        /// "only" for a body that ended early, "at least" for one that went on.
        actual_phrase: &'static str,
    },
    /// The body is longer than the storage's limit, for objects of unknown size or for any; nothing was written.
    #[error("object `{key}` is larger than the limit of {limit} bytes for such objects")]
    TooLarge {
        /// The object that was to be written.
        key: ObjectKey,
        /// The limit in bytes.
        limit: u64,
    },
    /// The body is longer than what this storage creates if absent; nothing was written.
    #[error("object `{key}` is larger than {limit} bytes, the most that this storage can create if absent")]
    CreateTooLarge {
        /// The object that was to be created.
        key: ObjectKey,
        /// The limit in bytes.
        limit: u64,
    },
    /// The range begins past the end of the object.
    #[error("range {start}.. of object `{key}` begins past its end at {size}")]
    RangeNotSatisfiable {
        /// The object that was read.
        key: ObjectKey,
        /// The first byte that was asked for.
        start: u64,
        /// The size of the object in bytes.
        size: u64,
    },
    /// The stream that the caller handed in as a body failed; nothing was written.
    #[error("the body of object `{key}` failed")]
    Body {
        /// The object that was to be written.
        key: ObjectKey,
        /// What the body reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The storage's content contradicts itself: somebody else wrote into it, or the medium is damaged.
    #[error("object `{key}` is damaged: {reason}")]
    Corrupt {
        /// The damaged object.
        key: ObjectKey,
        /// What contradicts what.
        reason: String,
    },
    /// The storage has no room left; nothing was written.
    #[error("no space left in the storage while {doing} `{name}`")]
    Full {
        /// What was being done, as a participle ("writing").
        doing: &'static str,
        /// The object or prefix that it was done to.
        name: String,
        /// What the backend reported.
        source: io::Error,
    },
    /// The storage refuses access with these credentials or permissions.
    #[error("permission denied while {doing} `{name}`")]
    PermissionDenied {
        /// What was being done, as a participle ("writing").
        doing: &'static str,
        /// The object, prefix or directory that it was done to.
        name: String,
        /// What the backend reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The storage could not be reached or did not answer; the call may have had its effect.
    #[error("the storage is unavailable while {doing} `{name}`")]
    Unavailable {
        /// What was being done, as a participle ("writing").
        doing: &'static str,
        /// The object or prefix that it was done to.
        name: String,
        /// What the backend reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The storage cannot be used at all, for the reason given: what to do is part of the message.
    #[error("{message}")]
    Unusable {
        /// What is wrong, and what to do about it.
        message: String,
        /// What the backend reported, where it did.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    /// Whether the same call may succeed later: the storage was unreachable or full.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }

    /// Whether the object that was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether a create met an existing object.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }

    /// The object that the call was about; `None` where the error is about something else.
    pub fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::NotFound { key }
            | Self::AlreadyExists { key }
            | Self::UnsupportedKey { key, .. }
            | Self::SizeMismatch { key, .. }
            | Self::TooLarge { key, .. }
            | Self::CreateTooLarge { key, .. }
            | Self::RangeNotSatisfiable { key, .. }
            | Self::Body { key, .. }
            | Self::Corrupt { key, .. } => Some(key),
            Self::InvalidKey(_)
            | Self::Full { .. }
            | Self::PermissionDenied { .. }
            | Self::Unavailable { .. }
            | Self::Unusable { .. } => None,
        }
    }

    /// Sorts an I/O error into its variant, for storages on a filesystem; `doing` is a participle ("writing"), `name` the
    /// object or prefix that it was done to.
    ///
    /// A full disk or quota is [`Error::Full`], a refusal [`Error::PermissionDenied`], all else [`Error::Unavailable`].
    pub fn from_io(source: io::Error, doing: &'static str, name: impl Into<String>) -> Self {
        let name = name.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, name, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::PermissionDenied { doing, name, source: source.into() }
            }
            _ => Self::Unavailable { doing, name, source: source.into() },
        }
    }
}
