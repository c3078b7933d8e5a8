//! How does a log grow, and how is it followed while it does?
//!
//! The bytes that came last are kept in memory until they are stored, and a little longer, so that followers hear of
//! them before the storage has them and rarely need to read it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::{Bytes, BytesMut};
use runyard_executor_core::contract::{ClientError, StepRef};
use runyard_objectstorage::{GetRange, ObjectStorage, ObjectStorageExt, PutMode};
use tokio::sync::watch;

use super::{
    LogId,
    chunks::{self, Chunk},
    lines::LineCount,
    page::{self, Parts},
};
use crate::layout;

/// How much of what is stored stays in memory for followers, in bytes.
const TAIL_KEPT: u64 = 256 * 1024;

/// A log that may still grow.
#[derive(Debug)]
pub(super) struct LiveLog {
    step: StepRef,
    /// Whether other processes may write it, too: perhaps one that believes to be the only one.
    is_shared: bool,
    prefix: String,
    storage: Arc<dyn ObjectStorage>,
    /// Held while an append is being stored: appends of one log are stored one after another.
    appends: tokio::sync::Mutex<()>,
    shared: Mutex<Shared>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether what the storage has of this log is known yet.
    is_known: bool,
    /// What is stored, in order.
    chunks: Vec<Chunk>,
    /// Whether there are objects besides, which are left for later.
    has_spare: bool,
    /// Where the first piece of the tail begins.
    tail_start: u64,
    tail: VecDeque<Bytes>,
    /// Where the tail ends; what is stored may end before it.
    end: u64,
    /// Nothing more will come.
    closed: bool,
}

/// What a reader at some offset should do next.
pub(super) enum Next {
    /// Hand out these bytes.
    Bytes(Bytes),
    /// Read this object from here on; the second number is the offset inside it.
    Stored(Chunk, u64),
    /// Wait for a change.
    Wait,
    /// Stop: there is nothing more.
    End,
}

