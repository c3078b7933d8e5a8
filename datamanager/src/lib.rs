//! How is a change made durable, ordered and readable?
//!
//! [`DataManager`] is a transactional, ordered store of typed collections. [`WalDataManager`] keeps it in an object
//! storage and needs nothing else; [`MemoryDataManager`] keeps it in memory.
//!
//! ```
//! use std::sync::Arc;
//!
//! use runyard_datamanager::{Collection, DataManager, DataManagerExt, Error, WalDataManager};
//! use runyard_objectstorage::MemoryStorage;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Build { commit: String, done: bool }
//!
//! const BUILDS: Collection<Build> = Collection::new("builds").with_indexes(&[("commit", |_, build, keys| {
//!     keys.push(build.commit.clone().into());
//! })]);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let storage = Arc::new(MemoryStorage::new());
//! let data = WalDataManager::builder(storage).base_path("rundata").open().await?;
//!
//! // Everything that the body reads is checked when it commits; if it changed meanwhile, the body is run again.
//! let (is_new, position) = data
//!     .transact(async |tx| {
//!         if !tx.find(&BUILDS, "commit", "5f2c", 1).await?.is_empty() {
//!             return Ok(false);
//!         }
//!         tx.put(&BUILDS, "1", &Build { commit: "5f2c".to_owned(), done: false }).await?;
//!         Ok::<_, Error>(true)
//!     })
//!     .await?;
//! assert!(is_new);
//!
//! // A snapshot stays what it is, whatever is committed after it.
//! let snapshot = data.snapshot();
//! assert!(snapshot.position() >= position);
//! let build = data.read(&snapshot, &BUILDS, "1").await?;
//! assert_eq!(build.map(|build| build.commit).as_deref(), Some("5f2c"));
//!
//! data.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read
//!
//! The state is in `store` (what is visible, to whom, and what conflicts), made of `memtable`s (versions of entries) over
//! a `base` (the data files of a checkpoint). The durable part is in `wal`: `committer` is the way of a write, `recovery`
//! that of a start; `checkpoint` writes data files. `record`, `table`, `manifest` and `layout` are the format. The `conformance` suite says what every data manager promises.

mod base;
#[cfg(feature = "test-util")]
pub mod broken;
#[cfg(not(feature = "test-util"))]
#[allow(unreachable_pub, reason = "public with the feature")]
mod broken;
mod checkpoint;
mod codec;
mod collection;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod coordinator;
mod entry;
mod error;
mod ext;
mod follow;
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod layout;
mod leader;
mod limits;
mod manager;
mod manifest;
mod memory;
mod memtable;
mod merge;
mod position;
mod record;
mod retry;
mod store;
mod system;
mod table;
mod tx;
mod wal;

pub use collection::{Collection, Index};
pub use error::{Error, Result};
pub use ext::{DataManagerExt, IndexPage, IndexScan, TypedPage};
pub use leader::Leadership;
pub use limits::{BATCH_BYTES_MAX, COLLECTION_NAME_BYTES_MAX, KEY_BYTES_MAX};
pub use manager::{
    Action, Change, Committed, DataManager, Direction, KeyRange, Page, ReadSet, Scan, Snapshot, Transaction,
};
pub use memory::MemoryDataManager;
pub use position::Position;
pub use tx::Tx;
#[cfg(feature = "test-util")]
pub use wal::VirtualUptime;
pub use wal::{
    Checkpoint, CheckpointPin, CollectionStats, Damaged, Imported, Report, Stats, Status, SystemUptime, Uptime,
    WalBuilder, WalDataManager, verify,
};
