//! How is a change made durable, ordered and readable?
//!
//! [`DataManager`] is a transactional, ordered store of typed collections, whose only home is an object storage.

mod codec;
mod collection;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod coordinator;
mod error;
mod ext;
mod follow;
mod layout;
mod limits;
mod manager;
mod memory;
mod memtable;
mod position;
mod record;
mod store;
mod tx;
mod validate;
mod wal;

pub use collection::{Collection, Index};
pub use error::{Error, Result};
pub use ext::{DataManagerExt, IndexPage, IndexScan, TypedPage};
pub use limits::{BATCH_BYTES_MAX, COLLECTION_NAME_BYTES_MAX, KEY_BYTES_MAX};
pub use manager::{
    Action, Change, Committed, DataManager, Direction, KeyRange, Page, ReadSet, Scan, Snapshot, Transaction,
};
pub use memory::MemoryDataManager;
pub use position::Position;
pub use tx::Tx;
pub use wal::{WalBuilder, WalDataManager};
