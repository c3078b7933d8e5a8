//! Which objects make up a log, and which of them should become one?
//!
//! An append stores one object, named by the bytes of the log that it holds: what has the same name has the same content,
//! whoever stored it and whenever it arrived. When many small ones have gathered, they are written again as one, and then
//! deleted. A crash in between, or a write of a dead process that arrives late, leaves objects whose bytes others hold,
//! too. Pure: no storage here.

use std::{collections::BTreeMap, ops::Range};

use super::lines::LineCount;

/// One object of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where it begins in the log, in bytes.
    pub(super) offset: u64,
    /// Its size in bytes.
    pub(super) size: u64,
    /// How many lines end in it; none: nobody has counted them in this process.
    pub(super) count: Option<LineCount>,
}

impl Chunk {
    /// One whose lines are not counted.
    pub(super) fn uncounted(bytes: &Range<u64>) -> Self {
        Self { offset: bytes.start, size: bytes.end - bytes.start, count: None }
    }

    /// The bytes of the log that it holds.
    pub(super) fn bytes(self) -> Range<u64> {
        self.offset..self.end()
    }

    pub(super) fn end(self) -> u64 {
        self.offset + self.size
    }
}

/// The objects of a log in their order, and those that are not needed for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Coverage {
    pub(super) chunks: Vec<Chunk>,
    pub(super) spare: Vec<Chunk>,
}

/// Finds the fewest objects that make up the longest log, one after the other.
///
/// What was acknowledged is among them: whoever appends begins where such a chain ends, and a merge takes its parts away
/// only when it is stored itself.
///
/// `Err` is the offset at which the log has a hole: there is something beyond it that nothing leads to.
pub(super) fn cover(listed: impl IntoIterator<Item = Chunk>) -> Result<Coverage, u64> {
    let mut listed: Vec<Chunk> = listed.into_iter().filter(|chunk| chunk.size > 0).collect();
    listed.sort_by_key(|chunk| (chunk.offset, chunk.size));
    // For every offset that a chain of objects leads to: how many it takes, and the last of them.
    let mut reached: BTreeMap<u64, (usize, Option<usize>)> = BTreeMap::from([(0, (0, None))]);
    for (index, chunk) in listed.iter().enumerate() {
        let Some((count, _)) = reached.get(&chunk.offset).copied() else { continue };
        let known = reached.entry(chunk.end()).or_insert((usize::MAX, None));
        if count + 1 < known.0 {
            *known = (count + 1, Some(index));
        }
    }
    let (end, mut last) = reached.last_key_value().map_or((0, None), |(end, (_, last))| (*end, *last));
    if listed.iter().any(|chunk| chunk.end() > end) {
        return Err(end);
    }
    let mut needed = Vec::new();
    while let Some(index) = last {
        needed.push(index);
        last = reached.get(&listed[index].offset).and_then(|(_, before)| *before);
    }
    needed.reverse();
    let spare = (0..listed.len()).filter(|index| needed.binary_search(index).is_err()).map(|index| listed[index]);
    Ok(Coverage { spare: spare.collect(), chunks: needed.into_iter().map(|index| listed[index]).collect() })
}

/// A chunk below this size is merged with its small neighbours soon, so that they can come from memory.
pub(super) const SMALL: u64 = 64 * 1024;
/// A chunk of this size is left alone.
const LARGE: u64 = 1024 * 1024;
/// So many small chunks are merged even if they do not fill [`SMALL`].
const SMALL_COUNT_MAX: usize = 64;

/// The chunks at the end of a log that should become one now, if any.
///
/// In two steps, to [`SMALL`] and to [`LARGE`], so that a byte is written again a few times at most and a log has at
/// most one chunk per mebibyte, and about 80 besides.
pub(super) fn merge(chunks: &[Chunk]) -> Option<Range<usize>> {
    let small = suffix_below(chunks, SMALL);
    if small.len() > 1 && (small.len() >= SMALL_COUNT_MAX || total(&chunks[small.clone()]) >= SMALL) {
        return Some(small);
    }
    let medium = suffix_below(chunks, LARGE);
    (medium.len() > 1 && total(&chunks[medium.clone()]) >= LARGE).then_some(medium)
}

