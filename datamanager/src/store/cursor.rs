//! What are the entries of a range, one after the other?
//!
//! The merge of all tiers of a view: of equal keys that of the highest tier counts, and a tombstone hides those below.
//! Memory is looked at in pages and the base is a stream, so no lock is held while a data file is read.

use std::{cmp::Ordering, iter::Peekable, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};

use crate::{
    Direction, KeyRange, Position, Result,
    entry::Entry,
    store::view::{Entries, View},
};

/// A place in a range, as it is at one position.
pub(crate) struct Cursor {
    direction: Direction,
    memory: Peekable<Entries>,
    /// None at its end.
    base: Option<BoxStream<'static, Result<Entry>>>,
    /// Read from the base, and after what was yielded.
    lower: Option<Entry>,
}

impl Cursor {
    /// `want` is how many entries will be asked for, if that is known to be few.
    pub(super) fn new(
        view: &View,
        at: Position,
        (collection, range, direction): (&str, KeyRange, Direction),
        want: usize,
    ) -> Self {
        let base = !range.is_empty() && view.base.manifest().collections.contains_key(collection);
        let base = base.then(|| Arc::clone(&view.base).scan(collection, range.clone(), direction));
        let memory = Entries::new(view.tables().to_vec(), at, (collection, range, direction), want).peekable();
        Self { direction, memory, base, lower: None }
    }

    /// The next entry that exists; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        loop {
            if self.lower.is_none()
                && let Some(base) = &mut self.base
            {
                match base.next().await {
                    Some(entry) => self.lower = Some(entry?),
                    None => self.base = None,
                }
            }
            let order = match (self.memory.peek(), &self.lower) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(upper), Some(lower)) => self.direction.compare(&upper.key, &lower.key),
            };
            // Of two entries with one key, the lower one is gone with the upper one.
            let lower = if order.is_ge() { self.lower.take() } else { None };
            let entry = if order.is_le() { self.memory.next() } else { lower };
            if let Some(Entry { key, value: Some(value), .. }) = entry {
                return Ok(Some((key, value)));
            }
        }
    }
}
