//! How is a change made durable, ordered and readable?
//!
//! [`DataManager`] is a transactional, ordered store of typed collections, whose only home is an object storage.

mod collection;
mod error;
mod ext;
mod manager;
mod position;
mod tx;

pub use collection::{Collection, Index};
pub use error::{Error, Result};
pub use ext::{DataManagerExt, TypedPage};
pub use manager::{
    Action, Change, Committed, DataManager, Direction, KeyRange, Page, ReadSet, Scan, Snapshot, Transaction,
};
pub use position::Position;
pub use tx::Tx;