/// The chunks at the end of a log that should become one when nothing more comes.
pub(super) fn merge_at_end(chunks: &[Chunk]) -> Option<Range<usize>> {
    /// Fewer are not worth a write that the end of the step would wait for.
    const WORTHWHILE: usize = 8;
    let small = suffix_below(chunks, SMALL);
    (small.len() >= WORTHWHILE).then_some(small)
}

/// What these become.
pub(super) fn merged(parts: &[Chunk]) -> Chunk {
    let start = parts.first().map_or(0, |first| first.offset);
    Chunk::uncounted(&(start..start + total(parts)))
}

fn suffix_below(chunks: &[Chunk], size: u64) -> Range<usize> {
    let start = chunks.iter().rposition(|chunk| chunk.size >= size).map_or(0, |last| last + 1);
    start..chunks.len()
}

fn total(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(sizes: &[u64]) -> Vec<Chunk> {
        let mut offset = 0;
        sizes
            .iter()
            .map(|size| {
                let chunk = Chunk::uncounted(&(offset..offset + size));
                offset += size;
                chunk
            })
            .collect()
    }

    fn listed(ranges: &[(u64, u64)]) -> Vec<Chunk> {
        ranges.iter().map(|(start, end)| Chunk::uncounted(&(*start..*end))).collect()
    }

    #[test]
    fn what_a_longer_object_holds_is_spare() {
        let coverage = cover(listed(&[(0, 10), (0, 30), (10, 20), (20, 30), (30, 35)])).expect("whole");
        assert_eq!(coverage.chunks, listed(&[(0, 30), (30, 35)]));
        assert_eq!(coverage.spare, listed(&[(0, 10), (10, 20), (20, 30)]));
    }

    #[test]
    fn a_write_that_arrives_late_leads_nobody_astray() {
        // Two bytes more than the successor of its writer had stored there before it went on.
        let coverage = cover(listed(&[(0, 10), (10, 20), (10, 22), (20, 40)])).expect("whole");
        assert_eq!(coverage.chunks, listed(&[(0, 10), (10, 20), (20, 40)]));
        assert_eq!(coverage.spare, listed(&[(10, 22)]));
        // And what it adds at the end counts.
        assert_eq!(cover(listed(&[(0, 10), (0, 15)])).expect("whole").chunks, listed(&[(0, 15)]));
    }

    #[test]
    fn a_hole_is_found() {
        assert_eq!(cover(listed(&[(5, 10)])), Err(0));
        assert_eq!(cover(listed(&[(0, 10), (11, 16)])), Err(10));
        assert_eq!(cover(listed(&[(0, 10), (8, 13)])), Err(10));
    }

    #[test]
    fn small_chunks_are_merged_when_they_are_many_or_fill_one() {
        assert_eq!(merge(&chunks(&[100; 63])), None);
        assert_eq!(merge(&chunks(&[100; 64])), Some(0..64));
        assert_eq!(merge(&chunks(&[SMALL - 1, 1])), Some(0..2));
        assert_eq!(merge(&chunks(&[LARGE, 10, 10])), None);
        assert_eq!(merge(&chunks(&[LARGE, LARGE / 2, LARGE / 2])), Some(1..3));
    }

    #[test]
    fn a_log_of_tiny_appends_keeps_few_chunks_and_is_rewritten_a_few_times() {
        let mut log: Vec<Chunk> = Vec::new();
        let mut written = 0;
        for index in 0..100_000_u64 {
            log.push(Chunk::uncounted(&(index * 100..index * 100 + 100)));
            written += 100;
            while let Some(range) = merge(&log) {
                let merged = merged(&log[range.clone()]);
                written += merged.size;
                log.splice(range, [merged]);
            }
        }
        let size = 100 * 100_000;
        assert_eq!(log.last().map(|chunk| chunk.end()), Some(size));
        assert!(log.len() <= (size / LARGE) as usize + 80, "{} chunks", log.len());
        assert!(written <= 10 * size, "written {} times over", written / size);
    }
}