impl LiveLog {
    pub(super) fn new(storage: Arc<dyn ObjectStorage>, (task, attempt, step): &LogId, is_shared: bool) -> Self {
        Self {
            step: *step,
            is_shared,
            prefix: layout::log_prefix(task, *attempt, *step),
            storage,
            appends: tokio::sync::Mutex::default(),
            shared: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Hears of every change after the call.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Finds out what the storage has of this log, unless that is known.
    pub(super) async fn open(&self) -> Result<(), ClientError> {
        let _appends = self.appends.lock().await;
        self.find_stored().await
    }

    /// Finds out how much is stored, whatever this process knows of it: another one may have written meanwhile.
    pub(super) async fn stored(&self) -> Result<u64, ClientError> {
        let _appends = self.appends.lock().await;
        self.shared().is_known = false;
        self.find_stored().await?;
        Ok(self.shared().stored())
    }

    /// Stores what the log does not have yet; returns the stored length.
    pub(super) async fn append(&self, offset: u64, bytes: Bytes) -> Result<u64, ClientError> {
        let _appends = self.appends.lock().await;
        self.find_stored().await?;
        if offset > self.shared().stored() {
            // It was written through another process meanwhile, which only the storage knows.
            self.shared().is_known = false;
            self.find_stored().await?;
        }
        let stored = self.shared().stored();
        if offset > stored {
            return Err(ClientError::LogGap { step: self.step, stored, offset });
        }
        let overlap = stored - offset;
        if overlap >= bytes.len() as u64 {
            return Ok(stored);
        }
        let fresh = bytes.slice(overlap as usize..);
        self.broadcast(stored, &fresh);
        let chunk = Chunk { offset: stored, size: fresh.len() as u64, count: Some(LineCount::of(&fresh)) };
        self.put(chunk, fresh, "storing a log").await?;
        self.shared().chunks.push(chunk);
        self.merge(chunks::merge).await?;
        self.shared().forget_stored_tail();
        Ok(chunk.end())
    }

    /// Merges what is small at the end of a log that nothing more comes to. Returns what it consists of, and whether there
    /// are other objects, too.
    pub(super) async fn seal(&self) -> Result<(Vec<Chunk>, bool), ClientError> {
        let _appends = self.appends.lock().await;
        // Another process may have written it meanwhile.
        self.shared().is_known &= !self.is_shared;
        self.find_stored().await?;
        self.merge(chunks::merge_at_end).await?;
        let mut chunks = self.shared().chunks.clone();
        page::count(&self.storage, &self.prefix, &mut chunks)
            .await
            .map_err(unavailable("counting the lines of a log"))?;
        let mut shared = self.shared();
        shared.chunks.clone_from(&chunks);
        Ok((chunks, shared.has_spare))
    }

    /// What there is at the moment; whether it grows is another matter.
    pub(super) async fn parts(&self) -> Result<Parts, ClientError> {
        // What is known needs no look at the storage, which would wait for the append that is being stored.
        if !self.shared().is_known {
            self.open().await?;
        }
        let shared = self.shared();
        let stored = shared.stored();
        let (mut start, mut tail) = (shared.tail_start, Vec::new());
        for piece in &shared.tail {
            let end = start + piece.len() as u64;
            if end > stored {
                tail.push(piece.slice(stored.saturating_sub(start) as usize..));
            }
            start = end;
        }
        Ok(Parts { prefix: self.prefix.clone(), chunks: shared.chunks.clone(), tail })
    }

    /// Tells followers that nothing more will come.
    pub(super) fn close(&self) {
        self.shared().closed = true;
        self.changed.send_replace(());
    }

    /// What a reader at `offset` should do.
    pub(super) fn next(&self, offset: u64) -> Next {
        self.shared().next(offset)
    }

    /// Opens the stored object that a reader was pointed to.
    pub(super) async fn get(
        &self,
        chunk: Chunk,
        start: u64,
    ) -> Result<runyard_objectstorage::GetObject, runyard_objectstorage::Error> {
        self.storage.get(&layout::log_chunk(&self.prefix, &chunk.bytes()), GetRange::From(start)).await
    }

    /// Whether the log, as this process knows it, has this object.
    pub(super) fn still_names(&self, chunk: Chunk) -> bool {
        self.shared().chunks.contains(&chunk)
    }

    /// Finds out anew what is stored, because an object is not there that was: another process has merged it.
    pub(super) async fn look_again(&self) -> Result<(), ClientError> {
        self.stored().await.map(drop)
    }

    /// Only under the lock of appends.
    async fn find_stored(&self) -> Result<(), ClientError> {
        if self.shared().is_known {
            return Ok(());
        }
        let objects = self.storage.list_objects(&self.prefix).await.map_err(unavailable("listing a log"))?;
        let damaged = |offset| ClientError::BadRequest {
            message: format!("the stored log under `{}` is damaged at offset {offset}", self.prefix),
        };
        let mut listed = Vec::new();
        for meta in &objects {
            let Some(bytes) = layout::log_chunk_bytes(&self.prefix, &meta.key) else { continue };
            if bytes.end.checked_sub(bytes.start) != Some(meta.size) {
                return Err(damaged(bytes.start));
            }
            listed.push(Chunk::uncounted(&bytes));
        }
        let coverage = chunks::cover(listed).map_err(damaged)?;
        self.spare(coverage.spare).await?;
        let mut shared = self.shared();
        let before = std::mem::replace(&mut shared.chunks, coverage.chunks);
        for chunk in &mut shared.chunks {
            let known = before.iter().find(|known| (known.offset, known.size) == (chunk.offset, chunk.size));
            chunk.count = known.and_then(|known| known.count);
        }
        shared.tail.clear();
        shared.end = shared.stored();
        shared.tail_start = shared.end;
        shared.is_known = true;
        Ok(())
    }

    fn broadcast(&self, offset: u64, bytes: &Bytes) {
        let mut shared = self.shared();
        // A put that failed after its bytes were broadcast is tried again with at least the same bytes.
        let heard = (shared.end - offset).min(bytes.len() as u64) as usize;
        if heard < bytes.len() {
            shared.tail.push_back(bytes.slice(heard..));
            shared.end = offset + bytes.len() as u64;
            drop(shared);
            self.changed.send_replace(());
        }
    }

    async fn merge(&self, decide: fn(&[Chunk]) -> Option<std::ops::Range<usize>>) -> Result<(), ClientError> {
        loop {
            let decided = {
                let shared = self.shared();
                decide(&shared.chunks).map(|range| (range.clone(), shared.chunks[range].to_vec()))
            };
            let Some((range, parts)) = decided else { return Ok(()) };
            let mut merged = chunks::merged(&parts);
            let in_memory = self.shared().tail_bytes(merged);
            let bytes = match in_memory {
                Some(bytes) => bytes,
                None => self.read(&parts, merged.size).await?,
            };
            merged.count = Some(LineCount::of(&bytes));
            self.put(merged, bytes, "merging a log").await?;
            self.shared().chunks.splice(range, [merged]);
            self.spare(parts).await?;
        }
    }

    async fn read(&self, parts: &[Chunk], size: u64) -> Result<Bytes, ClientError> {
        let mut all = BytesMut::with_capacity(size as usize);
        for part in parts {
            let key = layout::log_chunk(&self.prefix, &part.bytes());
            let bytes = self.storage.get_bytes(&key).await.map_err(unavailable("merging a log"))?;
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// Removes what is not needed; or leaves it until the log is sealed, where another process may have chosen it.
    async fn spare(&self, chunks: Vec<Chunk>) -> Result<(), ClientError> {
        if self.is_shared {
            self.shared().has_spare |= !chunks.is_empty();
            return Ok(());
        }
        for chunk in chunks {
            let key = layout::log_chunk(&self.prefix, &chunk.bytes());
            self.storage.delete(&key).await.map_err(unavailable("tidying a log"))?;
        }
        Ok(())
    }

    /// Overwriting: a put whose reply was lost may have left the same bytes there.
    async fn put(&self, chunk: Chunk, bytes: Bytes, doing: &'static str) -> Result<(), ClientError> {
        let key = layout::log_chunk(&self.prefix, &chunk.bytes());
        self.storage.put_bytes(&key, bytes, PutMode::Overwrite).await.map_err(unavailable(doing))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("the lock is never poisoned: no panic while held")
    }
}

impl Shared {
    fn stored(&self) -> u64 {
        self.chunks.last().map_or(0, |chunk| chunk.end())
    }

    fn next(&self, offset: u64) -> Next {
        if offset >= self.end {
            return if self.closed { Next::End } else { Next::Wait };
        }
        if offset < self.tail_start {
            let index = self.chunks.partition_point(|chunk| chunk.end() <= offset);
            let chunk = self.chunks[index];
            return Next::Stored(chunk, offset - chunk.offset);
        }
        let mut start = self.tail_start;
        for piece in &self.tail {
            let end = start + piece.len() as u64;
            if offset < end {
                return Next::Bytes(piece.slice((offset - start) as usize..));
            }
            start = end;
        }
        unreachable!("the pieces of the tail reach to its end")
    }

    /// The bytes of a chunk, if all of them are in the tail.
    fn tail_bytes(&self, chunk: Chunk) -> Option<Bytes> {
        if chunk.offset < self.tail_start {
            return None;
        }
        let mut all = BytesMut::with_capacity(chunk.size as usize);
        let mut start = self.tail_start;
        for piece in &self.tail {
            let end = start + piece.len() as u64;
            let from = chunk.offset.clamp(start, end) - start;
            let to = chunk.end().clamp(start, end) - start;
            all.extend_from_slice(&piece[from as usize..to as usize]);
            start = end;
        }
        Some(all.freeze())
    }

    /// Drops the oldest pieces that are stored, down to what is kept for followers.
    fn forget_stored_tail(&mut self) {
        let stored = self.stored();
        while let Some(first) = self.tail.front() {
            let end = self.tail_start + first.len() as u64;
            if end > stored || self.end - end < TAIL_KEPT {
                break;
            }
            self.tail_start = end;
            self.tail.pop_front();
        }
    }
}

pub(super) fn unavailable(doing: &'static str) -> impl FnOnce(runyard_objectstorage::Error) -> ClientError {
    move |source| ClientError::Unavailable { doing, source: source.into() }
}
