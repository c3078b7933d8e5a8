//! Where do bytes live?
//!
//! [`ObjectStorage`] is the one trait that Runyard needs of a durable home: whole objects under keys, written
//! atomically, read by range, listed in order. It knows nothing of runs.

#[cfg(feature = "conformance")]
pub mod conformance;
mod decorator;
mod error;
mod ext;
mod key;
mod memory;
mod meter;
mod posix;
mod storage;

#[cfg(feature = "test-util")]
pub use decorator::faulty::{Call, FaultyStorage, HoldGuard, Moment, Verdict};
pub use decorator::{
    CallKind,
    metrics::{Metrics, MetricsStorage},
    prefix::PrefixStorage,
};
pub use error::{Error, Result};
pub use ext::ObjectStorageExt;
pub use key::{InvalidKey, KEY_BYTES_MAX, ObjectKey};
pub use memory::MemoryStorage;
pub use posix::PosixStorage;
pub use storage::{
    Body, BodyError, Durability, GetObject, GetRange, ListDepth, ListEntry, ListRequest, ObjectMeta, ObjectStorage,
    PutMode, PutOptions, PutSize,
};
