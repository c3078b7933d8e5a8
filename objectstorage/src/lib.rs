//! Where do bytes live?
//!
//! [`ObjectStorage`] is the one trait that Runyard needs of a durable home: whole objects under keys, written
//! atomically, read by range, listed in order. It knows nothing of runs.
//!
//! ```
//! use runyard_objectstorage::{GetRange, ObjectKey, ObjectStorageExt, PosixStorage, PrefixStorage, PutMode};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! // Objects are plain files: this one will be `<path>/rundata/log/1`.
//! let storage = PrefixStorage::new(PosixStorage::open(path).await?, "rundata")?;
//! let key = ObjectKey::parse("log/1")?;
//!
//! // Of several creators exactly one succeeds, and what it wrote is on the disk.
//! storage.put_bytes(&key, "first entry".into(), PutMode::Create).await?;
//! let second = storage.put_bytes(&key, "another".into(), PutMode::Create).await;
//! assert!(second.is_err_and(|error| error.is_already_exists()));
//!
//! assert_eq!(storage.get_range_bytes(&key, GetRange::Suffix(5)).await?, "entry");
//! assert_eq!(storage.list_objects("log/").await?[0].key, key);
//! # Ok(())
//! # }
//! ```
//!
//! | storage | where | for |
//! |---|---|---|
//! | [`PosixStorage`] | a directory, as plain files | a service on one machine |
//! | [`PosixFlatStorage`] | a directory, under escaped names | the same, where every key must work |
//! | `S3Storage` (feature `s3`) | a bucket | services on several machines |
//! | `ObjectStoreStorage` (feature `object-store`) | any store of the crate `object_store` | GCS, Azure, one of your own |
//! | [`MemoryStorage`] | memory | tests |
//!
//! The feature `s3` compiles TLS into the `reqwest` that the whole program shares, without a provider of it: a program
//! with `reqwest` clients of its own begins with
//! `let _ = rustls::crypto::ring::default_provider().install_default();`. `S3Storage` says why; it needs no such line.
//!
//! | decorator | what it adds |
//! |---|---|
//! | [`PrefixStorage`] | the part of a storage below a prefix, as a storage of its own |
//! | [`MetricsStorage`] | counts of calls and bytes |
//! | [`RetryStorage`] | further attempts where they are harmless, with growing delays |
//! | `FaultyStorage` (feature `test-util`) | failures by plan: before an effect, after it, late, torn, slow, full, a crash |
//!
//! How a storage in a directory stands a power loss, `TracedDisk` (feature `test-util`) tries after every call.
//!
//! A storage of one's own implements [`ObjectStorage`] and proves itself with one call to the suite in `conformance`
//! (feature `conformance`). [`Body::collect`], [`GetRange::within`], [`GetObject::from_bytes`], [`ListRequest::select`]
//! and [`Error::from_io`] are what most of them need; `examples/custom_storage.rs` of the crate `runyard` is one of under
//! 150 lines.

#[doc(hidden)]
pub mod address;
#[cfg(feature = "conformance")]
pub mod conformance;
mod decorator;
mod error;
mod ext;
mod implement;
mod key;
mod memory;
mod meter;
#[cfg(feature = "object-store")]
mod object_store;
mod posix;
mod posixflat;
#[cfg(feature = "s3")]
mod s3;
mod storage;

#[cfg(feature = "object-store")]
pub use crate::object_store::{Capabilities, ConditionalCreate, ObjectStoreSettings, ObjectStoreStorage};
#[cfg(feature = "test-util")]
pub use decorator::faulty::{Call, FaultRates, FaultyStorage, HoldGuard, Moment, Verdict};
pub use decorator::{
    CallKind,
    metrics::{Metrics, MetricsStorage},
    prefix::PrefixStorage,
    retry::{RetrySettings, RetryStorage},
};
pub use error::{Error, Result};
pub use ext::ObjectStorageExt;
pub use key::{InvalidKey, KEY_BYTES_MAX, ObjectKey};
pub use memory::MemoryStorage;
pub use posix::PosixStorage;
#[cfg(feature = "test-util")]
pub use posix::power::{Outcome, SyncVerdict, Syncing, TracedDisk};
pub use posixflat::PosixFlatStorage;
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub use posixflat::escaping;
#[cfg(feature = "s3")]
pub use s3::{
    S3Storage,
    settings::{S3Credentials, S3Settings, Secret},
    url::{InvalidS3Url, S3Location},
};
pub use storage::{
    Body, BodyError, Durability, GetObject, GetRange, ListDepth, ListEntry, ListRequest, ObjectMeta, ObjectStorage,
    PutMode, PutOptions, PutSize,
};
