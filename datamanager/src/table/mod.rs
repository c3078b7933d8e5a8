//! How is a sorted run of entries kept in an object?
//!
//! A data file is written once, by a [`FileBuilder`], and read through [`DataFiles`], which all files of a store share:
//! `block` and `tail` are the format, `filter` says which keys are surely not in a file, `cache` what of them is in
//! memory.

mod block;
mod build;
mod cache;
mod filter;
mod read;
mod scan;
mod tail;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use build::{FileBuilder, FileSettings, FinishedFile};
pub(crate) use filter::{hash as filter_hash, may_contain as filter_may_contain};
pub(crate) use read::{DataFiles, missing};
pub(crate) use scan::Caching;
#[cfg(test)]
use scan::READ_BYTES_MAX;
#[cfg(feature = "test-util")]
pub(crate) use {block::Block, filter::Filter, tail::Tail};
