//! How is a page of lines read, of a log that may still grow?

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use runyard_objectstorage::{GetRange, ObjectStorage};

use super::{
    chunks::Chunk,
    lines::{Cutter, LineCount, LogLine, LogPlace, total},
};
use crate::{layout, rows::LogRow};

/// Some lines of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogPage {
    /// The number of its first line, counted from 0.
    pub first: u64,
    /// Where that line begins in the log, in bytes.
    pub offset: u64,
    /// The lines. They may be fewer than were asked for, at the end and where they are very long; the next page begins
    /// after them.
    pub lines: Vec<LogLine>,
    /// How many lines the log has at the moment; the last one may still grow.
    pub lines_total: u64,
    /// How many bytes the log has at the moment.
    pub bytes_total: u64,
    /// Whether nothing more comes.
    pub ended: bool,
    /// How many bytes are missing at its end, because they were lost before they were stored.
    pub missing: u64,
}

/// What there is of a log.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// What its objects begin with.
    pub(super) prefix: String,
    pub(super) chunks: Vec<Chunk>,
    /// What comes after them and is not stored yet.
    pub(super) tail: Vec<Bytes>,
}

/// The objects that the row of a sealed log names.
pub(super) fn chunks_of(row: &LogRow) -> impl Iterator<Item = Chunk> {
    let ends = row.chunks.iter().skip(1).copied().chain([row.bytes]);
    let chunks = row.chunks.iter().zip(ends).zip(&row.lines);
    chunks.map(|((offset, end), count)| Chunk { offset: *offset, size: end - offset, count: Some(*count) })
}

/// Reads some lines. An object that is not there is an error, as any other.
pub(super) async fn read(
    storage: &Arc<dyn ObjectStorage>,
    mut parts: Parts,
    place: LogPlace,
    limit: usize,
) -> Result<LogPage, runyard_objectstorage::Error> {
    count(storage, &parts.prefix, &mut parts.chunks).await?;
    let of_tail = parts.tail.iter().map(|piece| LineCount::of(piece));
    let lines_total = total(parts.chunks.iter().filter_map(|chunk| chunk.count).chain(of_tail));
    let first = match place {
        LogPlace::From(first) => first.min(lines_total),
        LogPlace::Last => lines_total.saturating_sub(limit as u64),
    };
    let mut cutter = Cutter::new(first, limit);
    for chunk in &parts.chunks {
        if cutter.is_done() {
            break;
        }
        if chunk.count.is_some_and(|count| cutter.skip(chunk.size, count)) {
            continue;
        }
        let key = layout::log_chunk(&parts.prefix, &chunk.bytes());
        let mut object = storage.get(&key, GetRange::Full).await?.stream;
        while let Some(bytes) = object.try_next().await? {
            cutter.push(&bytes);
            if cutter.is_done() {
                break;
            }
        }
    }
    for piece in &parts.tail {
        cutter.push(piece);
    }
    let (lines, offset) = cutter.finish();
    let stored = parts.chunks.last().map_or(0, |chunk| chunk.end());
    let bytes_total = stored + parts.tail.iter().map(|piece| piece.len() as u64).sum::<u64>();
    Ok(LogPage { first, offset, lines, lines_total, bytes_total, ended: false, missing: 0 })
}

/// Counts the lines of those objects that were stored before this process began.
pub(super) async fn count(
    storage: &Arc<dyn ObjectStorage>,
    prefix: &str,
    chunks: &mut [Chunk],
) -> Result<(), runyard_objectstorage::Error> {
    for chunk in chunks.iter_mut().filter(|chunk| chunk.count.is_none()) {
        let mut object = storage.get(&layout::log_chunk(prefix, &chunk.bytes()), GetRange::Full).await?.stream;
        let mut count = LineCount { ends: 0, open: false };
        while let Some(bytes) = object.try_next().await? {
            let of_piece = LineCount::of(&bytes);
            count = LineCount { ends: count.ends + of_piece.ends, open: of_piece.open };
        }
        chunk.count = Some(count);
    }
    Ok(())
}
